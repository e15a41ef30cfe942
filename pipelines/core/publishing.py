"""Publish a folder atomically: write beside it, sync to disk, rename; the manifest comes last.

A manifest holds no clock and no path of the machine, so equal inputs give equal bytes.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from expectations.contracts import feeds
from pipelines import __version__
from pipelines.core import restrictions
from pipelines.core.errors import InputMissing, IntegrityError
from pipelines.core.settings import PROJECT, Settings
from pipelines.core.stored_files import describe_damage, read_json

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
"""The detached signature of a manifest that goes out; the manifest doesn't list it."""
CODE_FOLDERS = ("dags", "dbt_project", "expectations", "models", "pipelines")
POLICIES = "expectations/policy/"
CODE_SUFFIXES = {".css", ".html", ".py", ".sql", ".yml"}
ROW_GROUP = 131_072
"""Rows of a Parquet row group; fixed, because the bytes of a file depend on it."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write `table`; equal tables give equal bytes, however they are chunked."""
    write_batches(table.to_reader(), table.schema, path)


def write_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    """Write a stream of batches; equal rows give equal bytes, however they are batched."""
    with open_writer(path, schema) as write:
        for batch in batches:
            write(pa.Table.from_batches([batch]))


@contextmanager
def open_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends rows to the file; see `write_batches`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = schema.empty_table()
    with (
        pq.ParquetWriter(path, schema, compression="zstd", store_schema=True) as writer,
        write_behind(writer) as write_group,
    ):

        def write(rows: pa.Table) -> None:
            nonlocal buffer
            buffer = pa.concat_tables([buffer, rows.cast(schema)])
            while buffer.num_rows >= ROW_GROUP:
                write_group(buffer.slice(0, ROW_GROUP).combine_chunks())
                buffer = buffer.slice(ROW_GROUP)

        yield write
        if buffer.num_rows:
            write_group(buffer.combine_chunks())


@contextmanager
def write_behind(writer: pq.ParquetWriter) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that writes a row group while its caller computes the next one.

    One group at most waits, and each is written in its turn, which gives the bytes of a plain
    `write_table`. A group that could not be written raises at the next one, or at the end.
    """
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(lambda: None)

        def write(rows: pa.Table) -> None:
            nonlocal before
            before.result()
            before = pool.submit(writer.write_table, rows, row_group_size=ROW_GROUP)

        yield write
        before.result()


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file that is read in batches.

    Arrow's pre-buffering keeps every byte that was read until the file is closed, so that batches
    would not bound the memory.
    """
    return pq.ParquetFile(path, pre_buffer=False)


def check_file(path: Path, expected: str) -> str:
    """Return how `path` differs from the published file with the SHA-256 `expected`; else empty."""
    try:
        return "" if sha256(path) == expected else "was changed after it was published"
    except FileNotFoundError:
        return "was removed after it was published"
    except OSError as error:
        return f"can't be read ({os.strerror(error.errno or errno.EIO)})"


@cache
def code_version() -> str:
    """Return a short hash over the code that a day's output depends on.

    It needs no git, so a container without git states the same version.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_list_code().items()):
        digest.update(name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _list_code() -> dict[str, Path]:
    """Return name -> file of the code; the policies are the ones in force, wherever they are."""
    paths = [path for folder in CODE_FOLDERS for path in (PROJECT / folder).rglob("*")]
    names = {
        path.relative_to(PROJECT).as_posix(): path
        for path in paths
        if path.suffix in CODE_SUFFIXES and "target" not in path.parts
    }
    code = {name: path for name, path in names.items() if not name.startswith(POLICIES)}
    return code | {f"{POLICIES}{path.name}": path for path in policy.FOLDER.glob("*.yml")}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a published folder.

    Raises:
        InputMissing: The folder was not published (yet).
        IntegrityError: The manifest is damaged.
    """
    try:
        return read_json(folder / MANIFEST)
    except FileNotFoundError:
        raise InputMissing(
            f"{folder} is not published: it has no {MANIFEST}. Run the step that writes "
            f"{folder.parent.name}/ for that date first (`python -m pipelines run --date D` "
            "runs them all in order)."
        ) from None


def require_unchanged(folder: Path, below: str) -> None:
    """Check the files of the published `folder` whose names begin with `below`.

    Raises:
        IntegrityError: One differs from the manifest; the message says what to do.
    """
    for name, facts in read_manifest(folder)["files"].items():
        if name.startswith(below) and (how := check_file(folder / name, facts["sha256"])):
            raise IntegrityError(describe_damage(folder / name, f"it {how}"))


def hash_inputs(*folders: Path, home: Path) -> dict[str, str]:
    """Return the `inputs` of a manifest: folder below `home` -> hash of its content."""
    return {
        folder.relative_to(home).as_posix(): read_manifest(folder)["content_sha256"]
        for folder in folders
    }


def hash_mart_inputs(settings: Settings, day: date) -> dict[str, str]:
    """Return the inputs of the marts of `day`: folder -> one hash over its partitions.

    Of the lake they are the partitions up to `day`; of the matches, of what was delivered and of
    the returns that were accepted the earlier ones, because an outcome is joined to its lead
    through the matches of earlier days, and a returned match uses no quota.
    """
    lake = {
        f"lake/{feed}": _hash_partitions(settings.lake / feed, f"date={day}")
        for feed in (*feeds(), restrictions.FEED, restrictions.ORDERS_FEED)
    }
    earlier = _hash_partitions(settings.matches, f"date={day}", inclusive=False)
    returns = _hash_partitions(settings.settlement, f"date={day}", inclusive=False)
    return lake | {
        "matches": earlier,
        "delivered": _hash_delivered(settings, f"date={day}"),
        "settlement": returns,
    }


def list_known_feeds(settings: Settings, day: date) -> tuple[str, ...]:
    """Return the feeds that existed when `day` was run, by its marts; without marts, all."""
    path = settings.day_folder(settings.marts, day) / MANIFEST
    if not path.is_file():
        return feeds()
    inputs = read_json(path).get("inputs", {})
    known = tuple(feed for feed in feeds() if f"lake/{feed}" in inputs)
    return known or feeds()


def _hash_delivered(settings: Settings, last: str) -> str:
    """Return a hash of what was delivered before `last`; each file is named by its content."""
    files = settings.delivered.glob("date=*/*.parquet")
    names = sorted({f"{file.parent.name}/{file.name}" for file in files if file.parent.name < last})
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _hash_partitions(root: Path, last: str, *, inclusive: bool = True) -> str:
    digest = hashlib.sha256()
    for folder in sorted(root.glob("date=*")):
        if folder.name < last or (inclusive and folder.name == last):
            content = read_manifest(folder)["content_sha256"]
            digest.update(f"{folder.name} {content}\n".encode())
    return digest.hexdigest()


@contextmanager
def publishing(folder: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    """Yield an empty folder to write into, which becomes `folder` when the block succeeds.

    Args:
        folder: The published folder. Earlier content is replaced as a whole.
        facts: Facts of the manifest besides files, hashes and code version; read when the
            block ends, so that the block can still fill them.
    """
    restore(folder)
    fresh, previous = _beside(folder, "new"), _beside(folder, "previous")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        _write_manifest(fresh, facts)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(previous)
    fresh.rename(folder)
    sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def restore(folder: Path) -> None:
    """Restore the earlier content of `folder` if a run was killed between the two renames."""
    previous = _beside(folder, "previous")
    if previous.exists() and not folder.exists():
        previous.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def write_json(path: Path, value: object) -> None:
    """Write `value` as sorted, indented JSON, atomically; a disk that fails leaves nothing."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, "utf-8")
        sync(fresh)
        fresh.rename(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Write the bytes of a file, or the entries of a folder, to the disk.

    Raises:
        OSError: The disk failed; the error names `path`.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = f"{path}"
        raise
    finally:
        os.close(descriptor)


def _write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    (folder / SIGNATURE).unlink(missing_ok=True)  # a copied one is of the manifest before
    files = {
        path.relative_to(folder).as_posix(): file_facts(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    hashes = "".join(f"{name} {entry['sha256']}\n" for name, entry in files.items())
    manifest = dict(facts) | {
        "files": files,
        "rows": facts.get("rows", sum(file.get("rows", 0) for file in files.values())),
        "content_sha256": hashlib.sha256(hashes.encode()).hexdigest(),
        "code_version": code_version(),
        "package_version": __version__,
    }
    write_json(folder / MANIFEST, manifest)


def file_facts(path: Path) -> dict[str, Any]:
    """Return what a manifest states of a file, after its bytes are on the disk."""
    sync(path)
    facts: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    if path.suffix == ".parquet":
        facts["rows"] = pq.read_metadata(path).num_rows
    return facts


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")
