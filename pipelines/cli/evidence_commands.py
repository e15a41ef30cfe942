"""The verbs of evidence: signoff, verify, and policy with diff, list and export."""

import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import (
    DATE,
    date_option,
    date_range_options,
    json_option,
    print_json,
    with_settings,
)
from pipelines.core.errors import UsageError
from pipelines.core.evidence import DECISIONS, Decision
from pipelines.core.settings import Settings

if TYPE_CHECKING:
    from pipelines.core.evidence.publication_log import Head
    from pipelines.operations.policy_diff import PolicyDiff
    from pipelines.operations.verify import Verification


@click.command()
@date_option
@click.option("--by", required=True, metavar="NAME", help="Who decides.")
@click.option("--decision", type=click.Choice(DECISIONS), required=True, help="What is decided.")
@click.option("--note", default="", help="What somebody should know later; no person's data.")
@json_option
@with_settings
def signoff(
    settings: Settings,
    day: date,
    by: str,
    decision: Decision,
    note: str,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Record an officer's decision on a day; a second decision is a further line."""
    from pipelines.core.evidence.sign_offs import LABELS, read_sign_offs
    from pipelines.reports.sign_off import record_sign_off

    entry = record_sign_off(settings, day, by=by, decision=decision, note=note, via="command line")
    if as_json:
        print_json(asdict(entry))
        return 0
    number = len(read_sign_offs(settings, day))
    print(f"{day}: {LABELS[decision]}, by {entry.by} at {entry.at}; decision {number} on this day.")
    if decision == "not_fit" and settings.day_folder(settings.delivered, day).exists():
        print(
            "Its lead files were delivered before, and the decision takes none back. Correct the "
            f"cause and run `banyan run --date {day}`: institutions then get corrected files, and "
            "a retraction list where a lead is gone."
        )
    print(f"The page of all days shows it: {settings.reports / 'index.html'}")
    return 0


class DateOrAll(click.ParamType[date | None]):
    """A business date, or `all`."""

    name = "date"

    def convert(
        self, value: str | date, param: click.Parameter | None, ctx: click.Context | None
    ) -> date | None:
        """Return the date; None for all."""
        return None if value == "all" else DATE.convert(value, param, ctx)


class KeptHead(click.ParamType["Head"]):
    """A head of the publication log, written SIZE:ROOT."""

    name = "head"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Head":
        """Return the head."""
        from pipelines.core.evidence.publication_log import Head

        if isinstance(value, Head):
            return value
        size, _, root = value.partition(":")
        if not size.isdecimal() or int(size) < 1 or not re.fullmatch("[0-9a-f]{64}", root):
            self.fail(f"{value!r} is no head such as 412:9f86…: a number, 64 digits", param, ctx)
        return Head(int(size), root)


@click.command()
@click.option("--date", "day", type=DateOrAll(), default="all", help="Business date (else all).")
@click.option(
    "--head",
    "heads",
    type=KeptHead(),
    multiple=True,
    metavar="SIZE:ROOT",
    help="A head that was kept elsewhere, such as on a printed report; may be repeated.",
)
@click.option(
    "--proof",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the proofs of the date, for somebody without the home.",
)
@click.option(
    "--time-stamp-request",
    "request",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a request to a time-stamping authority (RFC 3161) for the present head.",
)
@json_option
@with_settings
def verify(
    settings: Settings,
    day: date | None,
    heads: tuple["Head", ...],
    proof: Path | None,
    request: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Prove that nothing published was changed, replaced or removed; exit 1: something was."""
    from pipelines.operations.verify import verify_home, write_proof, write_time_stamp_request

    if proof and day is None:
        raise UsageError("--proof needs --date. Nothing was verified.")
    found = verify_home(settings, day, heads)
    if as_json:
        print_json(asdict(found))
    else:
        print("\n".join(_describe(found)))
    if proof and day and not found.problems:
        write_proof(settings, day, proof)
        print(f"The proofs of {day} are in {proof}.", file=sys.stderr)
    if request and not found.problems:
        head = write_time_stamp_request(settings, request)
        print(f"{request} asks to time-stamp the head {head}.", file=sys.stderr)
    return 1 if found.problems else 0


def _describe(found: "Verification") -> Iterator[str]:
    """Yield the lines for a terminal."""
    from pipelines.core.translation import plural

    for path, how in sorted(found.problems.items()):
        yield f"WRONG  {path}: {how}"
    for path, how in sorted(found.notes.items()):
        yield f"note   {path}: {how}"
    yield (
        f"Checked {found.files:,} files of {found.folders:,} published folders, {found.leaves:,} "
        f"leaves of the publication log, {found.heads:,} heads and {found.decisions:,} decisions."
    )
    yield f"Head: {found.head}. Keep it elsewhere to prove later that nothing before it changed."
    if found.problems:
        yield (
            f"{plural(len(found.problems), 'problem')}. Nothing was repaired. Keep the home as it "
            "is, find out who changed it, and restore the files from a backup, or run the dates "
            "again."
        )
    else:
        yield "Nothing published was changed, replaced or removed."


@click.group()
def policy() -> None:
    """Show, export and compare versions of the policies."""


@policy.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@date_range_options
@json_option
@with_settings
def policy_diff(
    settings: Settings,
    before: str,
    after: str,
    first: date,
    last: date,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Show which past days, matches and persons a change from A to B would have touched.

    A and B are folders of policies, versions that the home keeps (`policy list`), or `current`.
    """
    from pipelines.operations.policy_diff import compare_policies

    found = compare_policies(settings, before, after, first, last)
    if as_json:
        print_json(asdict(found))
    else:
        print("\n".join(_describe_diff(found)))
    return 0


def _describe_diff(found: "PolicyDiff") -> Iterator[str]:
    """Yield the lines for a terminal."""
    from pipelines.core.translation import plural

    yield f"From {found.first} to {found.second}:"
    for name, how in found.changed_files.items():
        yield f"  {name} {how}"
        for entry in found.entries:
            if entry.file == name:
                why = f" ({entry.why})" if entry.why else ""
                yield f"    {'new ' if entry.is_new else 'gone'}  {entry.text}"
                yield f"          decided by: {entry.decided_by or 'not stated'}{why}"
    if not found.changed_files:
        yield "  no file differs"
    yield (
        f"{found.touched_matches:,} of {found.matches:,} matches of {found.touched_persons:,} "
        f"persons are touched, on {found.touched_days:,} of {len(found.days):,} days."
    )
    for rule, effect in sorted(found.rules.items()):
        yield (
            f"  {rule:<20} forbids {effect.forbidden:,}, allows {effect.allowed:,}, may open "
            f"{effect.may_open:,} unmatched leads{_list_examples(effect.examples)}"
        )
    for day, figures in found.days.items():
        if figures.touched or figures.may_open:
            yield (
                f"  {day}  {figures.touched:,} of {figures.matches:,} matches, "
                f"{plural(figures.persons, 'person')}; may open "
                f"{plural(figures.may_open, 'lead')}"
            )
    if found.not_judged:
        yield (
            f"Not judged on single matches: {', '.join(found.not_judged)}. They change the plan as "
            "a whole, or no match."
        )


def _list_examples(examples: list[str]) -> str:
    return f"; such as {', '.join(examples)}" if examples else ""


@policy.command("list")
@json_option
@with_settings
def policy_list(settings: Settings, as_json: bool) -> int:  # noqa: FBT001
    """List the versions of the policies that the home keeps, with the days run under each."""
    from pipelines.operations.policy_diff import list_versions

    versions = list_versions(settings)
    if as_json:
        print_json([asdict(version) for version in versions])
        return 0
    for version in versions:
        days = f"{version.days:,} days, {version.first_day} to {version.last_day}"
        mark = "  (in force)" if version.is_current else ""
        pages = f"on pages as {version.policy_version}"
        print(f"{version.version[:12]}  {days if version.days else 'no day'}, {pages}{mark}")
        if version.changed_files:
            print(f"              changed: {', '.join(version.changed_files)}")
    if not versions:
        print("The home keeps no policies yet; the next run does.")
    return 0


@policy.command("export")
@click.argument("version")
@click.argument("folder", type=click.Path(path_type=Path))
@with_settings
def policy_export(settings: Settings, version: str, folder: Path) -> int:
    """Write the files of a kept VERSION into an empty FOLDER."""
    from pipelines.core.evidence.kept_policies import export_policies, find_kept

    kept = find_kept(settings, version)
    if kept is None:
        raise UsageError(
            f"The home keeps no policies of the version {version}. Nothing was written. "
            "`banyan policy list` shows the versions."
        )
    export_policies(settings, kept, folder)
    print_json({"version": kept.version, "folder": str(folder), "files": sorted(kept.files)})
    return 0


EVIDENCE_COMMANDS = (signoff, verify, policy)
