"""The provenance of the data that Banyan itself put under `landing/`: imported or simulated.

The report shows it, because invented data must not be mistaken for observed data. Files of outcomes
are registered by content as history from before Banyan: no partner can add one, since only the
verbs `import` and `simulate` write the register.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.publishing import sha256, write_json, write_parquet
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json


def record_provenance(
    settings: Settings, name: str, facts: dict[str, Any], closed_through: date | None = None
) -> None:
    """Save `facts` under `name`; repeating an import or a simulation replaces its own entry.

    Args:
        settings: Where the home is.
        name: Name of the import or simulation.
        facts: As `read_provenance` returns them.
        closed_through: The last closed date; the reports of closed dates don't change.
    """
    entries = _read(settings)
    if name in entries:
        since = {key: entries[name][key] for key in (SINCE,) if key in entries[name]}
    else:
        since = {SINCE: f"{closed_through + timedelta(days=1)}"} if closed_through else {}
    write_json(_path(settings), entries | {name: facts | since})


def is_recorded(settings: Settings, name: str) -> bool:
    """Return whether an import or a simulation is recorded under `name`."""
    return name in _read(settings)


def find_free_name(
    settings: Settings, name: str, facts: dict[str, Any], identity: tuple[str, ...]
) -> str:
    """Return `name`, or `name` with a number where another input is recorded under it.

    Args:
        settings: Where the home is.
        name: Name of the import or simulation.
        facts: The facts to record.
        identity: The facts that say what the input was.
    """
    entries = _read(settings)
    names = [name, *(f"{name}, {number}" for number in range(2, len(entries) + 3))]
    return next(
        free
        for free in names
        if free not in entries or all(entries[free].get(key) == facts[key] for key in identity)
    )


def read_provenance(settings: Settings, day: date | None = None) -> list[dict[str, Any]]:
    """Return the facts of every import and simulation of this home, by name.

    Each has `kind` (import or simulate), `name`, `description`, and `invented`: feed -> column ->
    the rule that made it up. With `day`, only what was recorded before `day` was closed.
    """
    return [
        {"name": name, **facts}
        for name, facts in sorted(_read(settings).items())
        if day is None or facts.get(SINCE, "") <= f"{day}"
    ]


SINCE = "since"
"""Key of the first date that was open when an import or a simulation was recorded."""

HISTORY = pa.schema([(name, pa.string()) for name in ("name", "kind", "source", "sha256")])
"""Name and kind of the import or simulation, the source of the file, and its content."""


def register_history(settings: Settings, name: str, kind: str, files: Iterable[Path]) -> None:
    """Register the outcome files that the import or simulation `name` wrote, beside earlier ones.

    Args:
        settings: Where the home is.
        name: As in `record_provenance`.
        kind: import or simulate.
        files: Paths `landing/outcomes/SOURCE/DATE/NAME`.
    """
    rows = [
        {"name": name, "kind": kind, "source": file.parent.parent.name, "sha256": sha256(file)}
        for file in files
    ]
    table = pa.concat_tables([_read_history(settings), pa.Table.from_pylist(rows, HISTORY)])
    table = table.group_by(HISTORY.names).aggregate([]).select(HISTORY.names)
    order = [(column, "ascending") for column in HISTORY.names]
    fresh = history_file(settings).with_name(".history.new")
    write_parquet(table.sort_by(order), fresh)
    fresh.replace(history_file(settings))


def read_history(settings: Settings) -> dict[tuple[str, str], str]:
    """Return (source, SHA-256) of each registered file of outcomes -> import or simulate."""
    rows = _read_history(settings).select(["source", "sha256", "kind"]).to_pydict().values()
    return {(source, digest): kind for source, digest, kind in zip(*rows, strict=True)}


def history_file(settings: Settings) -> Path:
    """Return the path of the register."""
    return settings.ledger / "history.parquet"


def _read_history(settings: Settings) -> pa.Table:
    path = history_file(settings)
    return pq.read_table(path) if path.is_file() else HISTORY.empty_table()


def _read(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        facts: dict[str, dict[str, Any]] = read_json(_path(settings))
    except FileNotFoundError:
        return {}
    return facts


def _path(settings: Settings) -> Path:
    return settings.ledger / "origins.json"
