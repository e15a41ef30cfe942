"""The provenance of the data that Banyan itself put under `landing/`: imported or simulated.

The report shows it, because invented data must not be mistaken for observed data. Files of outcomes
are registered by content as history from before Banyan: no partner can add one, since only the
verbs `import` and `simulate` write the register.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.publishing import sha256, write_json, write_parquet
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json


def record_provenance(settings: Settings, name: str, facts: dict[str, Any]) -> None:
    """Save `facts` under `name`; repeating an import or a simulation replaces its own entry."""
    write_json(_path(settings), _read(settings) | {name: facts})


def read_provenance(settings: Settings) -> list[dict[str, Any]]:
    """Return the facts of every import and simulation of this home, by name.

    Each has `kind` (import or simulate), `name`, `description`, and `invented`: feed -> column ->
    the rule that made it up.
    """
    return [{"name": name, **facts} for name, facts in sorted(_read(settings).items())]


HISTORY = pa.schema([(name, pa.string()) for name in ("name", "kind", "source", "sha256")])
"""Name and kind of the import or simulation, the source of the file, and its content."""


def register_history(settings: Settings, name: str, kind: str, files: Iterable[Path]) -> None:
    """Register the outcome files that the import or simulation `name` wrote; replaces its own.

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
    others = _read_history(settings).filter(pa.compute.field("name") != name)
    table = pa.concat_tables([others, pa.Table.from_pylist(rows, HISTORY)])
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
