"""Read YAML as text with the line of every key, so that an error names its line."""

from collections.abc import Iterator

import yaml

KeyPath = tuple[str | int, ...]
"""The keys and list positions on the way to a value."""


class YamlError(ValueError):
    """A file is not YAML, or repeats a key."""


def read(text: str, name: str) -> tuple[object, dict[KeyPath, int]]:
    """Return the content of `text` and the line of every key and list item.

    Every scalar is text, exactly as written: `0`, `01`, `no` and `N` are values of foreign
    files, and YAML's own types would turn some of them into numbers or booleans.

    Raises:
        YamlError: With `name`, line and key.
    """
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader makes text only
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"{name}, line {line}: not YAML: {error.problem}") from None
    lines: dict[KeyPath, int] = {}
    for path, line in _list_keys(root, ()):
        if path in lines:
            key = ".".join(map(str, path))
            raise YamlError(f"{name}, line {line}, {key}: repeated; first on line {lines[path]}")
        lines[path] = line
    return content, lines


def find_line(path: KeyPath, lines: dict[KeyPath, int]) -> int:
    """Return the line of `path`, or of the nearest key above it that the file has."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _list_keys(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _list_keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield (*path, position), value.start_mark.line + 1
            yield from _list_keys(value, (*path, position))
