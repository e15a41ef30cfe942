"""The HTML base of every published page: one Jinja environment, base template and style sheet.

A page extends `base.html`, is one self-contained file, has no script and requests nothing from the
network. The same values give the same bytes.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.core import formats
from pipelines.core.rendering import svg

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Tile:
    """A large figure at the top of a page, with its name and a line that puts it in proportion."""

    name: str
    value: str
    note: str


@cache
def environment(folder: Path) -> Environment:
    """Return the Jinja environment for the templates of `folder` on top of the shared ones.

    Templates call the charts of `pipelines.core.rendering.svg` as `charts`, and the functions that
    `pipelines.core.formats.FILTERS` names as filters.
    """
    made = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["charts"] = svg
    made.filters |= formats.FILTERS
    return made
