"""A foreign file turned into training pairs, kept so that another run need not do it again."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from pipelines.bench.home import own_home
from pipelines.bench.models import build
from pipelines.publish import sha256
from pipelines.settings import PROJECT, Settings

DONE = "prepared.txt"
"""Written last: the day whose marts hold the pairs."""
MADE_BY = (
    "dbt_project",
    "expectations/contracts",
    "expectations/mappings",
    "pipelines/importing",
    "pipelines/ingest",
    "pipelines/transform",
)
"""Code and texts that decide what becomes of a file; the models are not among them."""
KINDS = frozenset({".py", ".sql", ".yml"})


@contextmanager
def prepared(
    settings: Settings, kept: Path | None, mapping: str, file: Path
) -> Iterator[tuple[Settings, date, str]]:
    """Yield the home of a prepared file, the day of its marts, and whether it was `made` or `kept`.

    Args:
        settings: How the work is tuned.
        kept: Folder of homes that outlast the run; one stands for a file only while neither the
            file nor what prepares it has changed. None: the home is gone afterwards.
        mapping: By which the file is imported.
        file: The foreign file, with those that lie beside it.
    """
    if kept is None:
        with own_home(settings) as home:
            yield home, build(home, mapping, file), "made"
        return
    folder = kept / f"{mapping}-{key(file)}"
    home = Settings(**(settings.model_dump() | {"home": folder}))
    done = folder / DONE
    if done.is_file():
        yield home, date.fromisoformat(done.read_text("utf-8")), "kept"
        return
    folder.mkdir(parents=True, exist_ok=True)
    day = build(home, mapping, file)
    done.write_text(f"{day}", "utf-8")
    yield home, day, "made"


def key(file: Path) -> str:
    """Return what tells a prepared file from another: its bytes and those of what prepares it."""
    digest = hashlib.sha256()
    sources = [path for name in MADE_BY for path in sorted((PROJECT / name).rglob("*"))]
    for path in sources:
        if path.suffix in KINDS and "target" not in path.parts:
            digest.update(path.relative_to(PROJECT).as_posix().encode() + path.read_bytes())
    beside = sorted(file.parent.glob("*.parquet"))
    for path in [file, *(other for other in beside if other != file)]:
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()[:12]
