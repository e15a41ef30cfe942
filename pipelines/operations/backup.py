"""Back up a home into a file or a folder, and restore it.

The entries of a home are of three kinds. Disposable ones (`DISPOSABLE`) are made again by the next
run and are never in a backup. Computed ones (`COMPUTED`) are made again, with the same bytes, by
running every date again with the code that published them; a backup of what is essential leaves
them out. Everything else cannot be made again and is in every backup, also a folder that is unknown
to this list.

A backup ends with `backup.json`, which names every file with its hash. It is written last: a backup
without it is incomplete and is refused.
"""

import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines import __version__
from pipelines.core.database import PRIVATE, make_private_folder
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.home.erasures import BACKUPS
from pipelines.core.home.schema_version import VERSION, read_version
from pipelines.core.publishing import code_version, sha256, sync, write_json
from pipelines.core.settings import Settings

CONTENTS = "backup.json"
"""The last file of a backup: version of schema and code, and the hash of each file."""
DISPOSABLE = (
    *("warehouse.duckdb", "warehouse.duckdb.wal", ".dbt", "work", "ingest", "logs", "docs"),
    *("scorecards", "airflow/logs", ".run.lock", ".turn"),
)
"""Entries that the next run, or the next call of a verb, makes again."""
COMPUTED = (
    *("lake", "quarantine", "marts", "pairs", "matches", "offers", "unmatched", "reasons"),
    "reports",
)
"""Entries that running every date again makes again, with the same code."""
KEPT = ("quarantine/import",)
"""Folders in `COMPUTED` that no run makes again: the rows that an import rejected."""
TEMPORARY = (PRIVATE, ".replay-")
"""Beginnings of the folders that a killed process leaves."""
AIRFLOW_DATABASE = "airflow/airflow.db"
BESIDE_DATABASE = tuple(f"{AIRFLOW_DATABASE}{end}" for end in ("-wal", "-shm", "-journal"))
"""Files of SQLite that belong to the running database; the copy does not need them."""
ARCHIVES = (".tar", ".tar.gz", ".tgz")


class BackupRefused(BanyanError):
    """A backup cannot be written to, or restored from, the given place."""


def back_up(settings: Settings, target: Path, *, is_essential: bool = False) -> dict[str, Any]:
    """Write a backup of the home to `target` and return `files`, `bytes` and what was left out.

    Args:
        settings: Settings of the home; the caller holds its lock.
        target: A file (`.tar`, `.tar.gz`, `.tgz`) or a folder; it must not exist.
        is_essential: True to leave out what can be computed again.

    Raises:
        BackupRefused: `target` exists or lies in the home, or there is no home.
    """
    _check_target(settings, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    _remove(fresh)
    left_out = (*DISPOSABLE, *(COMPUTED if is_essential else ()))
    try:
        with _open_writer(fresh, target.name) as writer, _airflow_copy(settings) as database:
            files: dict[str, tuple[int, str]] = {}
            for name, path in _list_files(settings.home, left_out):
                source = database if name == AIRFLOW_DATABASE and database else path
                files[name] = source.stat().st_size, sha256(source)
                writer.add(source, name)
            contents = {
                "schema_version": read_version(settings),
                "package_version": __version__,
                "code_version": code_version(),
                "essential": is_essential,
                "dates_run": sorted(
                    folder.name.removeprefix("date=") for folder in settings.matches.glob("date=*")
                ),
                "files": {
                    name: {"bytes": size, "sha256": digest}
                    for name, (size, digest) in files.items()
                },
            }
            writer.add_json(contents, CONTENTS)
        fresh.rename(target)
        sync(target.parent)
    except BaseException:
        _remove(fresh)
        raise
    _record(settings, target, is_essential=is_essential)
    return {
        "backup": str(target),
        "files": len(files),
        "bytes": sum(size for size, _ in files.values()),
        "left_out": sorted(name for name in left_out if (settings.home / name).exists()),
    }


def _record(settings: Settings, target: Path, *, is_essential: bool) -> None:
    """Record the backup in the home: an erasure does not reach it, and its proof says so."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"at": at, "backup": f"{target.resolve()}", "essential": is_essential}
    with (settings.home / BACKUPS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def restore(settings: Settings, source: Path) -> dict[str, Any]:
    """Restore the backup `source` into the home and return `files`, `bytes` and what is missing.

    Every file is checked against `backup.json` before the home exists: a restore that fails or is
    killed leaves no home.

    Raises:
        BackupRefused: The home is not empty, or `source` is no complete backup of a known version.
        IntegrityError: A file of the backup is damaged, missing or unknown.
    """
    home = settings.home
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise BackupRefused(
            f"{home} is not empty. Nothing was restored and nothing was changed. Restore into an "
            "empty folder: --home DIR."
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    fresh = home.with_name(f".{home.name}.restore")
    _remove(fresh)
    try:
        _unpack(source, fresh)
        contents = _check_contents(source, fresh)
        (fresh / CONTENTS).unlink()
        if home.is_dir():
            home.rmdir()
        fresh.rename(home)
        sync(home.parent)
    except BaseException:
        _remove(fresh)
        raise
    return {
        "home": str(home),
        "files": len(contents["files"]),
        "bytes": sum(facts["bytes"] for facts in contents["files"].values()),
        "essential": contents["essential"],
        "is_same_code": contents["code_version"] == code_version(),
        "dates_to_run": contents["dates_run"] if contents["essential"] else [],
    }


def _check_target(settings: Settings, target: Path) -> None:
    if not settings.home.is_dir():
        raise BackupRefused(f"{settings.home} is no home. Nothing was backed up.")
    if target.exists():
        raise BackupRefused(
            f"{target} exists. Nothing was backed up and nothing was changed. Give another name; a "
            "backup never replaces an earlier one."
        )
    if target.resolve().is_relative_to(settings.home.resolve()):
        raise BackupRefused(
            f"{target} lies in the home {settings.home}. Nothing was backed up. Give a place "
            "outside of it, best on another disk."
        )


def _list_files(home: Path, left_out: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file of the home that is not left out.

    A folder that is a link, such as a landing folder on another disk, is followed once.
    """
    yield from _walk(home, home, left_out)
    for name in KEPT:
        if any(parent.as_posix() in left_out for parent in Path(name).parents):
            yield from _walk(home, home / name, left_out)


def _walk(home: Path, root: Path, left_out: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file below `root` that is not left out, sorted by name."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        below, real = Path(folder).relative_to(home), os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(
            name
            for name in folders
            if (below / name).as_posix() not in left_out and not name.startswith(TEMPORARY)
        )
        for name in sorted(names):
            relative = (below / name).as_posix()
            path = home / relative
            if relative not in left_out and relative not in BESIDE_DATABASE and path.is_file():
                yield relative, path


@contextmanager
def _airflow_copy(settings: Settings) -> Iterator[Path | None]:
    """Yield a consistent copy of Airflow's SQLite database, made by SQLite; None without one."""
    path = settings.home / AIRFLOW_DATABASE
    if not path.is_file():
        yield None
        return
    with make_private_folder(settings) as folder:
        copy = folder / path.name
        try:
            with (
                closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database,
                closing(sqlite3.connect(copy)) as target,
            ):
                database.backup(target)
        except sqlite3.DatabaseError as error:
            raise IntegrityError(
                f"Airflow's database {path} can't be copied ({error}). Nothing was backed up. It "
                "holds the history of runs and no business data: move it away, and the next run "
                "makes a new one; then back up again."
            ) from None
        yield copy


class _FolderWriter:
    """Writes a backup as a folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True)

    def add(self, source: Path, name: str) -> None:
        """Copy a file with its mode and times."""
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)

    def add_json(self, value: object, name: str) -> None:
        """Write `value` as a file."""
        write_json(self._folder / name, value)


class _ArchiveWriter:
    """Writes a backup as a tar archive."""

    def __init__(self, archive: tarfile.TarFile):
        self._archive = archive

    def add(self, source: Path, name: str) -> None:
        """Add a file with its mode and times."""
        self._archive.add(source, name, recursive=False)

    def add_json(self, value: object, name: str) -> None:
        """Add `value` as a file."""
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / name, value)
            self._archive.add(Path(folder) / name, name)


@contextmanager
def _open_writer(fresh: Path, name: str) -> Iterator[_FolderWriter | _ArchiveWriter]:
    """Yield the writer for a backup of this name; an archive is synced to disk at the end."""
    if not name.endswith(ARCHIVES):
        yield _FolderWriter(fresh)
        return
    create = tarfile.TarFile.taropen if name.endswith(".tar") else tarfile.TarFile.gzopen
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it holds the key
    with os.fdopen(descriptor, "wb") as file:
        with create(name, "w", fileobj=file, dereference=True) as archive:
            yield _ArchiveWriter(archive)
        file.flush()
        os.fsync(file.fileno())


def _unpack(source: Path, folder: Path) -> None:
    """Copy the files of a backup into `folder`."""
    if source.is_dir():
        shutil.copytree(source, folder, symlinks=False)
        return
    try:
        read = tarfile.TarFile.taropen if source.suffix == ".tar" else tarfile.TarFile.gzopen
        with read(source) as archive:
            archive.extractall(folder, filter="data")
    except FileNotFoundError:
        raise BackupRefused(f"There is no backup {source}. Nothing was restored.") from None
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise BackupRefused(
            f"{source} can't be read as a backup ({type(error).__name__}: {error}). Nothing was "
            "restored. Is it complete? Compare it with the copy that was made."
        ) from None


def _check_contents(source: Path, folder: Path) -> dict[str, Any]:
    """Return `backup.json` of an unpacked backup whose files are exactly the ones it names."""
    try:
        contents: dict[str, Any] = json.loads((folder / CONTENTS).read_text("utf-8"))
        version, files = int(contents["schema_version"]), dict(contents["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BackupRefused(
            f"{source} has no readable {CONTENTS}: it is no backup, or an incomplete one. Nothing "
            "was restored."
        ) from None
    if version > VERSION:
        raise BackupRefused(
            f"{source} is of schema version {version}; this code knows versions up to {VERSION}. "
            "Nothing was restored. Use the newer code."
        )
    found = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    del found[CONTENTS]
    wrong = [f"{name} is missing" for name in files.keys() - found.keys()]
    wrong += [f"{name} is not listed" for name in found.keys() - files.keys()]
    wrong += [
        f"{name} has other bytes"
        for name, facts in files.items()
        if name in found and sha256(found[name]) != facts["sha256"]
    ]
    if wrong:
        raise IntegrityError(
            f"{source} is damaged: {'; '.join(sorted(wrong)[:3])}"
            f"{f' and {len(wrong) - 3} more' if wrong[3:] else ''}. Nothing was restored. Use "
            "another copy."
        )
    return contents


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
