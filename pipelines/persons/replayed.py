"""Compare a replayed day of which persons were erased, step by step, row by row.

Nobody can compute the whole day again, because the erased rows are gone: the plan of the others
rested on them, and the history of later days counts them. So each step is run on what is published,
and its result is compared with what is published, without the erased rows. What is computed row by
row must be equal. What is computed from all rows together (the tables of history, a plan that had
erased leads, the figures of a page) may differ: that is explained by the erasure, and how many rows
differ is stated. The published bytes must be the ones of the manifests in any case.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather

from pipelines.core.database import connect
from pipelines.core.home.erasures import ERASED, read_tombstones
from pipelines.core.home.schema_version import read_replay
from pipelines.core.home.shared_marts import list_shared_files
from pipelines.core.publishing import (
    MANIFEST,
    SIGNATURE,
    check_file,
    list_known_feeds,
    read_manifest,
    write_json,
)
from pipelines.core.restrictions import FEED, ORDERS_FEED
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json
from pipelines.deliveries import lead_file
from pipelines.deliveries.sealing import SUFFIXES

OF_FEEDS = ("lake/*", "quarantine/*")
TAKEN = (*OF_FEEDS, "marts", "pairs", "matches", "offers", "unmatched", "reasons")
"""Folders that the steps after them read as they are published."""
AT_THE_END = ("outbox", "outbox/channels", "settlement", "reports")
HISTORY = (*OF_FEEDS, "marts", "pairs", "matches", "settlement")
"""Folders whose earlier partitions a day reads."""
OF_THE_PLAN = ("matches", "offers", "unmatched", "reasons")
FROM_ALL_ROWS = ("marts", "settlement", "reports", "outbox/channels")
"""Folders whose content is computed from the rows of all days together."""
SAMPLED = ("near_misses.parquet", "prefilter_sample.parquet")
PREFILTERED = ("funnel.parquet", "pairs.parquet")
"""Files of `pairs/` with a sample of the leads, and with the promising pairs of a large day: others
take the place of erased ones."""
PLANNED_FROM = ("lake/leads", "marts", "pairs", "matches")
RECORD = "replayed_files.json"
"""File in the ledger of a replay: path -> how it differs."""


@dataclass(frozen=True)
class Difference:
    """How a file that was computed again differs from the published one."""

    missing: int = 0
    """Rows of others that were published and not computed again."""
    added: int = 0
    """Rows of others that were computed again and not published."""
    is_text: bool = False
    """Whether it is no table, so that only its bytes were compared."""

    @property
    def has_other_rows(self) -> bool:
        """Return whether rows of others differ."""
        return bool(self.missing or self.added)


def find_erasures(settings: Settings, day: date) -> dict[str, list[str]]:
    """Return the erasures that changed what `day` published or read: folder -> their ids."""
    found = {}
    for root in (*HISTORY, *TAKEN, *AT_THE_END):
        for folder in settings.home.glob(f"{root}/date=*"):
            if folder.name <= f"date={day}":
                for each in (folder, *folder.glob("*/")):
                    if tombstones := read_tombstones(each):
                        name = each.relative_to(settings.home).as_posix()
                        found[name] = [tombstone["id"] for tombstone in tombstones]
    return found


def take_published(settings: Settings, day: date) -> None:
    """In a replay, compare what the last step published and put the published files in its place.

    In any other home it does nothing, nor in a replay of a day without erasures.
    """
    published = read_replay(settings).get("published")
    if not published:
        return
    record_file = settings.ledger / RECORD
    record = read_json(record_file) if record_file.is_file() else {}
    known = {*list_known_feeds(Settings(home=Path(published)), day), FEED, ORDERS_FEED}
    for root in TAKEN:
        for folder in sorted(settings.home.glob(f"{root}/date={day}")):
            name = folder.relative_to(settings.home).as_posix()
            if f"{name}/{MANIFEST}" in record or not (folder / MANIFEST).is_file():
                continue
            if root in OF_FEEDS and name.split("/")[1] not in known:
                continue  # a feed that is newer than the day
            compared = dict(
                _compare_folders(settings, Path(published) / name, folder, Path(published))
            )
            record |= {path: asdict(found) for path, found in compared.items()}
            record[f"{name}/{MANIFEST}"] = asdict(Difference())
            is_whole = not _list_damaged(Path(published) / name)
            if is_whole and _is_of_same_policy(Path(published) / name, folder):
                _take(Path(published), settings.home, folder)
    write_json(record_file, record)


def _is_of_same_policy(published: Path, replayed: Path) -> bool:
    """Return whether the next step would accept the published folder: its policy is the present."""
    key = "policy_version_of_scoring"
    if not (published / MANIFEST).is_file():
        return False
    return bool(read_manifest(published).get(key) == read_manifest(replayed).get(key))


def explain_differences(
    settings: Settings, scratch: Settings, day: date, erasures: dict[str, list[str]]
) -> dict[str, Any]:
    """Return the comparison of a replayed day: differences, and what erasures explain.

    Returns:
        `compared`: number of files; `differences`: path -> what differs without an explanation;
        `explained`: path -> why it differs; `erasures`: ids.
    """
    differences = dict(_find_damage(settings, day))
    record = read_json(scratch.ledger / RECORD)
    compared = {path: Difference(**facts) for path, facts in record.items()}
    for root in AT_THE_END:
        for folder in sorted(settings.home.glob(f"{root}/date={day}")):
            twin = scratch.home / folder.relative_to(settings.home)
            compared |= dict(_compare_folders(scratch, folder, twin, settings.home))
    pairs = settings.day_folder(settings.pairs, day)
    is_prefiltered = bool((pairs / MANIFEST).is_file() and read_manifest(pairs).get("prefilter"))
    explained = {}
    for path, difference in sorted(compared.items()):
        if not difference.has_other_rows and not difference.is_text:
            if difference != Difference() or path.rsplit("/", 1)[0] in erasures:
                explained[path] = "rows of erased persons are gone; every other row is the same"
            continue
        reason = _explain(path, day, erasures, is_prefiltered=is_prefiltered)
        if reason and path not in differences:
            explained[path] = f"{reason} ({_count(difference)})"
        else:
            differences.setdefault(path, f"differs ({_count(difference)})")
    return {
        "compared": len(compared),
        "differences": differences,
        "explained": explained,
        "erasures": sorted({name for names in erasures.values() for name in names}),
    }


def _count(difference: Difference) -> str:
    if difference.is_text:
        return "the page or record has other figures"
    return (
        f"{difference.missing:,} other rows were not computed again, {difference.added:,} are new"
    )


def _explain(path: str, day: date, erasures: dict[str, list[str]], *, is_prefiltered: bool) -> str:
    """Return why rows of others may differ in a file; empty if nothing explains it."""
    root = path.partition(f"/date={day}")[0]
    own = {name for name in erasures if f"date={day}" in name}
    if root in FROM_ALL_ROWS or path.endswith(("calibration_ledger.parquet", ".json")):
        return "it counts rows of erased persons"
    sampled = (*SAMPLED, *PREFILTERED) if is_prefiltered else SAMPLED
    if root == "pairs" and path.endswith(sampled) and own:
        return "it samples the leads, and other leads took the place of erased ones"
    if root in OF_THE_PLAN and any(name.startswith(PLANNED_FROM) for name in own):
        return "its plan rested on leads of erased persons"
    return ""


def _find_damage(settings: Settings, day: date) -> Iterator[tuple[str, str]]:
    """Yield the published files of the day whose bytes are not the ones of their manifests."""
    for root in (*TAKEN, *AT_THE_END):
        for manifest in sorted(settings.home.glob(f"{root}/date={day}/**/{MANIFEST}")):
            for path, how in _find_damaged_files(manifest.parent):
                yield path.relative_to(settings.home).as_posix(), how


def _list_damaged(folder: Path) -> set[Path]:
    """Return the damaged files of a folder; none of one that was not published."""
    is_published = (folder / MANIFEST).is_file()
    return {path for path, _ in _find_damaged_files(folder)} if is_published else set()


def _find_damaged_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a published folder whose bytes are not the ones of its manifest."""
    for name, facts in read_manifest(folder)["files"].items():
        if how := check_file(folder / name, facts["sha256"]):
            yield folder / name, how
    for path in list_shared_files(folder):
        if how := check_file(path, path.stem):
            yield path, how


def _compare_folders(
    settings: Settings, published: Path, replayed: Path, home: Path
) -> Iterator[tuple[str, Difference]]:
    """Yield each file of a published folder with how the replayed one differs."""
    names = {
        path.relative_to(folder).as_posix()
        for folder in (published, replayed)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {MANIFEST, SIGNATURE, "history.json"}
    }
    below = published.relative_to(home).as_posix()
    damaged = _list_damaged(published)
    for name in sorted(names):
        before, after = published / name, replayed / name
        if before in damaged:  # nothing can be read from it; it is among the differences
            yield f"{below}/{name}", Difference(is_text=True)
        else:
            yield f"{below}/{name}", _compare(settings, [before], [after])
    for mart in _list_shared(published, replayed):
        files = [_shared_of(folder, mart) for folder in (published, replayed)]
        yield f"{below}/{mart}", _compare(settings, *files)


def _compare(settings: Settings, published: list[Path], replayed: list[Path]) -> Difference:
    """Return how files differ, without the rows of erased persons."""
    contents = [[path.read_bytes() for path in paths if path.is_file()]
                for paths in (published, replayed)]  # fmt: skip
    if contents[0] == contents[1]:
        return Difference()
    before, after = _read(published), _read(replayed)
    if before is None or after is None:
        is_sealed = published[0].suffix in SUFFIXES.values()
        return Difference(is_text=not is_sealed)
    names = [name for name in before.column_names if name in after.column_names]
    with connect(settings) as connection:
        connection.register("before_rows", before.select(names))
        connection.register("after_rows", after.select(names))
        missing, added = (
            connection.execute(
                f"select count(*) from (from {first} where {_is_other(names)} except all "
                f"from {second} where {_is_other(names)})"
            ).fetchall()[0][0]
            for first, second in (("before_rows", "after_rows"), ("after_rows", "before_rows"))
        )
    return Difference(int(missing), int(added))


def _is_other(names: list[str]) -> str:
    """Return SQL of whether a row is of no erased person.

    The record of a rejected file counts its rows, the erased ones too; it has no line.
    """
    ids = [name for name in names if name.endswith(("lead_id", "match_id"))]
    conditions = [f"not coalesce(starts_with(\"{name}\", '{ERASED}'), false)" for name in ids]
    if {"received", "message"}.issubset(names):
        conditions.append("(received is not null or message is not null)")
        conditions += ["line is not null"] if "line" in names else []
    return " and ".join(conditions) or "true"


def _read(paths: list[Path]) -> pa.Table | None:
    """Return the rows of some files; None if they are no tables or are not there."""
    tables = []
    for path in paths:
        if not path.is_file():
            return None
        if path.suffix == ".parquet":
            tables.append(pq.read_table(path, partitioning=None))
        elif path.suffix == ".arrow":
            tables.append(feather.read_table(path))
        elif path.suffix == ".csv":
            tables.append(lead_file.read(path))
        else:
            return None
    return pa.concat_tables(tables, promote_options="default") if tables else None


def _list_shared(*folders: Path) -> list[str]:
    return sorted({path.parts[-3] for folder in folders for path in list_shared_files(folder)})


def _shared_of(folder: Path, mart: str) -> list[Path]:
    return [path for path in list_shared_files(folder) if path.parts[-3] == mart]


def _take(published: Path, scratch: Path, folder: Path) -> None:
    """Put the published folder in the place of the replayed one, with the shared files it names."""
    shutil.rmtree(folder)
    source = published / folder.relative_to(scratch)
    for path in (*source.rglob("*"), *list_shared_files(source)):
        target = scratch / path.relative_to(published)
        if path.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
