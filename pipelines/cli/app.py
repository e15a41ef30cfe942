"""Entry point of the command line: run one verb and turn its errors into exit codes.

Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 the work was refused or
failed; 2 wrong use.
"""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from traceback import extract_tb

import click
from pydantic import ValidationError

from expectations.strict_model import ContractError
from pipelines.cli.commands import banyan
from pipelines.core.environment import restart_if_unsuitable
from pipelines.core.errors import INTERRUPTED, STOPPED, BanyanError, PipeBroken, UsageError
from pipelines.core.settings import PROJECT

MAX_PLACES = 3
"""Places of the code that the message of an unforeseen error names, the last call first."""

OWN_PACKAGES = ("dags", "expectations", "models", "pipelines")
"""Packages of the project itself: one that is missing is an error of the program."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    Without `arguments` it is the program itself, and reads them from the command line.
    """
    if arguments is None:
        restart_if_unsuitable()
        _write_any_text()
    try:
        return int(banyan.main(arguments, prog_name="banyan", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail(INTERRUPTED, STOPPED)
    except Exception as error:  # noqa: BLE001 - no error may show a traceback with a person's data
        return _fail(*_describe_error(error))


def _describe_error(error: Exception) -> tuple[int, object]:
    """Return the exit code and the message of an error."""
    match error:
        case UsageError():
            return 2, error
        case ValidationError():
            return 2, _describe_invalid_settings(error)
        case PipeBroken(__cause__=BrokenPipeError() as broken):
            return 1, (
                "A program that this command wrote to ended early (broken pipe at "
                f"{_name_places(broken)}). Nothing was published in part; run it again."
            )
        case BanyanError() | ContractError() | OSError():
            return 1, error
        case ModuleNotFoundError(name=str(name)) if not name.startswith(OWN_PACKAGES):
            return 1, (
                f"The library {name} is not installed for {sys.executable}. Nothing was done. "
                "Activate the environment (`. .venv/bin/activate`; `make venv` makes it), or "
                "install the libraries: `pip install -r requirements.txt`."
            )
        case _:
            return 1, _describe_unforeseen(error)


def _write_any_text() -> None:
    """Let the terminal's streams take any character, in UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _describe_unforeseen(error: Exception) -> str:
    """Return the kind of `error` and its place in the code; its text may quote a row."""
    return (
        f"An unforeseen error stopped the command: {type(error).__name__} at "
        f"{_name_places(error)}. Nothing was published in part. Report it to the developers with "
        "this message and the command."
    )


def _name_places(error: Exception) -> str:
    """Return where in the code of this project `error` was raised, the last call first."""
    places = [
        f"{Path(frame.filename).relative_to(PROJECT)}, line {frame.lineno}"
        for frame in extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(PROJECT)
    ]
    return " <- ".join(reversed(places[-MAX_PLACES:])) or "an unknown place"


def _describe_invalid_settings(error: ValidationError) -> str:
    problems = (
        f"BANYAN_{'_'.join(map(str, problem['loc'])).upper()}: "
        f"{problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False)
    )
    return f"The settings are invalid, nothing was done. {'; '.join(problems)}."


def _fail(code: int, message: object) -> int:
    print(message, file=sys.stderr)
    return code
