"""YAML read as text with the line of every key, so that a mistake can be named where it stands."""

from collections.abc import Iterator

import yaml

Place = tuple[str | int, ...]
"""The keys and list positions that lead to a value."""


class YamlError(ValueError):
    """A file is not YAML, or says a key twice."""


def read(text: str, name: str) -> tuple[object, dict[Place, int]]:
    """Return the content of `text` and the line of every key and list item.

    Every scalar stays text, exactly as written: `0`, `01`, `no` and `N` are values of foreign
    files, and YAML's own reading would turn some of them into numbers or booleans.

    Raises:
        YamlError: With `name`, line and key.
    """
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader makes text only
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"{name}, line {line}: not YAML: {error.problem}") from None
    lines: dict[Place, int] = {}
    for place, line in _places(root, ()):
        if place in lines:
            key = ".".join(map(str, place))
            raise YamlError(f"{name}, line {line}, {key}: said twice; first on line {lines[place]}")
        lines[place] = line
    return content, lines


def line_of(place: Place, lines: dict[Place, int]) -> int:
    """Return the line of `place`, or of the nearest key above it that the file has."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _places(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), key.start_mark.line + 1
            yield from _places(value, (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield (*place, position), value.start_mark.line + 1
            yield from _places(value, (*place, position))
