"""The plan of a run, and the file that keeps it for the shards and for `collect`."""

import json
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.ingest.ledger import Entry, Ledger, as_json

Partition = tuple[str, str]
"""Feed and ISO date."""


@dataclass(frozen=True)
class Task:
    """One file that a shard reads, with where its content lies now."""

    entry: Entry
    read_from: str
    """Path below landing/; empty where no file has the content any more."""


@dataclass(frozen=True)
class Plan:
    """All that the shards and `collect` need to know; kept in `plan.json` between them."""

    day: str
    ledger: Ledger
    partitions: tuple[Partition, ...]
    """What is built, by feed and date."""
    standing: tuple[Partition, ...]
    """What would be built, but cannot: its files have gone; what is published stands."""
    shards: tuple[tuple[Task, ...], ...]


def work_folder(settings: Settings, day: date) -> Path:
    """Return where the run for `day` keeps what is between its steps."""
    return Settings.day_folder(settings.home / "work" / "ingest", day)


def write_plan(settings: Settings, plan: Plan) -> None:
    """Keep `plan` for the shards; what an earlier try left behind goes."""
    folder = work_folder(settings, date.fromisoformat(plan.day))
    shutil.rmtree(folder, ignore_errors=True)
    closed = plan.ledger.closed_through
    value = {
        "day": plan.day,
        "closed_through": str(closed) if closed else None,
        "ledger": [as_json(entry) for entry in plan.ledger.entries],
        "partitions": plan.partitions,
        "standing": plan.standing,
        "shards": [
            [{"entry": as_json(task.entry), "read_from": task.read_from} for task in shard]
            for shard in plan.shards
        ],
    }
    folder.mkdir(parents=True)
    beside = folder / ".plan.json.new"
    beside.write_text(json.dumps(value), "utf-8")
    beside.rename(folder / "plan.json")


def read_plan(settings: Settings, day: date) -> Plan:
    """Return the plan that `write_plan` kept.

    Raises:
        InputMissing: There is none.
    """
    path = work_folder(settings, day) / "plan.json"
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputMissing(
            f"No ingest is planned for {day}: there is no {path}. Nothing was read. Run the step "
            "`plan` first (`python -m pipelines ingest --date D` runs all steps)."
        ) from None
    closed = value["closed_through"]
    ledger = Ledger(
        tuple(Entry(**entry) for entry in value["ledger"]),
        date.fromisoformat(closed) if closed else None,
    )
    return Plan(
        value["day"],
        ledger,
        tuple((feed, day) for feed, day in value["partitions"]),
        tuple((feed, day) for feed, day in value["standing"]),
        tuple(
            tuple(Task(Entry(**task["entry"]), task["read_from"]) for task in shard)
            for shard in value["shards"]
        ),
    )
