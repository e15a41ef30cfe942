"""The schema version of a home: which form its files have.

`home.json` states it. Code refuses a home of another version: an older one is migrated by
`banyan migrate`, a newer one needs newer code. Version 1 had no `home.json` and stored the marts
that grow with history whole in each day's folder; version 2 had no publication log.
"""

import json
from pathlib import Path
from typing import Any

from pipelines import __version__
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage, read_json

VERSION = 3
SHARED_MARTS = 2
"""The version from which on days share the files of the marts that grow with history."""
HISTORY = "history.json"
"""File of `marts/date=D/` that lists the shared files, see `shared_marts`."""
REPLAY = "replay.json"
"""File of `ledger/` in the temporary home of a replay."""


class WrongSchema(BanyanError):
    """The home has another schema version than this code."""


def require_current(settings: Settings) -> None:
    """Check that the home has the schema version of this code; state it in a home without one.

    Raises:
        WrongSchema: The home is older or newer; the message says what to do.
    """
    found = read_version(settings)
    if found == VERSION:
        if not home_file(settings).is_file() and settings.home.is_dir():
            write_version(settings)
    elif found < VERSION:
        raise WrongSchema(
            f"{settings.home} has the schema version {found}; this code writes version {VERSION}. "
            "Nothing was done. Migrate it: `banyan migrate` (with --dry-run first, it lists what "
            "would change). Published days stay as they are."
        )
    else:
        require_not_newer(settings)


def require_not_newer(settings: Settings) -> None:
    """Check that no newer code has written the home.

    Raises:
        WrongSchema: It has; the message says what to do.
    """
    found = read_version(settings)
    if found > VERSION:
        raise WrongSchema(
            f"{settings.home} has the schema version {found}, written by a newer Banyan; this code "
            f"({__version__}) knows versions up to {VERSION}. Nothing was done. Run the newer "
            "code, or restore a backup from before the upgrade into another home."
        )


def read_version(settings: Settings) -> int:
    """Return the schema version of the home; of an empty one, that of this code.

    Raises:
        IntegrityError: `home.json` is damaged.
    """
    path = home_file(settings)
    if path.is_file():
        version = read_json(path).get("schema_version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise IntegrityError(describe_damage(path, "it states no schema version"))
        return version
    return 1 if any(map(is_whole, settings.marts.glob("date=*"))) else VERSION


def is_whole(marts: Path) -> bool:
    """Return whether `marts`, a published `marts/date=D`, holds its history whole (version 1)."""
    return (marts / "training_pairs.parquet").is_file() and not (marts / HISTORY).is_file()


def write_version(settings: Settings) -> None:
    """State in `home.json` the version of this code, and the zone that decides business dates."""
    write_json(
        home_file(settings),
        {
            "schema_version": VERSION,
            "package_version": __version__,
            "time_zone": settings.time_zone,
        },
    )


def home_file(settings: Settings) -> Path:
    """Return the file that states the schema version."""
    return settings.home / "home.json"


def find_written_version(settings: Settings) -> int:
    """Return the version whose form the steps write: of a replay, that of the published day."""
    return int(read_replay(settings).get("schema_version", VERSION))


def read_replay(settings: Settings) -> dict[str, Any]:
    """Return the facts of the replay that the home belongs to; empty if it is no replay."""
    path = settings.ledger / REPLAY
    if not path.is_file():
        return {}
    facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return facts
