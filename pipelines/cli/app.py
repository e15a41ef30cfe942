"""The command line: which verbs there are and what each is told.

Results go to stdout, everything else to stderr. Exit: 0 done; 1 the work was refused or failed;
2 wrong use.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from pipelines.cli import commands
from pipelines.core.errors import BanyanError, UsageError
from pipelines.core.settings import Settings, use_home

INTERRUPTED = 130  # as shells report a process that Ctrl-C ended

ONE_STEP = {
    "ingest": "check the landed files into the lake",
    "transform": "build the tables: staging, intermediate, features, marts",
    "train": "train the models of the date's week, unless the registry has them",
    "score": "find the eligible pairs and score them",
    "match": "choose the day's matches",
    "deliver": "write the institutions' lead files",
    "report": "write the day's page",
}

Verb = Callable[[Settings, argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    asked = _parser().parse_args(argv)
    verb: Verb = asked.verb_function
    try:
        return verb(use_home(asked.home) if asked.home else Settings(), asked)
    except UsageError as error:
        return _ended(2, error)
    except ValidationError as error:
        return _ended(2, _settings_refused(error))
    except (BanyanError, OSError) as error:
        return _ended(1, error)
    except KeyboardInterrupt:
        return _ended(INTERRUPTED, "Stopped. Nothing half-done was published; run it again.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=commands.__doc__)
    group = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, function: Verb, words: str) -> argparse.ArgumentParser:
        added = group.add_parser(name, help=words, description=words)
        added.add_argument(
            "--home", type=Path, metavar="DIR", help="where the state lies (else BANYAN_HOME, var/)"
        )
        added.set_defaults(verb_function=function)
        return added

    simulate = verb("simulate", commands.simulate, "write a small simulated market under landing/")
    _add_market(simulate)
    simulate.add_argument(
        "--broadcast-days",
        type=_whole,
        metavar="N",
        help="only the first N dates have the outcomes of a broadcast matching (else all)",
    )

    respond = verb("respond", commands.respond, "let the simulated world answer what was delivered")
    respond.add_argument("--date", type=_date, required=True, help="the date that was delivered")
    respond.add_argument("--to", type=_date, help="last date to write outcomes for (else all)")

    season = verb("season", commands.season, "simulate, run and answer one day after the other")
    _add_market(season)
    season.add_argument(
        "--history",
        type=_whole,
        metavar="N",
        default=0,
        help="dates of broadcast matching before --start; 0 is a cold start",
    )

    foreign = verb(
        "import", commands.import_file, "turn a foreign file into feed files, by a mapping"
    )
    foreign.add_argument("mapping", help="a name in expectations/mappings/, or a .yml file")
    foreign.add_argument("file", type=Path)
    foreign.add_argument("--start", type=_date, help="first landing date to write")
    foreign.add_argument("--days", type=_count, help="how many dates from --start on")

    run = verb("run", commands.run, "run the whole day, in-process, for each date in order")
    run.add_argument("--date", type=_date, required=True)
    run.add_argument("--to", type=_date, help="last date; without it only --date")
    run.add_argument("--json", action="store_true", help="print the figures as one JSON object")

    for name, words in ONE_STEP.items():
        step = verb(name, commands.one_step, words)
        step.add_argument("--date", type=_date, required=True)
        step.set_defaults(step=name)

    verb("champions", commands.champions, "say who was champion from when to when, and why")

    replay = verb("replay", commands.replay, "compute a day again and compare every published file")
    replay.add_argument("--date", type=_date, required=True)

    told = verb("explain", commands.explain, "say what decided about a lead, or about a product")
    told.add_argument("--date", type=_date, required=True)
    told.add_argument(
        "--lead", type=_named, metavar="CHANNEL/LEAD", help="why these offers or none"
    )
    told.add_argument(
        "--product",
        type=_named,
        metavar="INSTITUTION/PRODUCT",
        help="why its quota was not filled; with --lead: what decided between the two",
    )
    told.add_argument("--json", action="store_true", help="print one JSON object and no text")

    scored = verb("scorecard", commands.scorecard, "say what the matching of some days was worth")
    scored.add_argument("--from", type=_date, required=True, dest="first")
    scored.add_argument("--to", type=_date, required=True, dest="last", help="last date, included")
    scored.add_argument(
        "--truth",
        action="store_true",
        help="by a simulated market's truth, beside other policies; writes a page as well",
    )
    scored.add_argument(
        "--shuffled",
        action="store_true",
        help="a control: as if the truth of each pair were that of another; no gain may be left",
    )
    shape = scored.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON object and no table")
    shape.add_argument("--headline", action="store_true", help="print one sentence; needs --truth")

    _add_other_policy(
        verb("worth", commands.worth, "estimate from the log what another policy was worth")
    )

    bench = verb("bench", commands.bench, "run one benchmark; its last line is one JSON object")
    bench.add_argument("name", choices=sorted(commands.BENCHMARKS))
    bench.add_argument("options", nargs=argparse.REMAINDER)
    return parser


def _add_market(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", type=_date, required=True, help="first business date")
    parser.add_argument("--days", type=_count, default=30, metavar="N", help="how many dates")
    parser.add_argument("--leads-per-day", type=_count, default=2_000, metavar="N")
    parser.add_argument("--institutions", type=_count, default=60, metavar="N")
    parser.add_argument("--channels", type=_count, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--dirt",
        type=_share,
        default=0.002,
        metavar="SHARE",
        help="share of rows that are broken, and of files that each kind of damage befalls",
    )
    parser.add_argument(
        "--shock",
        action="append",
        default=[],
        dest="shocks",
        metavar="NAME@DATE",
        help="what changes from a date on, such as sector_falls@2025-03-17; may be repeated",
    )


def _add_other_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", type=_date, required=True, dest="first")
    parser.add_argument("--to", type=_date, required=True, dest="last", help="last date, included")
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--policy", type=Path, metavar="FILE", help="a value policy, see value.yml")
    other.add_argument("--models", type=_date, metavar="AS_OF", help="a set of the registry")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-03-05") from None


def _named(text: str) -> tuple[str, str]:
    owner, _, name = text.partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", owner) or not re.fullmatch(r"\S{1,64}", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not two names such as search/4711")
    return owner, name


def _count(text: str) -> int:
    return _whole(text, least=1)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1")
    return share


def _whole(text: str, least: int = 0) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
    return int(text)


def _settings_refused(error: ValidationError) -> str:
    wrong = (
        f"BANYAN_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )
    return f"The settings are refused, nothing was done. {'; '.join(wrong)}."


def _ended(code: int, words: object) -> int:
    print(words, file=sys.stderr)
    return code
