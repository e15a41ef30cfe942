"""The journal of an erasure at work: who is erased, and what was changed so far.

It is the one place with personal data that an erasure makes, and it is removed when the erasure is
complete. A killed erasure is completed from it, because the leads of a person can't be found again
once the lake has them no more.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.publishing import sync, write_json, write_parquet
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json, read_json_lines
from pipelines.persons.landed import LINES
from pipelines.persons.subjects import Subjects

FACTS = "facts.json"


@dataclass(frozen=True)
class Journal:
    """The journal in the folder `persons/open/ERASURE`."""

    folder: Path

    @classmethod
    def begin(cls, settings: Settings, subjects: Subjects, facts: Mapping[str, Any]) -> "Journal":
        """Write the journal of a new erasure; it exists once its facts do."""
        folder = open_folder(settings) / facts["id"]
        folder.mkdir(parents=True, mode=0o700)
        subjects.save(folder)
        write_json(folder / FACTS, dict(facts))
        return cls(folder)

    @property
    def erasure(self) -> str:
        """Return the id of the erasure."""
        return self.folder.name

    @property
    def facts(self) -> dict[str, Any]:
        """Return who asked for the erasure, and why."""
        return read_json(self.folder / FACTS)

    @property
    def scope(self) -> tuple[str, ...]:
        """Return the patterns of the places that are changed; empty: every place."""
        return tuple(self.facts.get("scope", ()))

    def record(self, path: str, before: str, treatment: str, rows: int) -> None:
        """Record that a file, with its hash, is about to be changed."""
        entry = {"path": path, "sha256": before, "treatment": treatment, "rows": rows}
        self._append("changed.jsonl", entry)

    def record_delivery(self, folder: str, hashes: Mapping[str, str]) -> None:
        """Record the hashes of a delivery that is about to be changed."""
        self._append("deliveries.jsonl", {"folder": folder, "files": dict(hashes)})

    def record_redelivery(self, folder: str) -> None:
        """Record a delivery that was taken back and is to be written again."""
        self._append("again.jsonl", {"folder": folder})

    def list_changes(self) -> list[dict[str, Any]]:
        """Return the first record of each changed file, in order."""
        first: dict[str, dict[str, Any]] = {}
        for entry in self._read("changed.jsonl"):
            known = first.setdefault(entry["path"], entry)
            known["rows"] = max(known["rows"], entry["rows"])
        return [first[path] for path in sorted(first)]

    def list_deliveries(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield each changed delivery with the hashes of its files before."""
        first: dict[str, dict[str, str]] = {}
        for entry in self._read("deliveries.jsonl"):
            first.setdefault(entry["folder"], entry["files"])
        yield from sorted(first.items())

    def list_redeliveries(self) -> list[str]:
        """Return the deliveries that are to be written again."""
        return sorted({entry["folder"] for entry in self._read("again.jsonl")})

    def save_lines(self, lines: pa.Table) -> None:
        """Record the landed rows that are about to be emptied."""
        fresh = self.folder / "lines.new"
        write_parquet(lines, fresh)
        sync(fresh)
        fresh.rename(self.folder / "lines.parquet")

    def load_lines(self) -> pa.Table | None:
        """Return the landed rows; None before they were found."""
        path = self.folder / "lines.parquet"
        return pq.read_table(path, partitioning=None).cast(LINES) if path.is_file() else None

    def remove(self) -> None:
        """Remove the journal, its facts first: what a killed removal leaves is no journal."""
        (self.folder / FACTS).unlink(missing_ok=True)
        shutil.rmtree(self.folder)

    def _append(self, name: str, entry: Mapping[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return read_json_lines(path) if path.is_file() else []


def open_folder(settings: Settings) -> Path:
    """Return the folder of the journals of erasures that are not complete."""
    return settings.persons / "open"


def list_open(settings: Settings) -> list[Journal]:
    """Return the journals of the erasures that were killed; remove what is no whole journal."""
    found = []
    for folder in sorted(open_folder(settings).glob("*")):
        if (folder / FACTS).is_file():
            found.append(Journal(folder))
        else:
            shutil.rmtree(folder)
    return found
