"""The parsed dbt project: parsed once for one state of the code, not once for each date.

dbt keeps its own parsed project only as long as no variable changes, and the business date is one:
each date paid about 5 s of processor time again. No variable of Banyan's changes what dbt parses:
models ask for them when their SQL runs (https://docs.getdbt.com/reference/programmatic-invocations,
"Reusing objects"). So the key of the parsed project is the text of its files, dbt's version and the
place of the project.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumaro_encoder, extended_mashumuro_decoder

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import PROJECT

PROJECT_FOLDER = PROJECT / "dbt_project"
CACHE = PROJECT_FOLDER / "target"
"""The folder of dbt's disposable files, shared by all homes; where it can't be written, each home
has its own."""


def load_parsed_project(state_folder: Path, options: Sequence[str]) -> Manifest:
    """Return the parsed project, from the cache if its files have not changed since.

    Args:
        state_folder: The folder of the home for dbt's disposable files.
        options: Options of dbt's command line: folders, profile and variables.

    Raises:
        IntegrityError: The project can't be parsed.
    """
    name = f"parsed-{_hash_project()}.msgpack"
    for path in (CACHE / name, state_folder / name):
        if manifest := _read(path):
            return manifest
    outcome = dbtRunner().invoke(["parse", *options])
    if not isinstance(outcome.result, Manifest):
        raise IntegrityError(f"The dbt project can't be parsed: {outcome.exception}")
    content = outcome.result.to_msgpack(extended_mashumaro_encoder)
    for path in (CACHE / name, state_folder / name):
        if _write(path, content):
            break
    return outcome.result


def _read(path: Path) -> Manifest | None:
    """Return the manifest at `path`, or None if there is none that this dbt can read."""
    try:
        manifest = Manifest.from_msgpack(path.read_bytes(), decoder=extended_mashumuro_decoder)
    except Exception:  # noqa: BLE001 - a damaged cache is made again, whichever error the library raises
        return None
    manifest.build_flat_graph()  # type: ignore[no-untyped-call]
    return manifest


def _write(path: Path, content: bytes) -> bool:
    """Write `content` whole or not at all; return False where this user may not write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for older in path.parent.glob("parsed-*.msgpack"):
            older.unlink(missing_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(content)
        beside.replace(path)  # another process may read or write it at the same time
    except OSError:
        return False
    return True


@cache
def _hash_project() -> str:
    """Return a hash of the project's files, of dbt's versions and of the place of the project."""
    digest = hashlib.sha256()
    versions = [version(name) for name in ("dbt-core", "dbt-adapters", "dbt-duckdb")]
    digest.update(repr((versions, str(PROJECT_FOLDER))).encode())
    suffixes = {".sql", ".yml", ".md", ".csv"}
    paths = (path for path in PROJECT_FOLDER.rglob("*") if path.suffix in suffixes)
    for path in sorted(path for path in paths if CACHE not in path.parents):
        digest.update(f"{path.relative_to(PROJECT_FOLDER)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
