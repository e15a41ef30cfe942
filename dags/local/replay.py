"""Compute a day again from its recorded inputs and compare the results with the published files.

The inputs of a day are the landed files that the ledger lists up to it, the partitions of the
previous days and the models trained before its week's. Everything else is computed again, through
the same DAG, in a temporary home.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dags.local.in_process import run_dates
from models.champion import registry
from models.training.dataset import find_anchor
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.publishing import MANIFEST, read_manifest, sha256, write_json
from pipelines.core.settings import Settings, use_home
from pipelines.core.stored_files import read_json, read_json_lines

INPUT_FOLDERS = ("lake/*", "quarantine/*", "marts", "pairs", "matches")
"""Folders whose partitions of previous days are inputs."""
COMPARED_FOLDERS = (*INPUT_FOLDERS, "offers", "unmatched", "reasons", "outbox", "reports")
"""Folders whose partition of the day is compared; the models of its week are compared as well."""


def replay(settings: Settings, day: date) -> dict[str, Any]:
    """Run `day` again in a temporary home and return the published files that differ.

    Returns:
        `date`, `compared` (number of files), `differences` (path below the home -> what differs)
        and `is_same_code` (true if the present code is the one that published the day).

    Raises:
        InputMissing: The day was not published.
        IntegrityError: The day cannot be run again, or a landed file of it has changed since.
    """
    manifest = read_manifest(settings.day_folder(settings.matches, day))
    with tempfile.TemporaryDirectory(prefix=".replay-", dir=settings.home) as folder:
        scratch = Settings(home=Path(folder))
        _link_inputs(settings, scratch.home, day)
        _run_in_child(scratch.home, day)
        published, replayed = _hash_files(settings, day), _hash_files(scratch, day)
        code = read_manifest(scratch.day_folder(scratch.matches, day))["code_version"]
    return {
        "date": f"{day}",
        "compared": len(published),
        "differences": dict(_compare(published, replayed)),
        "is_same_code": manifest["code_version"] == code,
    }


def _run_in_child(home: Path, day: date) -> None:
    """Run `day` in `home` in a child process: Airflow knows one home per process."""
    child = get_context("spawn").Process(target=_run_day, args=(home, day))
    child.start()
    child.join()
    if child.exitcode:
        raise IntegrityError(
            f"{day} cannot be run again; the messages above say why. The published files are "
            "unchanged."
        )


def _run_day(home: Path, day: date) -> None:
    try:
        run_dates(use_home(home), day, day)
    except BanyanError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _link_inputs(settings: Settings, scratch: Path, day: date) -> None:
    """Link the inputs of `day` into the home `scratch`; no run changes a published file."""
    today = f"date={day}"
    earlier = [path for path in settings.ledger.glob("date=*.jsonl") if path.stem < today]
    for ledger in (*earlier, settings.ledger / f"{today}.jsonl"):
        for entry in read_json_lines(ledger):
            _link(settings.home, Path("landing") / entry["path"], scratch)
    for beside in (*earlier, settings.ledger / "origins.json", settings.identifier_key_file):
        _link(settings.home, beside.relative_to(settings.home), scratch)
    if earlier:
        closed = {"closed_through": f"{day - timedelta(days=1)}"}
        write_json(scratch / "ledger" / "closed.json", closed)
    partitions = [path for root in INPUT_FOLDERS for path in settings.home.glob(f"{root}/date=*")]
    model_sets = set(settings.registry.glob("as_of=*")) - _model_sets_trained_on(settings, day)
    inputs = [*(path for path in partitions if path.name < today), *sorted(model_sets)]
    for path in (file for folder in inputs for file in folder.rglob("*")):
        _link(settings.home, path.relative_to(settings.home), scratch)


def _link(home: Path, name: Path, scratch: Path) -> None:
    if (home / name).is_file():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(home / name, scratch / name)


def _model_sets_trained_on(settings: Settings, day: date) -> set[Path]:
    """Return the model set that `day` trains; empty if an earlier day of the week trained it."""
    possible = {registry.set_folder(settings, as_of) for as_of in (day, find_anchor(day))}
    return possible & {_model_set_folder(settings, day)}


def _model_set_folder(settings: Settings, day: date) -> Path:
    return registry.set_folder(settings, registry.find_active_set(settings, day))


def _hash_files(settings: Settings, day: date) -> dict[str, str]:
    """Return path below the home -> hash, of every file that `day` published."""
    folders = [
        path for root in COMPARED_FOLDERS for path in settings.home.glob(f"{root}/date={day}")
    ]
    folders.append(_model_set_folder(settings, day))
    files = [file for folder in folders for file in folder.rglob("*")]
    return {
        path.relative_to(settings.home).as_posix(): _hash(path)
        for path in (*files, settings.ledger / f"date={day}.jsonl")
        if path.is_file()
    }


def _hash(path: Path) -> str:
    """Return a file's hash; a manifest's without the versions of the code that wrote it."""
    if path.name != MANIFEST:
        return sha256(path)
    manifest = read_json(path) | {"code_version": None, "package_version": None}
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _compare(published: dict[str, str], replayed: dict[str, str]) -> Iterator[tuple[str, str]]:
    for path in sorted(published.keys() | replayed.keys()):
        if path not in replayed:
            yield path, "published, but not computed again"
        elif path not in published:
            yield path, "computed again, but not published"
        elif published[path] != replayed[path]:
            yield path, "differs"
