"""Parameter types, options and output that several verbs share."""

import json
import re
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

import click

from pipelines.core.environment import protect_new_files
from pipelines.core.settings import Settings, use_home

Command = Callable[..., int]
"""A verb: it takes the settings and its options, and returns the exit code."""


class Date(click.ParamType[date]):
    """A business date, written YYYY-MM-DD."""

    name = "date"

    def convert(
        self, value: str | date, param: click.Parameter | None, ctx: click.Context | None
    ) -> date:
        """Return the date that `value` names."""
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date such as 2026-03-05", param, ctx)


class Share(click.ParamType[float]):
    """A number from 0 to 1."""

    name = "share"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return `value` as a number; infinity and not-a-number are no shares."""
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share between 0 and 1", param, ctx)
        return share


class QualifiedName(click.ParamType[tuple[str, str]]):
    """A name with its owner, as `CHANNEL/LEAD`."""

    name = "name"

    def convert(
        self,
        value: str | tuple[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return owner and name."""
        if isinstance(value, tuple):
            return value
        owner, _, name = value.partition("/")
        is_owner = re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", owner)
        if not is_owner or not re.fullmatch(r"\S{1,64}", name):
            self.fail(f"{value!r} is not two names such as search/4711", param, ctx)
        return owner, name


DATE, SHARE, QUALIFIED_NAME = Date(), Share(), QualifiedName()
COUNT, WHOLE_NUMBER = click.IntRange(min=1), click.IntRange(min=0)

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that holds the state (else BANYAN_HOME, else var/).",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)
date_option = click.option("--date", "day", type=DATE, required=True, help="Business date.")


def with_settings(command: Command) -> Command:
    """Add `--home` to `command` and call it with the settings of that home.

    A home of another schema version is refused before `command` begins.
    """

    @wraps(command)
    def call(settings: Settings, **options: Any) -> int:
        from pipelines.core.home.schema_version import require_current

        require_current(settings)
        return command(settings, **options)

    return with_any_home(call)


def with_any_home(command: Command) -> Command:
    """Add `--home` to `command` and call it with that home, also of another schema version."""

    @home_option
    @wraps(command)
    def call(home: Path | None, **options: Any) -> int:
        from pipelines.core.library_errors import in_words

        settings = use_home(home) if home else Settings()
        protect_new_files(settings.umask)
        with in_words(settings):
            return command(settings, **options)

    return call


def date_range_options(command: Command) -> Command:
    """Add `--from` and `--to`, both required."""
    first = click.option("--from", "first", type=DATE, required=True, help="First date.")
    last = click.option("--to", "last", type=DATE, required=True, help="Last date, included.")
    return first(last(command))


def market_options(command: Command) -> Command:
    """Add the options that describe a simulated market."""
    options = (
        click.option("--start", type=DATE, required=True, help="First business date."),
        click.option("--days", type=COUNT, default=30, metavar="N", help="Number of dates."),
        click.option(
            "--leads-per-day",
            type=COUNT,
            default=2_000,
            metavar="N",
            help="Leads of a date, over all channels.",
        ),
        click.option(
            "--institutions",
            type=COUNT,
            default=60,
            metavar="N",
            help="Lending institutions.",
        ),
        click.option("--channels", type=COUNT, default=20, metavar="N", help="Marketing channels."),
        click.option("--seed", type=int, default=1, help="Another seed is another market."),
        click.option(
            "--corruption",
            type=SHARE,
            default=0.002,
            metavar="SHARE",
            help="Share of rows that are corrupted, and of files that each corruption affects.",
        ),
        click.option(
            "--sealed",
            type=SHARE,
            default=0.0,
            metavar="SHARE",
            help="Share of institutions with a key pair, whose lead files are encrypted.",
        ),
        click.option(
            "--contagion",
            type=click.Choice(["none", "hop1", "hop2"]),
            default="hop1",
            show_default=True,
            help="How far the failure of a firm travels up its supply chain.",
        ),
        click.option(
            "--shock",
            "shocks",
            multiple=True,
            metavar="NAME@DATE",
            help="A change from a date on, such as sector_falls@2025-03-17; may be repeated.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def rename_option(name: str) -> str:
    """Return the present name of an option that was renamed."""
    return {"dirt": "corruption"}.get(name, name)  # words: keep - the option's earlier name


MARKET_CONTEXT = {"token_normalize_func": rename_option}
"""Context settings of a verb with `market_options`: it accepts their earlier names, too."""


def is_reader_gone() -> bool:
    """Return whether the program that reads standard output or standard error has ended."""
    streams = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a stream in memory has no descriptor
            streams.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in streams.poll(0))


def print_json(figures: object) -> None:
    """Print `figures` as one line of JSON."""
    print(json.dumps(figures, ensure_ascii=False, default=str))
