"""The languages of the pages: a file each, and the catalogue of its translations.

`index.html` is English and `index.zh.html` Chinese; a link leads from one to the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment

from pipelines.core.rendering.html import environment
from pipelines.core.translation import Catalogue, read_catalogue

CATALOGUES = Path(__file__).parent / "locale"
TEMPLATES = Path(__file__).parent / "templates"
STEM = "index"
"""Name of the page of a day, and of all days, without language and `.html`."""


@dataclass(frozen=True)
class Language:
    """A language of the pages."""

    code: str
    """As in HTML's `lang`."""
    name: str
    """In the language itself."""
    ending: str
    """Of its files, before `.html`."""

    def file(self, stem: str) -> str:
        """Return the file name of the page `stem`."""
        return f"{stem}{self.ending}.html"


LANGUAGES = (Language("en", "English", ""), Language("zh", "中文", ".zh"))


def read_texts(language: Language) -> Catalogue:
    """Return the translations of `language`."""
    return read_catalogue(language.code, CATALOGUES)


def render_each(template: str, stem: str, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield file name and text of a page in each language.

    Args:
        template: File below `templates/`.
        stem: Name of the page without language and `.html`.
        values: What the template reads, besides `page`, its language and file names.
    """
    for language in LANGUAGES:
        others = [(other, other.file(stem)) for other in LANGUAGES if other is not language]
        page = pages(language).get_template(template)
        yield (
            language.file(stem),
            page.render(values, page=language, stem=stem, other_languages=others),
        )


def pages(language: Language) -> Environment:
    """Return the Jinja environment of the pages in `language`."""
    return environment(TEMPLATES, read_texts(language))
