"""The HTML base of every published page: one Jinja environment, base template and style sheet.

Texts of a template stand in `trans` blocks or in `_()`; the page's catalogue translates them.

A page extends `base.html`, is one self-contained file, has no script and requests nothing from the
network. The same values give the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.core import formats, translation
from pipelines.core.rendering import svg
from pipelines.core.translation import ENGLISH, Catalogue

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Tile:
    """A large figure at the top of a page, with its name and a line that puts it in proportion."""

    name: str
    value: str
    note: str


def environment(folder: Path, catalogue: Catalogue = ENGLISH) -> Environment:
    """Return the Jinja environment for the templates of `folder` on top of the shared ones.

    Templates call the charts of `pipelines.core.rendering.svg` as `charts`, and the functions that
    `pipelines.core.formats.FILTERS` names as filters. `tr` writes a text in the language of
    `catalogue`; so do `words`, `plural` and `long_date`. `headings` makes columns of numbers.
    """
    key = (folder, catalogue.language)
    if key not in _environments:
        _environments[key] = _make_environment(folder, catalogue)
    return _environments[key]


_environments: dict[tuple[Path, str], Environment] = {}


def _make_environment(folder: Path, catalogue: Catalogue) -> Environment:
    made = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.policies["ext.i18n.trimmed"] = True
    made.globals["charts"] = svg
    made.globals["language"] = catalogue.language
    made.tests["translatable"] = lambda value: isinstance(value, translation.Text)
    made.filters |= formats.FILTERS
    made.filters |= {
        "tr": catalogue.label,
        "words": lambda name: catalogue.translate(translation.words(name)),
        "plural": lambda value, *forms: catalogue.translate(translation.plural(value, *forms)),
        "long_date": catalogue.long_date,
        "restate": catalogue.restate,
        "headings": lambda texts: [(catalogue.label(text), "n") for text in texts],
    }
    install = made.install_gettext_callables  # type: ignore[attr-defined]  # by the extension
    install(catalogue.gettext, catalogue.ngettext, newstyle=False)
    return made
