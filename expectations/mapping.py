"""Load mappings, `expectations/mappings/NAME.yml`, which turn foreign files into feed files.

A mapping is data, so onboarding a source needs no code. An error names the line and the key.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from expectations import contracts
from expectations.mapping_types import Mapping, Route, Value
from expectations.yaml_lines import KeyPath, YamlError, find_line, read

FOLDER = Path(__file__).parent / "mappings"
RESERVED_TABLES = ("received", "unreadable", "prepared", "routed", "quarantined", "objects", "part")
"""The tables of an import."""


class MappingError(ValueError):
    """A mapping is invalid; the message has the file, line and key of each mistake."""


class LoadedMapping:
    """A mapping with its name and with the line of each of its keys."""

    def __init__(self, path: Path, mapping: Mapping, lines: dict[KeyPath, int]):
        self.path = path
        self.name = path.stem
        self.mapping = mapping
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._lines = lines

    def make_error(self, key: KeyPath, problem: str) -> MappingError:
        """Return the error that reports `problem` at `key`."""
        return MappingError(_describe_mistake(self.path, key, problem, self._lines))


def load(name: str) -> LoadedMapping:
    """Return the mapping called `name`, or the one in the file `name` if that ends in .yml.

    Raises:
        MappingError: It does not exist or is invalid; with the line and key of each mistake.
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
        mistakes = list(_find_mistakes(mapping))
    if mistakes:
        raise MappingError(
            "\n".join(_describe_mistake(path, *mistake, lines) for mistake in mistakes)
        )
    return LoadedMapping(path, mapping, lines)


def _find_mistakes(mapping: Mapping) -> Iterator[tuple[KeyPath, str]]:
    """Yield the contradictions between the mapping and the contracts of its feeds."""
    for name in mapping.beside:
        if name in RESERVED_TABLES or name in contracts.feeds():
            yield ("beside", name), "this name is reserved for a feed or for the import itself"
    for number, route in enumerate(mapping.routes):
        key: KeyPath = ("routes", number)
        if route.feed in contracts.feeds():
            yield from _find_route_mistakes(route, contracts.load(route.feed), key)
        else:
            known = ", ".join(contracts.feeds())
            yield (*key, "feed"), f"no feed is named {route.feed!r}; there are: {known}"


def _find_route_mistakes(
    route: Route, contract: contracts.Contract, key: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    if missing := set(contract.required) - route.columns.keys():
        yield (*key, "columns"), f"{route.feed} requires {', '.join(sorted(missing))}"
    for name, value in route.columns.items():
        if problem := _find_column_mistake(contract, name, value):
            yield (*key, "columns", name), problem
    for name in sorted(route.invented.keys() - route.columns.keys() - {"source", "date"}):
        yield (*key, "invented", name), "nothing of that name is filled by this route"


def _find_column_mistake(contract: contracts.Contract, name: str, value: Value) -> str | None:
    if name not in contract.names:
        return f"{contract.feed} has no such column; it has: {', '.join(contract.names)}"
    kind = contract[name].type
    if value.format and kind not in {"date", "timestamp"}:
        return f"`format` is for dates and times, and this column is {kind}"
    if value.scale is not None and kind not in {"integer", "number"}:
        return f"`scale` is for numbers, and this column is {kind}"
    return None


def _describe_mistake(path: Path, key: KeyPath, problem: str, lines: dict[KeyPath, int]) -> str:
    name = ".".join(map(str, key))
    return f"{path.name}, line {find_line(key, lines)}, {name}: {problem}"
