"""Entry point of the command line: run one verb and turn its errors into exit codes.

Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 the work was refused or
failed; 2 wrong use.
"""

import sys
from collections.abc import Sequence

import click
from pydantic import ValidationError

from pipelines.cli.commands import banyan
from pipelines.core.errors import BanyanError, UsageError

INTERRUPTED = 130
"""The exit code that shells report for a process ended by Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    try:
        return int(banyan.main(arguments, prog_name="banyan", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail(INTERRUPTED, "Stopped. Nothing was published in part; run it again.")
    except UsageError as error:
        return _fail(2, error)
    except ValidationError as error:
        return _fail(2, _describe_invalid_settings(error))
    except (BanyanError, OSError) as error:
        return _fail(1, error)


def _describe_invalid_settings(error: ValidationError) -> str:
    problems = (
        f"BANYAN_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )
    return f"The settings are invalid, nothing was done. {'; '.join(problems)}."


def _fail(code: int, message: object) -> int:
    print(message, file=sys.stderr)
    return code
