"""The corruption log names every corruption and nothing else, and no intact row is lost."""

from collections import defaultdict
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from expectations.contracts import load
from pipelines.cli.app import main
from pipelines.core.publishing import write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest.ingest_day import ingest
from pipelines.simulate import SimulationPlan, simulate
from pipelines.simulate.corruption.corrupt_feeds import corrupt_values
from pipelines.simulate.corruption.corruption_kinds import (
    CORRUPTED_COPIES,
    HARMLESS_VARIANTS,
    kinds_table,
    value_corruptions,
)
from pipelines.simulate.corruption.corruption_log import FeedFile
from pipelines.simulate.write_feeds import write_feed_file
from tests.helpers.feeds import SIMULATED, good, received
from tests.helpers.landing import DAY
from tests.simulate.conftest import bytes_below
from tests.simulate.corruption_log import assert_quarantine_matches_log, read_corruption_log

SATURDAY, SUNDAY = date(2026, 1, 31), date(2026, 2, 1)
"""The last day of a month and the first of the next, when supply links are sent."""
ALL = 1.0
"""As many rows of a file as possible are corrupted, and every file corruption affects each file."""
DIFFERING = {
    "channel_spend": "campaign_id",
    "institutions": "institution_id",
    "leads": "lead_id",
    "outcomes": "match_id",
    "product_fees": "product_id",
    "product_rules": "product_id",
    "products": "product_id",
    "supply_links": "buyer_id",
    "suppressions": "subject",
}
"""A text column of each feed's key."""


def land_market(home: Path, corruption: float, *, threads: int = 2) -> Settings:
    settings = Settings(home=home, threads=threads, memory_limit="1GB")
    size = {"leads_per_day": 300, "institutions": 10, "channels": 6, "seed": 9}
    plan = SimulationPlan(start=SATURDAY, days=2, corruption=corruption, **size)
    simulate(settings, plan)
    return settings


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    settings = land_market(tmp_path_factory.mktemp("clean"), 0.0)
    ingest(settings, SUNDAY)
    return settings


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory):
    """The corrupted market, ingested day by day, so that a day's files meet earlier ones."""
    settings = land_market(tmp_path_factory.mktemp("corrupted"), ALL)
    for day in (SATURDAY, SUNDAY):
        ingest(settings, day)
    return settings


def lake(settings: Settings, feed: str) -> str:
    files = f"{settings.lake}/{feed}/date=*/{feed}.parquet"
    return f"(from read_parquet('{files}', hive_partitioning = false))"


def test_quarantine_holds_exactly_what_the_log_names(corrupted):
    assert_quarantine_matches_log(corrupted)


def test_a_share_of_zero_corrupts_nothing(clean):
    assert read_corruption_log(clean) == []
    files = f"{clean.quarantine}/*/date=*/*.parquet"
    ((records,),) = duckdb.sql(f"select count(*) from read_parquet('{files}')").fetchall()
    assert records == 0
    assert {path.name.split(".")[0] for path in clean.landing.glob("*/*/*/*")} == set(SIMULATED)


@pytest.mark.parametrize("feed", SIMULATED)
def test_no_intact_row_is_lost_or_changed(feed, clean, corrupted):
    """The lake of the corrupted market is the clean one without what the log names."""
    contract = load(feed)
    key = (*contract.key, "landed_on")
    same = " and ".join(f"c.{name} is not distinct from d.{name}" for name in key)
    pairs = f"{lake(clean, feed)} as c left join {lake(corrupted, feed)} as d on {same}"
    source = contract.source_column
    log = [row for row in read_corruption_log(corrupted) if row["feed"] == feed]
    lost, emptied = 0, defaultdict(int)
    for row in log:
        lost += row["column"] is not None and row["severity"] == "critical"
        emptied[row["column"]] += row["severity"] == "warning" or row["rule"] == "absent"

    ((rows, missing),) = duckdb.sql(
        f"select count(*), count(*) filter (d.{source} is null) from {pairs}"
    ).fetchall()
    ((corrupted_rows,),) = duckdb.sql(f"select count(*) from {lake(corrupted, feed)}").fetchall()
    assert missing == (0 if contract.full_catalogue else lost)
    assert corrupted_rows == rows - missing > 0
    for column in contract.columns:
        ((changed, gone),) = duckdb.sql(
            f"""
            select
                count(*) filter (d.{column.name} is not null),
                count(*) filter (d.{column.name} is null)
            from {pairs}
            where d.{source} is not null and d.{column.name} is distinct from c.{column.name}
            """
        ).fetchall()
        assert changed == 0, column.name
        assert gone <= emptied[column.name], column.name


def test_every_feed_has_every_corruption_that_its_formats_allow(corrupted):
    log = read_corruption_log(corrupted)
    assert {row["feed"] for row in log} == set(SIMULATED)
    for feed in SIMULATED:
        of_feed = [row for row in log if row["feed"] == feed]
        formats = {
            path.name.split(".", 1)[1] for path in (corrupted.landing / feed).glob(f"*/*/{feed}.*")
        }
        copies = [kind for kind in CORRUPTED_COPIES if formats & set(kind.formats)]
        names = {Path(row["file"]).name.split(".")[0] for row in of_feed}
        assert names == {feed, *(f"{feed}_{kind.name}" for kind in copies)}
        rules = {row["rule"] for row in of_feed}
        assert rules >= {kind.rule for kind in HARMLESS_VARIANTS if formats & set(kind.formats)}
        assert rules >= {"duplicate", "white_space", "required"}, feed
    values = {row["rule"] for row in log if row["column"]}
    assert values >= {"allowed", "max_length", "pattern", "range", "required", "type"}


@pytest.fixture(scope="module")
def all_values_corrupted(tmp_path_factory):
    """One row for each value corruption of each contract, also ones that the market never sends."""
    settings = Settings(home=tmp_path_factory.mktemp("values"), memory_limit="1GB")
    for feed in SIMULATED:
        kinds = value_corruptions(feed, tuple(load(feed).names))
        assert {kind.column for kind in kinds} == set(load(feed).names)
        table = valid_rows(feed, 2 * len(kinds))
        position, rows = np.arange(table.num_rows), np.arange(len(kinds))
        for file_format in ("csv", "jsonl", "parquet"):
            file = FeedFile(feed, file_format, DAY, feed, file_format)
            sent, log = corrupt_values(file, table, position, rows, kinds_table(kinds))
            write_feed_file(sent, settings.landing / file.folder, feed, file_format)
            folder = settings.truth / "corruption"
            write_parquet(log, folder / f"{feed}-{file_format}.parquet")
    ingest(settings, DAY)
    return settings


def valid_rows(feed: str, count: int) -> pa.Table:
    """Return rows that differ in a column of their key, as a market sends them."""
    channel = "search/" if feed == "suppressions" else ""
    rows = [good(feed) | {DIFFERING[feed]: f"{channel}x-{number}"} for number in range(count)]
    table = received(feed, rows)
    for number, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            joined = pc.binary_join(table[field.name], "|")
            table = table.set_column(number, field.name, joined)
    return table


def test_each_value_corruption_breaks_its_rule_and_no_other(all_values_corrupted):
    assert_quarantine_matches_log(all_values_corrupted)
    log = read_corruption_log(all_values_corrupted)
    assert {row["feed"] for row in log} == set(SIMULATED)


def test_the_same_seed_gives_the_same_corruption_in_any_number_of_threads(corrupted, tmp_path):
    again = land_market(tmp_path, ALL, threads=1)
    for folder in ("landing", "truth"):
        assert bytes_below(again.home / folder) == bytes_below(corrupted.home / folder)


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan", "much"])
def test_an_invalid_share_is_wrong_use(share, capsys):
    assert main(["simulate", "--start", "2026-01-31", "--corruption", share]) == 2
    assert "no share between 0 and 1" in capsys.readouterr().err
