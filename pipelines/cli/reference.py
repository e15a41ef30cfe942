"""Write the reference pages of the commands and of the settings: `make docs`.

Both are derived, from the command line itself and from `pipelines/core/settings.py`; a test
compares what lies on disk with what is derived.
"""

import ast
import inspect
from collections.abc import Iterable, Iterator
from datetime import time
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from expectations.derive import write_files
from pipelines.cli.commands import banyan
from pipelines.core.settings import PROJECT, Settings

COMMANDS = "docs/reference/commands.md"
SETTINGS = "docs/reference/settings.md"

COMMANDS_HEADER = """\
# Commands

Derived from the command line by `make docs`; edit `pipelines/cli/` instead.

`python -m pipelines VERB …` does the same as `banyan VERB …`. Every verb also has `--help`. Results
go to stdout, everything else to stderr.

| exit code | meaning |
| --- | --- |
| 0 | done; of `run`: every day is fit, or fit with remarks |
| 1 | the work was refused or failed, or a day is not fit; the message says what to do |
| 2 | wrong use: a verb, an option or a setting is impossible; nothing was done |
| 130 | stopped by Ctrl-C, or a run by SIGTERM; nothing was published in part |
"""

SETTINGS_HEADER = """\
# Settings

Derived from `pipelines/core/settings.py` by `make docs`; edit its docstrings instead.

A setting is an environment variable, or a line of the file `.env` beside `README.md`; the variable
has precedence. An impossible value ends a command with exit code 2 before anything is done.

| variable | default | possible values | meaning |
| --- | --- | --- | --- |
"""

FOLDERS_HEADER = """
## Folders of a home

| below `BANYAN_HOME` | content |
| --- | --- |
"""


def render_pages() -> dict[str, str]:
    """Return the text of both pages, by path below the project."""
    sections = _describe_command(banyan, click.Context(banyan, info_name="banyan"))
    return {
        COMMANDS: "\n".join([COMMANDS_HEADER, *sections]),
        SETTINGS: SETTINGS_HEADER
        + "".join(f"{_row(cells)}\n" for cells in _describe_settings())
        + FOLDERS_HEADER
        + "".join(f"{_row(cells)}\n" for cells in _describe_folders()),
    }


def _describe_command(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield a section for `command` and for each command below it."""
    path = context.command_path
    if context.parent:
        yield f"{'#' * (1 + path.count(' '))} {path.removeprefix('banyan ')}\n"
        yield f"    {path} {' '.join(_usage(command, context))}\n"
        yield f"{inspect.cleandoc(command.help or '')}\n"
        rows = [_describe_option(option, context) for option in command.params]
        if rows:
            yield _table(("option", "default", "meaning"), rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _describe_command(
                    below, click.Context(below, info_name=name, parent=context)
                )


def _usage(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield what a person must type after the name of `command`."""
    required = [option for option in command.params if option.required]
    for option in required:
        metavar = option.make_metavar(context)
        yield f"{option.opts[0]} {metavar}" if isinstance(option, click.Option) else metavar
    if len(required) < len(command.params):
        yield "[OPTIONS]"
    if isinstance(command, click.Group):
        yield "NAME …"


def _describe_option(option: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    """Return name with value, default and meaning of an option or argument."""
    if not isinstance(option, click.Option):
        name = option.make_metavar(context)
        return f"`{name}`", "required" if option.required else "", ""
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    name = f"`{', '.join(option.opts)}{value}`"
    return name, _describe_default(option, context), option.help or ""


def _describe_default(option: click.Option, context: click.Context) -> str:
    if option.required:
        return "required"
    default = option.get_default(context)
    is_set = isinstance(default, str | int | float | Path)
    if option.is_flag or option.multiple or not is_set or default == "":
        return ""
    return f"`{_describe_value(default)}`"


def _describe_settings() -> Iterator[tuple[str, str, str, str]]:
    """Yield variable, default, possible values and meaning of each setting."""
    meanings = _docstrings_of_fields()
    for name, field in Settings.model_fields.items():
        default = "" if field.default in {None, ""} else f"`{_describe_value(field.default)}`"
        yield f"`BANYAN_{name.upper()}`", default, _describe_type(field), meanings[name]


def _docstrings_of_fields() -> dict[str, str]:
    """Return the text below each field of `Settings`, which Python itself does not keep."""
    body = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class is one
    pairs = zip(body.body, body.body[1:], strict=False)
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairs
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
KINDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    Path: "folder",
    time: "time of day, HH:MM",
}


def _describe_type(field: FieldInfo) -> str:
    """Return kind and limits of a setting's values."""
    limits = [
        f"{word} {getattr(limit, name):,}"
        for limit in field.metadata
        for name, word in LIMITS.items()
        if hasattr(limit, name)
    ]
    patterns = [f"`{limit.pattern}`" for limit in field.metadata if hasattr(limit, "pattern")]
    kind = KINDS.get(field.annotation, "text")
    return " ".join(filter(None, [kind, " and ".join(limits), *patterns]))


def _describe_folders() -> Iterator[tuple[str, str]]:
    """Yield each folder or file of a home with its content."""
    settings = Settings()
    for name, member in vars(Settings).items():
        path = getattr(settings, name) if isinstance(member, cached_property) else None
        if isinstance(path, Path):
            suffix = "" if path.suffix else "/"
            content = " ".join((member.__doc__ or "").split())
            yield f"`{path.relative_to(settings.home).as_posix()}{suffix}`", content


def _describe_value(value: object) -> str:
    """Return a default as a person types it; a path of the project relative to it."""
    match value:
        case Path() if value.is_relative_to(PROJECT):
            return value.relative_to(PROJECT).as_posix()
        case time():
            return f"{value:%H:%M}"
        case _:
            return f"{value}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [_row(header), _row(("---",) * len(header)), *map(_row, rows)]
    return "".join(f"{line}\n" for line in lines)


def _row(cells: tuple[str, ...]) -> str:
    texts = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |"


def main() -> None:
    """Write the pages and report which of them changed."""
    write_files(render_pages())


if __name__ == "__main__":
    main()
