"""Errors of the machine and of libraries in words: space, memory, rights, the disk, damaged files.

They are recognised by name and number, so that no library is imported for it. Their own texts are
not shown: they may quote a row.
"""

import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.publishing import MANIFEST, check_file
from pipelines.core.settings import Settings
from pipelines.core.stored_files import how_to_restore

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_SPACE_TEXT = re.compile(
    r"no space left on device|disk is full|disk quota exceeded|file too large|"
    r"max_temp_directory_size",
    re.IGNORECASE,
)
NO_MEMORY = {"MemoryError", "OutOfMemoryException"}
NO_MEMORY_TEXT = re.compile(r"out of memory|cannot allocate memory|bad_alloc", re.IGNORECASE)
WAREHOUSE_TEXT = re.compile(r"not a valid DuckDB database|checksum|corrupt", re.IGNORECASE)
METADATA_ADVICE = {
    r"malformed|not a database": (
        "is damaged. It holds only the states of runs: delete it and run the date again."
    ),
    r"disk i/o error": (
        "can't be written: the disk reports an error or has no space left ({free} GB are free "
        "now). Free space, or raise the quota or the size limit of files (`ulimit -f`), and run it "
        "again."
    ),
    r"unable to open|readonly|read-only": (
        "can't be opened or written. Give the user that runs Banyan the right, or another home "
        "with --home, and run it again."
    ),
    r"is locked": "is held by another process. Wait for it to end, and run it again.",
}
"""Part of SQLite's message -> what happened to Airflow's metadata, and what to do."""
PATH_ADVICE = {
    frozenset({errno.EACCES, errno.EPERM, errno.EROFS}): (
        "this user has no right to, or the disk is mounted to be read only. {unchanged} Give the "
        "user that runs Banyan the right, or another home with --home, and run it again."
    ),
    frozenset({errno.EIO, errno.EREMOTEIO}): (
        "the disk reports an error. {unchanged} Check the disk (`dmesg` has what the system saw); "
        "if it fails, restore the backup of the home on another one. Then run it again."
    ),
}
"""Numbers of errors -> what is wrong with a path, and what to do."""
UNCHANGED = "What was published before is unchanged, and nothing was published in part."
MAX_FILES = 3
"""Damaged files that a message names."""


@contextmanager
def in_words(settings: Settings) -> Iterator[None]:
    """Raise an `IntegrityError` with words in place of an error of the machine or a library.

    An error that it does not recognise remains as it is.
    """
    try:
        yield
    except BanyanError:
        raise
    except Exception as error:
        if words := describe_error(settings, error):
            raise IntegrityError(words) from None
        raise


def describe_error(settings: Settings, error: Exception) -> str:
    """Return what happened, to what, and what to do; empty for an unknown error."""
    causes = _list_causes(error)
    texts = [str(cause) for cause in causes]
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno}
    if NO_SPACE & numbers or any(map(NO_SPACE_TEXT.search, texts)):
        return describe_no_space(settings)
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if NO_MEMORY & names or any(map(NO_MEMORY_TEXT.search, texts)):
        return describe_no_memory(settings)
    for known, advice in PATH_ADVICE.items():
        if known & numbers:
            return _describe_path(settings, causes, advice)
    if any(type(cause).__module__.startswith("sqlalchemy") for cause in causes):
        return _describe_metadata(settings, " ".join(texts))
    is_duckdb = any(type(cause).__module__.startswith("_duckdb") for cause in causes)
    if is_duckdb and any(
        str(settings.warehouse) in text and WAREHOUSE_TEXT.search(text) for text in texts
    ):
        return describe_warehouse(settings)
    return describe_damaged_files(settings, type(error).__name__)


def describe_no_space(settings: Settings) -> str:
    """Return that the disk is full, how much is free, and what to do."""
    return (
        f"There was no space left for a file below {settings.home} "
        f"({_describe_free_space(settings)} GB are free now). {UNCHANGED} Free space, or raise the "
        "quota or the size limit of files (`ulimit -f`), and run it again."
    )


def describe_no_memory(settings: Settings) -> str:
    """Return that the memory did not suffice, and which settings to change."""
    return (
        f"The memory did not suffice: BANYAN_MEMORY_LIMIT is {settings.memory_limit} for one "
        f"DuckDB connection with BANYAN_THREADS={settings.threads}. {UNCHANGED} Raise "
        "BANYAN_MEMORY_LIMIT (4GB by default); if the machine has no more memory, lower "
        "BANYAN_THREADS to 1 or use a larger machine. Then run it again."
    )


def describe_warehouse(settings: Settings) -> str:
    """Return that the warehouse is damaged, and that it can be built again."""
    return (
        f"{settings.warehouse} is damaged. {UNCHANGED} It holds nothing of its own: delete it and "
        "run the date again; every layer is built from the lake."
    )


def describe_damaged_files(settings: Settings, error: str) -> str:
    """Return which published files are damaged and what to do; empty if none is.

    It reads every published file, so it is called only where something failed.
    """
    damaged = list(islice(find_damaged_files(settings), MAX_FILES + 1))
    if not damaged:
        return ""
    named = "; ".join(
        f"{path} {how}: restore it from the backup of the home, or {how_to_restore(path)}"
        for path, how in damaged[:MAX_FILES]
    )
    more = " There are more of them." if damaged[MAX_FILES:] else ""
    return f"A published file is damaged, and reading failed ({error}). {UNCHANGED} {named}{more}"


def find_damaged_files(settings: Settings) -> Iterator[tuple[Path, str]]:
    """Yield each published file that differs from its manifest, and how; smaller ones first."""
    published = []
    for manifest in sorted(settings.home.glob(f"*/**/{MANIFEST}")):
        if any(part.startswith(".") for part in manifest.relative_to(settings.home).parts):
            continue
        try:
            files = json.loads(manifest.read_text("utf-8"))["files"].items()
            published += [(manifest.parent / name, facts["sha256"]) for name, facts in files]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            yield manifest, "is torn"
    for path, expected in published:
        how = check_file(path, expected)
        if how:
            yield path, how


def _describe_path(settings: Settings, causes: list[BaseException], advice: str) -> str:
    """Return what can't be read or written: the path that an error names, else the home."""
    names = [str(name) for cause in causes if (name := getattr(cause, "filename", None))]
    path = names[0] if names else settings.home
    return f"{path} can't be read or written: {advice.format(unchanged=UNCHANGED)}"


def _describe_metadata(settings: Settings, text: str) -> str:
    for pattern, advice in METADATA_ADVICE.items():
        if re.search(pattern, text, re.IGNORECASE):
            words = advice.format(free=_describe_free_space(settings))
            file = settings.airflow / "airflow.db"
            return f"Airflow's metadata in {file} {words} {UNCHANGED}"
    return ""


def _describe_free_space(settings: Settings) -> str:
    """Return the free space of the disk of the home, in GB."""
    folder = next(f for f in (settings.home, *settings.home.absolute().parents) if f.is_dir())
    return f"{shutil.disk_usage(folder).free / 1e9:,.1f}"


def _list_causes(error: BaseException) -> list[BaseException]:
    """Return `error` and what caused it, down to the first cause."""
    causes: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in causes:
        causes.append(following)
        following = following.__cause__ or following.__context__
    return causes
