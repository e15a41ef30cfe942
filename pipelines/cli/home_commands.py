"""The verbs that care for a home: status, migrate, doctor, backup, restore."""

import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import click

from pipelines.cli.options import json_option, print_json, with_any_home
from pipelines.core.settings import Settings

SIGNS = {"ok": "ok    ", "note": "note  ", "action": "ACTION"}
MB = 1_000_000


@click.command()
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only say what would be done.")
@json_option
@with_any_home
def migrate(settings: Settings, is_dry_run: bool, as_json: bool) -> int:  # noqa: FBT001
    """Bring a home to the schema version of this code; published days stay as they are."""
    from pipelines.core.home.lock import lock_home
    from pipelines.operations.migrate import migrate as migrate_home

    with nullcontext() if is_dry_run else lock_home(settings):
        facts = migrate_home(settings, is_dry_run=is_dry_run)
    if as_json:
        print_json(facts)
        return 0
    if not facts["steps"]:
        print(f"{settings.home} has the schema version {facts['to']}; there is nothing to do.")
        return 0
    verb = "Would be migrated" if is_dry_run else "Migrated"
    print(f"{verb} from schema version {facts['from']} to {facts['to']}:")
    for step in facts["steps"]:
        print(f"- {step}")
    print(
        f"{facts['published_days']:,} published days are unchanged, "
        f"{facts['published_days_in_older_form']:,} of them in the form of an earlier version."
    )
    return 0


@click.command()
@json_option
@with_any_home
def doctor(settings: Settings, as_json: bool) -> int:  # noqa: FBT001
    """Check a home and its surroundings and say what to do; exit 1: something needs an action."""
    from pipelines.operations.doctor import examine

    checks = examine(settings)
    needed = [check for check in checks if check.state == "action"]
    if as_json:
        print_json({"home": str(settings.home), "checks": [asdict(check) for check in checks]})
        return 1 if needed else 0
    for check in checks:
        print(f"{SIGNS[check.state]}  {check.name}: {check.found}")
        if check.action:
            print(f"        do: {check.action}")
    print(
        f"{len(needed):,} of {len(checks):,} checks need an action." if needed else "All is well."
    )
    return 1 if needed else 0


@click.command()
@click.argument("target", metavar="FILE_OR_FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--essential",
    "is_essential",
    is_flag=True,
    help="Leave out what running every date again makes again, with the same code.",
)
@click.option(
    "--while-running",
    is_flag=True,
    help="Back up while a run is at work: the date that it works on is incomplete.",
)
@with_any_home
def backup(
    settings: Settings,
    target: Path,
    is_essential: bool,  # noqa: FBT001
    while_running: bool,  # noqa: FBT001
) -> int:
    """Back up a home: a .tar, .tar.gz or .tgz file, else a folder."""
    from pipelines.core.home.lock import lock_home
    from pipelines.operations.backup import back_up

    is_locked = not while_running and settings.home.is_dir()
    with lock_home(settings) if is_locked else nullcontext():
        facts = back_up(settings, target, is_essential=is_essential)
    print_json(facts)
    return 0


@click.command()
@click.argument("source", metavar="FILE_OR_FOLDER", type=click.Path(path_type=Path))
@with_any_home
def restore(settings: Settings, source: Path) -> int:
    """Restore a backup into an empty home."""
    from pipelines.operations.backup import restore as restore_home

    facts = restore_home(settings, source)
    print_json(facts)
    if dates := facts["dates_to_run"]:
        print(
            f"The backup has what is essential. Make the rest again: `banyan run --date {dates[0]}"
            f"{f' --to {dates[-1]}' if dates[1:] else ''}`. The bytes are the same with the code "
            f"that published them{'' if facts['is_same_code'] else '; this is other code'}.",
            file=sys.stderr,
        )
    return 0


@click.command()
@json_option
@with_any_home
def status(settings: Settings, as_json: bool) -> int:  # noqa: FBT001
    """Show the last dates with their verdicts, what is open, and what comes next."""
    from pipelines.operations.status import format_status, load_status

    found = load_status(settings)
    if as_json:
        print_json(asdict(found))
    else:
        print(format_status(found))
    return 0


HOME_COMMANDS = (status, migrate, doctor, backup, restore)
