"""Compute a day again from its recorded inputs and compare what comes out with what stands.

The inputs of a day are the landed files that the ledger lists up to it, the partitions of
the days before it and the models before its week's; all else is made anew, through the
same DAG, in a home of its own that is thrown away.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from models.champion import registry
from models.training.dataset import anchor
from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, read_manifest, sha256, write_json
from pipelines.core.settings import Settings

BEFORE = ("lake/*", "quarantine/*", "marts", "pairs", "matches")
"""Folders whose partitions of the days before are inputs."""
DAY = (*BEFORE, "offers", "unmatched", "reasons", "outbox", "reports")
"""Folders whose partition of the day is compared, as are the models of its week."""


def replay(settings: Settings, day: date) -> dict[str, Any]:
    """Run `day` again beside the home and return which published files differ.

    Returns:
        `date`, `compared` (files), `differences` (paths below the home, each with what is
        wrong) and `is_same_code` (whether the code is still the one that published the day).

    Raises:
        InputMissing: The day was not published.
        IntegrityError: The day cannot be run again, or a landed file of it has changed since.
    """
    published = read_manifest(settings.day_folder(settings.matches, day))
    with tempfile.TemporaryDirectory(prefix=".replay-", dir=settings.home) as scratch:
        again = Settings(home=Path(scratch))
        _take_inputs(settings, again.home, day)
        command = ["--date", f"{day}", "--home", scratch]
        ended = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "dags.local.in_process", *command],
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if ended.returncode:
            raise IntegrityError(
                f"{day} cannot be run again; what stands was not touched. See above why."
            )
        stands, came = _files(settings, day), _files(again, day)
        code = read_manifest(again.day_folder(again.matches, day))["code_version"]
    return {
        "date": f"{day}",
        "compared": len(stands),
        "differences": dict(_differences(stands, came)),
        "is_same_code": published["code_version"] == code,
    }


def _take_inputs(settings: Settings, again: Path, day: date) -> None:
    """Lay the inputs of `day` into the home `again`, as links: published files never change."""
    today = f"date={day}"
    earlier = [path for path in settings.ledger.glob("date=*.jsonl") if path.stem < today]
    for ledger in (*earlier, settings.ledger / f"{today}.jsonl"):
        for entry in map(json.loads, ledger.read_text("utf-8").splitlines()):
            _link(settings.home, Path("landing") / entry["path"], again)
    for ledger in (*earlier, settings.ledger / "origins.json"):
        _link(settings.home, ledger.relative_to(settings.home), again)
    if earlier:
        closed = {"closed_through": f"{day - timedelta(days=1)}"}
        write_json(again / "ledger" / "closed.json", closed)
    folders = [path for root in BEFORE for path in settings.home.glob(f"{root}/date=*")]
    inputs = [path for path in folders if path.name < today]
    inputs += [
        path for path in settings.registry.glob("as_of=*") if path not in _made(settings, day)
    ]
    for path in (file for folder in inputs for file in folder.rglob("*")):
        _link(settings.home, path.relative_to(settings.home), again)


def _link(home: Path, name: Path, again: Path) -> None:
    if (home / name).is_file():
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(home / name, again / name)


def _made(settings: Settings, day: date) -> set[Path]:
    """Return the model set that `day` would make again; none where an earlier day had cause to."""
    would = {registry.folder(settings, as_of) for as_of in (day, anchor(day))}
    return would & {_models(settings, day)}


def _models(settings: Settings, day: date) -> Path:
    return registry.folder(settings, registry.champion(settings, day))


def _files(settings: Settings, day: date) -> dict[str, str]:
    """Return path below the home -> hash, of every file that `day` published."""
    folders = [path for root in DAY for path in settings.home.glob(f"{root}/date={day}")]
    files = [file for folder in (*folders, _models(settings, day)) for file in folder.rglob("*")]
    return {
        path.relative_to(settings.home).as_posix(): _content(path)
        for path in (*files, settings.ledger / f"date={day}.jsonl")
        if path.is_file()
    }


def _content(path: Path) -> str:
    """Return a file's hash; of a manifest without the version of the code that wrote it."""
    if path.name != MANIFEST:
        return sha256(path)
    said = json.loads(path.read_text("utf-8")) | {"code_version": None}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _differences(stands: dict[str, str], came: dict[str, str]) -> Iterator[tuple[str, str]]:
    for path in sorted(stands.keys() | came.keys()):
        if path not in came:
            yield path, "stands, but did not come out again"
        elif path not in stands:
            yield path, "came out, but does not stand"
        elif stands[path] != came[path]:
            yield path, "differs"
