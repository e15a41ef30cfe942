"""A home of the version before is migrated, replays its days, and goes on.

`tests/data/home_schema_1.tar.gz` was written by the code before schema version 2: a market of 40
leads a day, three dates run, landed files of one more date (`tests/data/make_home.py`). Its days
are replayed by this code, which may publish more (a column, a section of the report). So a replay
is compared by the rows of the columns that the published files have, and without the pages.
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from dags.local import replay as replaying
from pipelines.core.home.schema_version import is_whole
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import PROJECT, Settings
from pipelines.reports import publish_report
from tests.e2e.market import banyan, run
from tests.e2e.published_bytes import published

HOME = PROJECT / "tests" / "data" / "home_schema_1.tar.gz"
FIRST, LAST = date(2026, 2, 28), date(2026, 3, 2)
DATES = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]


VERSIONS = {"models", "policy_version"}
"""Columns that name models and policies: later code may have one more policy, or feature."""


def hash_columns(path: Path, columns: list[str]) -> dict[str, str]:
    """Return a hash of each of some columns, in the order of the rows."""
    table = pq.read_table(path, columns=columns, partitioning=None)
    return {
        name: hashlib.sha256(repr(table[name].to_pylist()).encode()).hexdigest() for name in columns
    }


@pytest.fixture(scope="module", autouse=True)
def _own_key() -> Iterator[None]:
    """The home has a key of its own, not the one of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BANYAN_IDENTIFIER_KEY", raising=False)
        yield


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home, unpacked and migrated."""
    home = tmp_path_factory.mktemp("upgrade") / "home"
    with tarfile.open(HOME) as archive:
        archive.extractall(home, filter="data")
    before = published(home)
    for verb in (["run", "--date", f"{LAST + timedelta(days=1)}"], ["replay", "--date", f"{LAST}"]):
        process = banyan(home, *verb)
        assert process.returncode == 1
        assert "banyan migrate" in process.stderr
    process = banyan(home, "migrate")
    assert process.returncode == 0, process.stderr
    assert published(home) == before
    return home


def test_the_home_is_small():
    assert HOME.stat().st_size < 2_000_000


@pytest.mark.prove
@pytest.mark.parametrize("day", DATES)
def test_a_day_of_the_version_before_is_replayed_in_its_form(
    migrated: Path, day: date, monkeypatch: pytest.MonkeyPatch
):
    rows: dict[str, set[str]] = {}
    hash_files = replaying._hash_files

    def keep_rows(settings: Settings, of: date) -> dict[str, str]:
        hashes = hash_files(settings, of)
        for name in hashes:
            old, new = migrated / name, settings.home / name
            if name.endswith(".parquet") and settings.home != migrated and old.is_file():
                columns = [each for each in pq.read_schema(old).names if each not in VERSIONS]
                before, after = hash_columns(old, columns), hash_columns(new, columns)
                rows[name] = {column for column in columns if before[column] != after[column]}
        return hashes

    monkeypatch.setattr(replaying, "_hash_files", keep_rows)
    result = replaying.replay(Settings(home=migrated), day)
    names = {
        name
        for name in result["differences"]
        if not name.startswith("reports/") and not name.endswith((MANIFEST, ".html"))
    }
    assert len(rows) > 20
    assert {name: columns for name, columns in rows.items() if columns} == {}
    assert {name for name in names if name not in rows} == set()
    assert f"marts/date={day}/training_pairs.parquet" in rows


@pytest.mark.parametrize("day", DATES)
def test_a_report_that_pins_no_policies_is_replayed_under_the_policies_of_its_matching(
    migrated: Path, day: date, tmp_path: Path
):
    pinned = replaying._PinnedPolicies(Settings(home=migrated), tmp_path)
    manifest = replaying._read_report(Settings(home=migrated), day)
    assert not {"policies", "policy_version"} & manifest.keys()
    assert pinned.find(manifest, tmp_path) == tmp_path
    assert pinned.find(manifest, None) is None


def test_the_home_goes_on_and_its_days_stay(migrated: Path, tmp_path: Path):
    home = Path(shutil.copytree(migrated, tmp_path / "home"))
    before = published(home)
    following = LAST + timedelta(days=1)
    figures = run(home, following, following)
    assert figures[f"{following}"]["received"] > 20
    after = published(home)
    assert before.pop("ledger/closed.json") != after["ledger/closed.json"]
    assert {name: after.get(name) for name in before} == before
    marts = Settings(home=home).day_folder(home / "marts", following)
    assert not is_whole(marts)
    assert is_whole(home / "marts" / f"date={LAST}")
    outcomes = sorted((home / "marts" / "history" / "outcomes").rglob("*.parquet"))
    earlier = home / "marts" / f"date={LAST}" / "outcomes.parquet"
    missing = duckdb.sql(
        f"from read_parquet('{earlier}', hive_partitioning = false) "
        f"except all from read_parquet({[str(path) for path in outcomes]})"
    ).fetchall()
    assert missing == []


def test_the_report_of_an_earlier_version_is_written_again_whole(migrated: Path, tmp_path: Path):
    home = Path(shutil.copytree(migrated, tmp_path / "home"))
    publish_report.report(Settings(home=home), LAST)
    report = Settings(home=home).day_folder(home / "reports", LAST)
    findings = json.loads((report / "quality.json").read_text("utf-8"))["findings"]
    assert findings
    assert [each for each in findings if "cannot be read" in each["title"]] == []
