"""The parsed dbt project of a home: parsed once for one state of the code, not for each date.

dbt keeps its parsed project only as long as no variable changes, and the business date is one: each
date paid about 5 s of processor time again. What dbt parses depends on the other variables (the
sources' places have the home's path in them), but not on the date: models ask for it when their
SQL runs (https://docs.getdbt.com/reference/programmatic-invocations, "Reusing objects"). So the key
is the project's text, dbt's versions, and every variable but the date.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumaro_encoder, extended_mashumuro_decoder

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import PROJECT

PROJECT_FOLDER = PROJECT / "dbt_project"
BUSINESS_DATE = "business_date"
"""The variable that no file of the project uses while it is parsed."""


def load_parsed_project(
    folder: Path, variables: Mapping[str, object], options: Sequence[str]
) -> Manifest:
    """Return the parsed project of a home, from `folder` if nothing has changed since.

    Args:
        folder: The folder of the home for dbt's disposable files.
        variables: dbt's variables.
        options: Options of dbt's command line: folders, profile and these variables.

    Raises:
        IntegrityError: The project can't be parsed.
    """
    lasting = {name: value for name, value in variables.items() if name != BUSINESS_DATE}
    key = hashlib.sha256(f"{_hash_project()} {json.dumps(lasting, sort_keys=True)}".encode())
    path = folder / f"parsed-{key.hexdigest()[:16]}.msgpack"
    return _read(path) or _parse(path, options)


def _read(path: Path) -> Manifest | None:
    """Return the parsed project at `path`, or None if there is none that this dbt can read."""
    try:
        manifest = Manifest.from_msgpack(path.read_bytes(), decoder=extended_mashumuro_decoder)
    except Exception:  # noqa: BLE001 - a damaged copy is made again, whichever error it gives
        return None
    manifest.build_flat_graph()  # type: ignore[no-untyped-call]
    return manifest


def _parse(path: Path, options: Sequence[str]) -> Manifest:
    """Parse the project and store it at `path`, in place of the ones before."""
    outcome = dbtRunner().invoke(["parse", *options])
    if not isinstance(outcome.result, Manifest):
        raise IntegrityError(f"The dbt project can't be parsed: {outcome.exception}")
    with suppress(OSError):  # a full disk: the next date parses again
        path.parent.mkdir(parents=True, exist_ok=True)
        for older in path.parent.glob("parsed-*.msgpack"):
            older.unlink(missing_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(outcome.result.to_msgpack(extended_mashumaro_encoder))
        beside.replace(path)
    return outcome.result


@cache
def _hash_project() -> str:
    """Return a hash of the project's files, of dbt's versions and of the place of the project."""
    digest = hashlib.sha256()
    versions = [version(name) for name in ("dbt-core", "dbt-adapters", "dbt-duckdb")]
    digest.update(repr((versions, str(PROJECT_FOLDER))).encode())
    suffixes = {".sql", ".yml", ".md", ".csv"}
    for path in sorted(path for path in PROJECT_FOLDER.rglob("*") if path.suffix in suffixes):
        if "target" not in path.relative_to(PROJECT_FOLDER).parts:
            digest.update(f"{path.relative_to(PROJECT_FOLDER)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
