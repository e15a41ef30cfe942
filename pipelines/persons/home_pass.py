"""One pass over a home that erases persons from every file, folder by folder.

A published folder is replaced at once, with a tombstone in its manifest; any other file is replaced
by itself. What is done is in the journal, so the pass can be killed and begun again: a file without
the persons is left as it is.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.billing.statement import sign_statements
from pipelines.core.home.erasures import Adjust, Facts, Write, rewrite_folder
from pipelines.core.home.schema_version import HISTORY
from pipelines.core.home.shared_marts import FOLDER as SHARED
from pipelines.core.publishing import MANIFEST, SIGNATURE, restore, sha256, sync, write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json
from pipelines.deliveries.ledger.events import FILE as BATCH
from pipelines.deliveries.ledger.events import FOLDER as DELIVERIES
from pipelines.deliveries.ledger.events import name_batch
from pipelines.persons import outbox, tables, texts
from pipelines.persons.journal import Journal
from pipelines.persons.landed import LINES, erase_lines, find_lines
from pipelines.persons.places import Place, find_place, is_in_scope
from pipelines.persons.subjects import Subjects
from pipelines.persons.tables import Lines

TABLES = (".parquet", ".arrow")
DATABASES = (".db", ".sqlite", ".duckdb")


@dataclass
class FolderChanges:
    """What an erasure changes in one published folder."""

    is_delivery: bool
    files: dict[str, tuple[Write, Facts]] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    """Lead file that waits -> rows that are removed from it."""
    emptied: set[str] = field(default_factory=set)
    """Sealed files that are emptied."""
    taken_back: set[str] = field(default_factory=set)
    """Sealed files that wait and are never sent."""

    def adjust(self, subjects: Subjects) -> Adjust:
        """Return what changes in the manifest besides the hashes of files."""

        def adjust(manifest: Facts) -> Facts:
            if self.is_delivery:
                manifest = outbox.adjust_manifest(
                    manifest, self.removed, self.emptied, self.taken_back
                )
            stated = {key: manifest[key] for key in manifest.keys() - {"files"}}
            replaced: Any = texts.replace_in_json(stated, subjects)
            return {**replaced, "files": manifest["files"]}

        return adjust


class HomePass:
    """Erases the subjects of a journal from every file of a home."""

    def __init__(
        self, settings: Settings, connection: duckdb.DuckDBPyConnection, journal: Journal
    ) -> None:
        """Prepare the pass.

        Args:
            settings: Where the home is.
            connection: With the view `leads` of the lake.
            journal: With the subjects; it records what is changed.
        """
        self._settings, self._home = settings, settings.home
        self._connection, self._journal = connection, journal
        self._subjects, self._scope = Subjects.load(journal.folder), journal.scope
        self._lines: Lines

    def run(self) -> None:
        """Erase the persons from every file; what other files are found by comes last."""
        landed = self._journal.load_lines()
        if landed is None:
            landed = self._find_lines() if not self._scope else LINES.empty_table()
        self._lines = Lines.of(landed)
        self._erase_shared_marts()
        folders, loose = list_files(self._home)
        for folder in folders:
            self._erase_folder(folder)
        for path in loose:
            self._erase_loose(path)
        for delivery, hashes in self._journal.list_deliveries():
            outbox.finish_delivery(self._settings, self._home / delivery, hashes)
        sign_statements(self._settings)
        for name, rows, before, _ in erase_lines(self._settings, landed, self._subjects):
            self._journal.record(f"landing/{name}", before, "lines", rows)

    def _find_lines(self) -> pa.Table:
        lines = find_lines(self._connection, self._settings, self._subjects)
        self._journal.save_lines(lines)
        return lines

    def _erase_folder(self, folder: Path) -> None:
        """Erase the persons from the files of one published folder."""
        name = folder.relative_to(self._home).as_posix()
        if not is_in_scope(f"{name}/{MANIFEST}", self._scope):
            return
        place = find_place(f"{name}/{MANIFEST}")
        if place and place.treatment == "discard":
            self._journal.record(name, "", "discard", 0)
            shutil.rmtree(folder)
            return
        found = self._find_changes(folder)
        if not found.files and not self._subjects.find_words((folder / MANIFEST).read_bytes()):
            return
        if found.is_delivery:
            self._journal.record_delivery(name, outbox.hash_files(folder))
        for file, (_, facts) in found.files.items():
            self._journal.record(
                f"{name}/{file}", sha256(folder / file), facts["treatment"], facts.get("changed", 0)
            )
        self._journal.record(f"{name}/{MANIFEST}", sha256(folder / MANIFEST), "tombstone", 0)
        rewrite_folder(folder, self._journal.erasure, found.files, found.adjust(self._subjects))
        if found.taken_back:
            self._journal.record_redelivery(name)

    def _find_changes(self, folder: Path) -> FolderChanges:
        """Return what an erasure changes in a published folder."""
        found = FolderChanges(outbox.is_delivery(self._settings, folder))
        for path in sorted(folder.rglob("*")):
            file = path.relative_to(folder).as_posix()
            if not path.is_file() or file in {MANIFEST, SIGNATURE}:
                continue
            if found.is_delivery and outbox.is_sealed(folder, file):
                self._find_sealed(folder, file, found)
                continue
            place = self._find_place(path, is_delivery=found.is_delivery)
            if rows := self._count(path, place):
                treatment = place.treatment if place else "remove"
                if found.is_delivery and file.startswith("leads") and treatment == "remove":
                    found.removed[file] = rows
                found.files[file] = self._writer(place), {"treatment": treatment, "changed": rows}
        return found

    def _find_sealed(self, folder: Path, file: str, found: FolderChanges) -> None:
        """Add a sealed file that has a match of a person: it is emptied, or taken back."""
        if self._holds_sealed(folder, file):
            waits = outbox.is_waiting(self._settings, folder, file)
            (found.taken_back if waits else found.emptied).add(file)
            found.files[file] = _leave_out if waits else _write_nothing, {"treatment": "discard"}

    def _holds_sealed(self, folder: Path, name: str) -> bool:
        """Return whether a sealed file has a match of a person, by the ids beside it."""
        record = self._home / "delivered" / folder.parent.name / "sealed"
        version = next(
            entry["version"]
            for entry in read_json(folder / MANIFEST)["deliveries"]
            if entry["file"] == name
        )
        if not (folder / name).stat().st_size:
            return False
        ids = b" ".join(
            path.read_bytes() for path in record.glob(f"{folder.name}.v{version}.*.txt")
        )
        tokens = self._subjects.match_tokens.to_pylist()  # after a kill they are replaced already
        return bool(self._subjects.find_words(ids)) or any(t.encode() in ids for t in tokens)

    def _find_place(self, path: Path, *, is_delivery: bool) -> Place | None:
        place = find_place(path.relative_to(self._home).as_posix())
        if is_delivery and place and path.name.startswith("leads"):
            waits = outbox.is_waiting(self._settings, path.parent, path.name)
            return Place(place.pattern, "remove", place.why) if waits else place
        return place

    def _count(self, path: Path, place: Place | None) -> int:
        """Return how much of a file an erasure changes: rows of a table, else words."""
        if place and place.treatment in {"leave", "discard"}:
            return 0
        if path.suffix in TABLES:
            return tables.count_hits(path, place, self._subjects, self._lines)
        if place and path.suffix == ".csv" and path.is_relative_to(self._settings.outbox):
            scratch = self._journal.folder / "scratch.csv"
            rows = texts.rewrite_csv(path, scratch, place, self._subjects, _channel_of(path))
            scratch.unlink(missing_ok=True)
            return rows
        if path.suffix in DATABASES:
            return 0  # what the search afterwards finds there is reported
        return len(self._subjects.find_words(path.read_bytes()))

    def _writer(self, place: Place | None) -> Write:
        def write(path: Path, target: Path) -> None:
            if path.suffix in TABLES:
                tables.rewrite(path, target, place, self._subjects, self._lines)
            elif place and path.suffix == ".csv" and path.is_relative_to(self._settings.outbox):
                texts.rewrite_csv(path, target, place, self._subjects, _channel_of(path))
            else:
                texts.rewrite_words(path, target, self._subjects)
            if target.is_file():
                shutil.copystat(path, target)  # what was known then is judged by its time

        return write

    def _erase_loose(self, path: Path) -> None:
        """Erase the persons from a file that belongs to no published folder."""
        name = path.relative_to(self._home).as_posix()
        if not is_in_scope(name, self._scope):
            return
        place = find_place(name)
        if place and place.treatment == "discard":
            self._journal.record(name, sha256(path), "discard", 0)
            path.unlink()
            return
        if not (rows := self._count(path, place)):
            return
        self._journal.record(name, sha256(path), place.treatment if place else "remove", rows)
        fresh = path.with_name(f".{path.name}.erased")
        self._writer(place)(path, fresh)
        sync(fresh)
        renamed = path.with_name(_name_changed(path, fresh))
        if renamed != path:
            self._journal.record(renamed.relative_to(self._home).as_posix(), "", "renamed", 0)
        fresh.replace(renamed)
        if renamed != path:
            path.unlink()

    def _erase_shared_marts(self) -> None:
        """Erase the persons from the mart files that days share, which are named by their hash.

        The new files are written first; then each day's list names them; the old ones go last.
        """
        root = self._settings.marts / SHARED
        renamed: dict[str, str] = {}
        rows: dict[str, int] = {}
        for path in sorted(root.glob("*/*/[!.]*.parquet")):
            name = path.relative_to(self._home).as_posix()
            if not is_in_scope(name, self._scope):
                continue
            place = find_place(name)
            if not (changed := self._count(path, place)):
                continue
            self._journal.record(
                name, sha256(path), place.treatment if place else "remove", changed
            )
            fresh = path.with_name(".erased.parquet")
            self._writer(place)(path, fresh)
            target = path.with_name(f"{sha256(fresh)}.parquet")
            sync(fresh)
            fresh.replace(target)
            key = path.relative_to(root).as_posix()
            renamed[key] = target.relative_to(root).as_posix()
            rows[renamed[key]] = pq.read_metadata(target).num_rows
        if renamed:
            for history in sorted(self._settings.marts.glob(f"date=*/{HISTORY}")):
                self._rename_shared(history, renamed, rows)
        for key in renamed:
            (root / key).unlink()

    def _rename_shared(self, history: Path, renamed: dict[str, str], rows: dict[str, int]) -> None:
        listed, changed = read_json(history), 0
        for mart, entries in listed.items():
            for entry in entries:
                if new := renamed.get(f"{mart}/{entry['file']}"):
                    entry |= {"file": new.removeprefix(f"{mart}/"), "rows": rows[new]}
                    changed += 1
        if not changed:
            return
        name = history.parent.relative_to(self._home).as_posix()
        self._journal.record(f"{name}/{HISTORY}", sha256(history), "renamed", changed)
        facts = {"treatment": "renamed", "changed": changed}
        rewrite_folder(
            history.parent,
            self._journal.erasure,
            {HISTORY: (lambda _, target: write_json(target, listed), facts)},
        )


def list_files(home: Path) -> tuple[list[Path], list[Path]]:
    """Return the published folders of a home, and its files outside of them and of landing/.

    A folder inside a published one belongs to it. Shared marts are left out, and the journals.
    """
    folders: list[Path] = []
    loose: list[Path] = []
    for path, is_published in _walk(home, home):
        (folders if is_published else loose).append(path)
    return folders, loose


def _walk(home: Path, folder: Path) -> Iterator[tuple[Path, bool]]:
    left_out = {home / "landing", home / "persons", home / "marts" / SHARED}
    _restore_killed(folder)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if path in left_out:
            continue
        if entry.is_dir():
            if (path / MANIFEST).is_file() and folder != home:
                yield path, True
            else:
                yield from _walk(home, path)
        elif entry.is_file() and not entry.name.endswith(".erased"):
            yield path, False


def _restore_killed(folder: Path) -> None:
    """Restore the published folders that a killed run left between two renames."""
    for path in folder.glob(".*.previous"):
        restore(folder / path.name.removeprefix(".").removesuffix(".previous"))
    for path in (*folder.glob(".*.new"), *folder.glob(".*.erased")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _name_changed(path: Path, fresh: Path) -> str:
    """Return the name of a file with the new content; a batch of events is named by its hash."""
    if path.parent.parent.name == DELIVERIES and BATCH.match(path.name):
        return name_batch(int(path.name.partition("-")[0]), fresh)
    return path.name


def _channel_of(path: Path) -> str:
    """Return the channel that a file of the outbox is for; empty for an institution's."""
    return path.parent.name if path.parts[-4:-2] and path.parts[-4] == "channels" else ""


def _write_nothing(_: Path, target: Path) -> None:
    target.touch()


def _leave_out(_: Path, target: Path) -> None:
    """Write no file: the version is taken back."""
