"""What a home has published and what is left over in it, and whether anything is torn."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.core.publishing import sha256

VOLATILE = {
    *("airflow", "logs", "measurements", "metrics", "transport"),
    *(".dbt", ".turn", "warehouse.duckdb", "warehouse.duckdb.wal"),
}
"""What a home has for one machine: states, times, and what is built again from the lake."""
UNPUBLISHED = {"step_failures", "work"}
"""Notes and intermediate files: they must be gone in the end, like hidden files."""
BATCH = re.compile(r"(ledger/deliveries/date=[^/]+/\d+)-\w+\.parquet")
"""A batch of the delivery ledger: its name has a hash, and it states when a file was sent."""


DELIVERY = re.compile(r"outbox/date=[^/]+/[^/]+/manifest\.json")
"""The manifest of a delivery."""


@dataclass(frozen=True)
class HomeState:
    """The files of a home."""

    published: dict[str, str]
    """Path below the home -> a hash that is equal for equal content."""
    others: frozenset[str]
    """The paths of hidden files and folders, intermediate files and notes of failures."""

    def without_ledger(self) -> "HomeState":
        """Return the state without the delivery ledger, which tells of cut links as well."""
        kept = {
            path: digest
            for path, digest in self.published.items()
            if not path.startswith("ledger/deliveries/")
        }
        return HomeState(kept, self.others)


def read_home(home: Path) -> HomeState:
    """Return the state of `home`."""
    published, others = {}, set()
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        top = name.partition("/")[0]
        is_folder = path.is_dir()
        if top in VOLATILE or (is_folder and not path.name.startswith(".")):
            continue
        if top in UNPUBLISHED or _is_hidden(name):
            others.add(name)
        elif batch := BATCH.fullmatch(name):
            published[batch[1]] = _hash_without_times(path)
        else:
            published[name] = sha256(path)
    return HomeState(published, frozenset(others))


def list_half_written(home: Path, before: HomeState) -> list[Path]:
    """Return the files that a killed task has not finished: hidden ones, and of shards not done."""
    new = sorted(read_home(home).others - before.others)
    return [
        path
        for path in (home / name for name in new)
        if path.is_file()
        and (_is_hidden(path.relative_to(home).as_posix()) or _is_of_open_shard(path))
    ]


def count_sent(home: Path) -> Counter[str]:
    """Return match id -> how often the delivery ledger says that it was sent."""
    counts: Counter[str] = Counter()
    for path in home.glob("ledger/deliveries/date=*/[!.]*.parquet"):
        events = pq.read_table(path, columns=["match_id", "event"], partitioning=None).to_pylist()
        counts.update(each["match_id"] for each in events if each["event"] == "sent")
    return counts


def find_differences(expected: HomeState, found: HomeState) -> list[str]:
    """Return how `found` differs from `expected`: lost, extra and changed files, and leftovers."""
    names = expected.published.keys() | found.published.keys()
    changed = [name for name in names if expected.published.get(name) != found.published.get(name)]
    lost = expected.published.keys() - found.published.keys()
    extra = found.published.keys() - expected.published.keys()
    return sorted(
        [f"{name} is {_name(name, lost, extra)}" for name in changed]
        + [f"{name} is left over" for name in found.others - expected.others]
    )


def find_torn(home: Path, before: HomeState, after: HomeState, found: HomeState) -> list[str]:
    """Return what is published in part: a file of no run, or one that its manifest doesn't state.

    The manifest of a delivery may be of neither state: `deliver` publishes the lead file, and then
    the folder again with what is attached to it.

    Args:
        home: The home.
        before: Its state before the task.
        after: Its state after the undisturbed task.
        found: Its state now.
    """
    known = set(before.published.items()) | set(after.published.items())
    problems = [
        f"{name} is no file of a whole run"
        for name, digest in found.published.items()
        if (name, digest) not in known and not DELIVERY.fullmatch(name)
    ]
    for name in found.published:
        if name.endswith("/manifest.json"):
            problems += _find_unstated(home, name, found)
    return sorted(problems)


def _find_unstated(home: Path, manifest: str, found: HomeState) -> list[str]:
    try:
        files = json.loads((home / manifest).read_text("utf-8"))["files"]
    except (ValueError, LookupError):
        return [f"{manifest} is torn"]
    folder = manifest.rpartition("/")[0]
    return [
        f"{folder}/{name} is not the file that its manifest states"
        for name, facts in files.items()
        if found.published.get(f"{folder}/{name}") != facts["sha256"]
    ]


def _name(name: str, lost: set[str], extra: set[str]) -> str:
    return "lost" if name in lost else "extra" if name in extra else "different"


def _is_of_open_shard(path: Path) -> bool:
    shards = [folder for folder in path.parents if folder.name.startswith("shard=")]
    return any(not (shard / "done.json").is_file() for shard in shards)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _hash_without_times(path: Path) -> str:
    table = pq.read_table(path, partitioning=None)
    text = json.dumps(table.drop_columns(["at"]).to_pylist(), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
