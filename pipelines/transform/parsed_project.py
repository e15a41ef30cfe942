"""The parsed dbt project: parsed once for one state of the code, not for each date and home.

dbt keeps its parsed project only as long as no variable changes, and the business date is one: each
date paid about 5 s of processor time again. What dbt parses depends on the policies' variables, but
not on the date or on the machine: models ask for these when their SQL runs
(https://docs.getdbt.com/reference/programmatic-invocations, "Reusing objects"). The places of the
sources do have the home's path in them: placeholders are parsed, and filled in for each home. So
the key is the project's text, dbt's versions, and every variable but these.
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
from dbt.contracts.graph.nodes import SourceDefinition
from dbt.parser.manifest import extended_mashumaro_encoder, extended_mashumuro_decoder

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import PROJECT

PROJECT_FOLDER = PROJECT / "dbt_project"
PLACES = ("lake", "published", "typed")
"""Variables with the folders of the sources: placeholders in the parsed project."""
RUN_VARIABLES = ("business_date", "warehouse", "spill", "threads", "memory_limit")
"""Variables that no file of the project uses while it is parsed."""
LOCATION = "external_location"
KEPT = 16
"""Parsed projects that are kept, for other policies and settings."""


def load_parsed_project(
    folder: Path, variables: Mapping[str, object], options: Sequence[str]
) -> Manifest:
    """Return the parsed project with the places of a home, from `folder` if nothing has changed.

    Args:
        folder: Where parsed projects are stored; several homes may share it.
        variables: dbt's variables.
        options: Options of dbt's command line but the variables: folders and profile.

    Raises:
        IntegrityError: The project can't be parsed.
    """
    parsed = {name: f"@{name}@" if name in PLACES else each for name, each in variables.items()}
    lasting = {name: each for name, each in parsed.items() if name not in RUN_VARIABLES}
    key = hashlib.sha256(f"{_hash_project()} {json.dumps(lasting, sort_keys=True)}".encode())
    path = folder / f"parsed-{key.hexdigest()[:16]}"
    project = _read(path) or _parse(path, [*options, f"--vars={json.dumps(parsed)}"])
    for source in project.sources.values():
        _fill_in_places(source, variables)
    return project


def _read(path: Path) -> Manifest | None:
    """Return the parsed project at `path`, or None if there is none that this dbt can read."""
    try:
        manifest = Manifest.from_msgpack(path.read_bytes(), decoder=extended_mashumuro_decoder)
    except Exception:  # noqa: BLE001 - a damaged copy is made again, whichever error it gives
        return None
    manifest.build_flat_graph()  # type: ignore[no-untyped-call]
    return manifest


def _parse(path: Path, options: Sequence[str]) -> Manifest:
    """Parse the project and store it at `path`, in place of the oldest ones."""
    outcome = dbtRunner().invoke(["parse", *options])
    if not isinstance(outcome.result, Manifest):
        raise IntegrityError(f"The dbt project can't be parsed: {outcome.exception}")
    with suppress(OSError):  # a full disk: the next date parses again
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(outcome.result.to_msgpack(extended_mashumaro_encoder))
        beside.replace(path)
        stored = sorted(path.parent.glob("parsed-*"), key=lambda each: each.stat().st_mtime)
        for older in stored[:-KEPT]:
            older.unlink(missing_ok=True)
    return outcome.result


def _fill_in_places(source: SourceDefinition, variables: Mapping[str, object]) -> None:
    """Put the home's folders in the place of their placeholders."""
    for meta in (source.meta, source.source_meta, source.config.meta):
        if LOCATION in meta:
            for name in PLACES:
                meta[LOCATION] = meta[LOCATION].replace(f"@{name}@", f"{variables[name]}")


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
