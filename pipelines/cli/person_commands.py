"""The verbs about one person, or many: find, export, erase, restrict and human review.

What names the person is read from standard input: a command line stays in the shell's history and
is seen by every user of the machine.
"""

import sys
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import click

from pipelines.cli.options import DATE, Command, json_option, print_json, with_settings
from pipelines.core.errors import UsageError
from pipelines.core.formats import MAX_NAME, clean_note
from pipelines.core.settings import Settings
from pipelines.core.translation import plural

Kind = Literal["phone", "id_number", "lead"]

KINDS: dict[Kind, str] = {
    "phone": "Persons are named by phone, such as +8613800138000.",
    "id_number": "Persons are named by identity number.",
    "lead": "Persons are named by CHANNEL/LEAD.",
}
PROMPTS: dict[Kind, str] = {
    "phone": "Phone",
    "id_number": "Identity number",
    "lead": "CHANNEL/LEAD",
}
RESULTS = ("upheld", "changed", "withdrawn")


class PersonGroup(click.Group):
    """A group that lists its verbs in the order of their definition."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the verbs."""
        return list(self.commands)


@click.group(cls=PersonGroup)
def person() -> None:
    """Find, export, erase or restrict a person's data, or have a human look at a decision.

    Standard input names the person: one line for each. On a terminal it is asked for and not shown.
    """


def with_persons(command: Command) -> Command:
    """Add the options that say what standard input names; pass `kind` (None: not given)."""

    def call(settings: Settings, **options: Any) -> int:
        chosen = [kind for kind in KINDS if options.pop(kind)]
        if len(chosen) > 1:
            raise UsageError("Give one of --phone, --id-number and --lead. Nothing was done.")
        return command(settings, kind=chosen[0] if chosen else None, **options)

    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    wrapped = with_settings(call)
    for kind, text in reversed(KINDS.items()):
        wrapped = click.option(f"--{kind.replace('_', '-')}", kind, is_flag=True, help=text)(
            wrapped
        )
    return wrapped


by_option = click.option("--by", metavar="NAME", help="Who decided it; it stays in the ledger.")
reason_option = click.option(
    "--reason", metavar="TEXT", help="Why; it stays in the ledger, so it may not name the person."
)


def read_lines(kind: Kind | None) -> tuple[Kind, list[str]]:
    """Return what names the persons, and the lines that name them; a terminal shows no line."""
    if kind is None:
        raise UsageError(
            "Say what names the person: --phone, --id-number or --lead. Nothing was done."
        )
    if sys.stdin.isatty():
        return kind, [click.prompt(PROMPTS[kind], hide_input=True, err=True)]
    return kind, sys.stdin.read().splitlines()


def require(by: str | None, reason: str | None) -> dict[str, str]:
    """Return who decided it and why; both are needed where something is written."""
    if not (by or "").strip() or not (reason or "").strip():
        raise UsageError("--by NAME and --reason TEXT are needed. Nothing was done.")
    name, text = clean_note("name", f"{by}", MAX_NAME), clean_note("reason", f"{reason}")
    return {"by": name, "reason": text}


@person.command()
@json_option
@with_persons
def find(settings: Settings, kind: Kind | None, as_json: bool) -> int:  # noqa: FBT001
    """List a person's leads: dates, and the institutions that received them. Exit 1: unknown."""
    from pipelines.persons.collect import find_persons

    found = find_persons(settings, *read_lines(kind))
    if not as_json:
        for row in found["persons"]:
            print(f"line {row['line']}: {plural(len(row['leads']), 'lead')}")
            for lead in row["leads"]:
                names = ", ".join(lead["institutions"]) or "nobody"
                print(
                    f"  {lead['date']}  {lead['channel_id']}/{lead['lead_id']}  received by {names}"
                )
        for row in found["rejected"]:
            print(f"  not loaded: {row['path']}, line {row['line']}")
        if found["unknown"]:
            lines = plural(found["unknown"], "line names", "lines name")
            print(f"{lines} nobody who is known.", file=sys.stderr)
    else:
        print_json(found)
    return 0 if found["persons"] else 1


@person.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Folder outside of the home for person.json and person.html.",
)
@with_persons
def export(settings: Settings, kind: Kind | None, folder: Path) -> int:
    """Write everything held about one person: as JSON, and as a page in the person's words."""
    from pipelines.persons.collect import collect_person
    from pipelines.persons.export import write_export

    collected = collect_person(settings, *read_lines(kind))
    paths = write_export(settings, collected, folder)
    print_json({"leads": len(collected["leads"]), "files": [str(path) for path in paths]})
    return 0


@person.command()
@by_option
@reason_option
@click.option("--resume", is_flag=True, help="Only complete an erasure that was killed.")
@click.option("--orders", is_flag=True, help="Every person that a received order asks to erase.")
@with_persons
def erase(
    settings: Settings,
    kind: Kind | None,
    by: str | None,
    reason: str | None,
    resume: bool,  # noqa: FBT001
    orders: bool,  # noqa: FBT001
) -> int:
    """Erase persons from every file of the home; prints the proof.

    Lands an order, so that they are not matched when they come again, and notices every institution
    that received them. What is erased can't be restored.
    """
    from pipelines.core.home.lock import lock_home
    from pipelines.persons.erase import erase as erase_persons
    from pipelines.persons.erase import erase_ordered
    from pipelines.persons.erase import resume as resume_erasures

    if sum((resume, orders, kind is not None)) > 1:
        raise UsageError("--resume, --orders and what names persons exclude each other.")
    if resume:
        with lock_home(settings):
            print_json({"completed": resume_erasures(settings)})
        return 0
    who = require(by, reason)
    named = None if orders else read_lines(kind)
    with lock_home(settings):
        proof = (
            erase_persons(settings, *named, by=who["by"], reason=who["reason"])
            if named
            else erase_ordered(settings, **who)
        )
    print_json(proof)
    return 0


@person.command()
@by_option
@reason_option
@click.option("--lift", "lifted", metavar="RESTRICTION", help="Lift this restriction.")
@click.option("--list", "is_list", is_flag=True, help="List the restrictions in force.")
@with_persons
def restrict(
    settings: Settings,
    kind: Kind | None,
    by: str | None,
    reason: str | None,
    lifted: str | None,
    is_list: bool,  # noqa: FBT001
) -> int:
    """Stop the use of a person's data, from the next date on, until it is lifted."""
    from pipelines.core.home.lock import lock_home
    from pipelines.persons.restrict import lift, list_in_force
    from pipelines.persons.restrict import restrict as restrict_persons

    if is_list:
        names = ("id", "at", "known_on", "by", "reason", "persons")
        rows = [{name: each[name] for name in names} for each in list_in_force(settings)]
        print_json({"in_force": rows})
        return 0
    who = require(by, reason)
    named = None if lifted else read_lines(kind)
    with lock_home(settings):
        entry = (
            restrict_persons(settings, *named, by=who["by"], reason=who["reason"])
            if named
            else lift(settings, f"{lifted}", **who)
        )
    print_json({name: value for name, value in entry.items() if name != "leads"})
    return 0


@person.command("contest")  # words: keep - the verb that the border names
@click.option("--date", "day", type=DATE, help="Business date of the decision.")
@by_option
@reason_option
@click.option("--decide", "decided", metavar="REVIEW", help="Record the result of this review.")
@click.option("--result", type=click.Choice(RESULTS), help="What the human decided.")
@click.option("--list", "is_list", is_flag=True, help="List the open reviews.")
@with_persons
def review(
    settings: Settings,
    kind: Kind | None,
    day: date | None,
    by: str | None,
    reason: str | None,
    **options: Any,
) -> int:
    """Have a human look at a decision about a person: record who asked, who looked, the result."""
    from pipelines.core.home.lock import lock_home
    from pipelines.persons.review import decide_review, list_open_reviews, open_review

    if options["is_list"]:
        print_json({"open": list_open_reviews(settings)})
        return 0
    who = require(by, reason)
    if decided := options["decided"]:
        result = options["result"]
        if result is None:
            raise UsageError("--decide needs --result. Nothing was recorded.")
        with lock_home(settings):
            entry = decide_review(settings, decided, result, by=who["by"], note=who["reason"])
    else:
        if day is None:
            raise UsageError("--date of the decision is needed. Nothing was recorded.")
        named = read_lines(kind)
        with lock_home(settings):
            entry = open_review(settings, *named, day, by=who["by"], reason=who["reason"])
    print_json({name: value for name, value in entry.items() if name != "leads"})
    return 0


@click.command()
@click.option("--date", "day", type=DATE, help="Business date (else the last one that was run).")
@click.option("--apply", "is_applied", is_flag=True, help="Remove what is due, with a proof.")
@click.option("--by", metavar="NAME", help="Who applies it; it stays in the ledger.")
@json_option
@with_settings
def retention(
    settings: Settings,
    day: date | None,
    is_applied: bool,  # noqa: FBT001
    by: str | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Show how long data is kept, what is due and what is overdue; --apply removes what is due."""
    from pipelines.core.home.lock import lock_home
    from pipelines.core.home.retention import load_retention
    from pipelines.persons.orders import find_open_date
    from pipelines.persons.retention import apply_retention

    as_of = day or find_open_date(settings) - timedelta(days=1)
    if is_applied:
        if not by:
            raise UsageError("--apply needs --by NAME. Nothing was removed.")
        with lock_home(settings):
            print_json(apply_retention(settings, as_of, by=clean_note("name", by, MAX_NAME)))
        return 0
    rows = load_retention(settings, as_of)
    if not as_json:
        for row in rows:
            state = f"{plural(len(row.due), 'date')} due, {len(row.overdue):,} overdue"
            print(
                f"{row.kind:<12} {row.jurisdiction:<8} {row.days:>6,} days  oldest {row.oldest}, "
                f"goes on {row.goes_on}; {state}"
            )
        for kind, what in {row.kind: row.what for row in rows}.items():
            print(f"{kind:<12} {what}")
        return 0
    print_json({"date": f"{as_of}", "kinds": [asdict(row) for row in rows]})
    return 0


PERSON_COMMANDS = (person, retention)
