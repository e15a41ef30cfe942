"""Migrate a home to the schema version of this code.

Published days are never changed: code reads the forms of all versions, and a replay writes a day in
the form in which it was published. A migration changes what is beside them, and states the new
version last. A killed migration is repeated from its start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.core.evidence.publication_log import log_home
from pipelines.core.home.schema_version import (
    VERSION,
    home_file,
    is_whole,
    read_version,
    require_not_newer,
    write_version,
)
from pipelines.core.settings import Settings


@dataclass(frozen=True)
class Migration:
    """The change of a home from one version to the next; it may be repeated."""

    description: str
    apply: Callable[[Settings], None]


def _share_marts(settings: Settings) -> None:
    """Let the next day build its tables from the start: older code may have left a part of them."""
    (settings.home / ".dbt" / "built.json").unlink(missing_ok=True)


MIGRATIONS = {
    1: Migration(
        "days from now on store the marts that grow with history in files that they share "
        "(marts/history/); earlier days keep theirs, and the tables in the warehouse are built "
        "again by the next run",
        _share_marts,
    ),
    2: Migration(
        "every manifest that was published so far becomes a leaf of the publication log "
        "(evidence/log/): what is changed from now on is named by `banyan verify`",
        log_home,
    ),
}
"""Version -> the migration to the version after it."""


def migrate(settings: Settings, *, is_dry_run: bool = False) -> dict[str, Any]:
    """Migrate the home and return `from`, `to`, `steps`, `published_days` and `dry_run`.

    Args:
        settings: Settings of the home; the caller holds its lock.
        is_dry_run: True to return what would be done, and change nothing.

    Raises:
        WrongSchema: The home is newer than this code.
        IntegrityError: `home.json` is damaged.
    """
    require_not_newer(settings)
    found = read_version(settings)
    days = [folder for folder in settings.marts.glob("date=*") if folder.is_dir()]
    steps = [MIGRATIONS[version] for version in range(found, VERSION)]
    if not is_dry_run and settings.home.is_dir():
        for step in steps:
            step.apply(settings)
        if steps or not home_file(settings).is_file():
            write_version(settings)
    return {
        "from": found,
        "to": VERSION,
        "steps": [step.description for step in steps],
        "published_days": len(days),
        "published_days_in_older_form": sum(map(is_whole, days)),
        "dry_run": is_dry_run,
    }
