"""Mappings, read from `expectations/mappings/NAME.yml`: how a foreign file becomes feed files.

A mapping is data, so onboarding a source needs no code. A wrong one names the line and the key.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from expectations import contracts
from expectations.mapping_types import Mapping, Route, Value
from expectations.yaml_lines import Place, YamlError, line_of, read

FOLDER = Path(__file__).parent / "mappings"
OWN_TABLES = ("received", "unreadable", "prepared", "judged", "set_aside")
"""What an import calls its own tables."""


class MappingError(ValueError):
    """A mapping cannot be meant as it is written; names file, line and key of each mistake."""


class LoadedMapping:
    """A mapping with its name and with the line of each of its keys."""

    def __init__(self, path: Path, mapping: Mapping, lines: dict[Place, int]):
        self.path = path
        self.name = path.stem
        self.mapping = mapping
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._lines = lines

    def wrong(self, place: Place, problem: str) -> MappingError:
        """Return the error that says `problem` of the key at `place`."""
        return MappingError(_sentence(self.path, place, problem, self._lines))


def load(name: str) -> LoadedMapping:
    """Return the mapping called `name`, or the one in the file `name` if that ends in .yml.

    Raises:
        MappingError: There is none, or it is wrong; each mistake with its line and key.
    """
    path = Path(name) if name.endswith(".yml") else FOLDER / f"{name}.yml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yml")))
        raise MappingError(f"no mapping is named {name!r}; there are: {known}, or give a .yml file")
    try:
        content, lines = read(path.read_text("utf-8"), path.name)
        mapping = Mapping.model_validate(content)
    except YamlError as error:
        raise MappingError(str(error)) from None
    except ValidationError as error:
        mistakes = [(item["loc"], item["msg"]) for item in error.errors()]
    else:
        mistakes = list(_misfits(mapping))
    if mistakes:
        raise MappingError("\n".join(_sentence(path, *mistake, lines) for mistake in mistakes))
    return LoadedMapping(path, mapping, lines)


def _misfits(mapping: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield what the mapping says against the contracts of the feeds that it fills."""
    for name in mapping.beside:
        if name in OWN_TABLES or name in contracts.feeds():
            yield ("beside", name), "this name is taken by a feed or by the import itself"
    for number, route in enumerate(mapping.routes):
        place: Place = ("routes", number)
        if route.feed in contracts.feeds():
            yield from _misfits_of_route(route, contracts.load(route.feed), place)
        else:
            known = ", ".join(contracts.feeds())
            yield (*place, "feed"), f"no feed is named {route.feed!r}; there are: {known}"


def _misfits_of_route(
    route: Route, contract: contracts.Contract, place: Place
) -> Iterator[tuple[Place, str]]:
    if missing := set(contract.required) - route.columns.keys():
        yield (*place, "columns"), f"{route.feed} requires {', '.join(sorted(missing))}"
    for name, value in route.columns.items():
        if problem := _misfit(contract, name, value):
            yield (*place, "columns", name), problem
    for name in sorted(route.invented.keys() - route.columns.keys() - {"source", "date"}):
        yield (*place, "invented", name), "nothing of that name is filled by this route"


def _misfit(contract: contracts.Contract, name: str, value: Value) -> str | None:
    if name not in contract.names:
        return f"{contract.feed} has no such column; it has: {', '.join(contract.names)}"
    kind = contract[name].type
    if value.format and kind not in {"date", "timestamp"}:
        return f"`format` is for dates and times, and this column is {kind}"
    if value.scale is not None and kind not in {"integer", "number"}:
        return f"`scale` is for numbers, and this column is {kind}"
    return None


def _sentence(path: Path, place: Place, problem: str, lines: dict[Place, int]) -> str:
    key = ".".join(map(str, place))
    return f"{path.name}, line {line_of(place, lines)}, {key}: {problem}"
