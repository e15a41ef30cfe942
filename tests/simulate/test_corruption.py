"""The dirt of a market: the key names all of it and nothing else, and no clean row is lost."""

from collections import defaultdict
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from expectations.contracts import feeds, load
from pipelines.cli.app import main
from pipelines.core.publishing import write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest import ingest
from pipelines.simulate import Plan, simulate
from pipelines.simulate.corruption.corrupt_rows import with_flaws
from pipelines.simulate.corruption.corruption_log import Sending
from pipelines.simulate.corruption.file_corruptions import DAMAGES, QUIRKS
from pipelines.simulate.corruption.value_corruptions import as_columns, flaws
from pipelines.simulate.write_feeds import land
from tests.helpers.feeds import good, received
from tests.helpers.landing import DAY
from tests.simulate.conftest import bytes_below
from tests.simulate.corrupted_market import answer_key, assert_exactly_the_key_is_set_aside

SATURDAY, SUNDAY = date(2026, 1, 31), date(2026, 2, 1)
"""From the last day of a month to the first of the next, when supply links are sent."""
ALL_OF_IT = 1.0
"""As many rows of a file are broken as can be, and every kind of damage befalls every file."""
DIFFERING = {
    "channel_spend": "campaign_id",
    "institutions": "institution_id",
    "leads": "lead_id",
    "outcomes": "match_id",
    "product_rules": "product_id",
    "products": "product_id",
    "supply_links": "buyer_id",
    "suppressions": "subject",
}
"""A text of each feed's key."""


def landed(home: Path, dirt: float, *, threads: int = 2) -> Settings:
    settings = Settings(home=home, threads=threads, memory_limit="1GB")
    size = {"leads_per_day": 300, "institutions": 10, "channels": 6, "seed": 9}
    simulate(settings, Plan(start=SATURDAY, days=2, dirt=dirt, **size))
    return settings


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    settings = landed(tmp_path_factory.mktemp("clean"), 0.0)
    ingest(settings, SUNDAY)
    return settings


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """Taken in day by day, as in real life: a day's files are judged beside the day's before."""
    settings = landed(tmp_path_factory.mktemp("dirty"), ALL_OF_IT)
    for day in (SATURDAY, SUNDAY):
        ingest(settings, day)
    return settings


def lake(settings: Settings, feed: str) -> str:
    files = f"{settings.lake}/{feed}/date=*/{feed}.parquet"
    return f"(from read_parquet('{files}', hive_partitioning = false))"


def test_exactly_what_the_key_names_is_set_aside(dirty):
    assert_exactly_the_key_is_set_aside(dirty)


def test_without_dirt_nothing_is_dirty(clean):
    assert answer_key(clean) == []
    found = f"{clean.quarantine}/*/date=*/*.parquet"
    ((records,),) = duckdb.sql(f"select count(*) from read_parquet('{found}')").fetchall()
    assert records == 0
    assert {path.name.split(".")[0] for path in clean.landing.glob("*/*/*/*")} == set(feeds())


@pytest.mark.parametrize("feed", feeds())
def test_no_clean_row_is_lost_or_changed(feed, clean, dirty):
    """The lake of the dirty market is the clean one's without what the key names."""
    contract = load(feed)
    key = (*contract.key, "landed_on")
    same = " and ".join(f"c.{name} is not distinct from d.{name}" for name in key)
    pairs = f"{lake(clean, feed)} as c left join {lake(dirty, feed)} as d on {same}"
    source = contract.source_column
    answers = [answer for answer in answer_key(dirty) if answer["feed"] == feed]
    lost, emptied = 0, defaultdict(int)
    for answer in answers:
        lost += answer["column"] is not None and answer["severity"] == "critical"
        emptied[answer["column"]] += answer["severity"] == "warning"

    ((rows, missing),) = duckdb.sql(
        f"select count(*), count(*) filter (d.{source} is null) from {pairs}"
    ).fetchall()
    ((rows_of_dirty,),) = duckdb.sql(f"select count(*) from {lake(dirty, feed)}").fetchall()
    assert missing == (0 if contract.full_catalogue else lost)
    assert rows_of_dirty == rows - missing > 0
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


def test_every_feed_is_dirty_in_every_way_that_its_files_allow(dirty):
    answers = answer_key(dirty)
    assert {answer["feed"] for answer in answers} == set(feeds())
    for feed in feeds():
        of_feed = [answer for answer in answers if answer["feed"] == feed]
        forms = {
            path.name.split(".", 1)[1] for path in (dirty.landing / feed).glob(f"*/*/{feed}.*")
        }
        damages = [damage for damage in DAMAGES if forms & set(damage.forms)]
        names = {Path(answer["file"]).name.split(".")[0] for answer in of_feed}
        assert names == {feed, *(f"{feed}_{damage.name}" for damage in damages)}
        rules = {answer["rule"] for answer in of_feed}
        assert rules >= {quirk.rule for quirk in QUIRKS if forms & set(quirk.forms)}
        assert rules >= {"duplicate", "white_space", "required"}
    values = {answer["rule"] for answer in answers if answer["column"]}
    assert values >= {"allowed", "max_length", "pattern", "range", "required", "type"}


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    """One row for each flaw of each column of each contract, whether the market sends it or not."""
    settings = Settings(home=tmp_path_factory.mktemp("flawed"), memory_limit="1GB")
    for feed in feeds():
        possible = flaws(feed, tuple(load(feed).names))
        assert {flaw.column for flaw in possible} == set(load(feed).names)
        place, table = np.arange(len(possible)), sound_rows(feed, 2 * len(possible))
        rows = np.arange(table.num_rows)
        for form in ("csv", "jsonl", "parquet"):
            sending = Sending(feed, form, DAY, feed, form)
            sent, key = with_flaws(sending, table, rows, place, as_columns(possible))
            land(sent, settings.landing / sending.folder, feed, form)
            write_parquet(key, settings.truth / "dirt" / f"{feed}-{form}.parquet")
    ingest(settings, DAY)
    return settings


def sound_rows(feed: str, count: int) -> pa.Table:
    """Return rows that differ in a column of their key, as a market sends them."""
    rows = [good(feed) | {DIFFERING[feed]: f"x-{number}"} for number in range(count)]
    table = received(feed, rows)
    for number, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            joined = pc.binary_join(table[field.name], "|")
            table = table.set_column(number, field.name, joined)
    return table


def test_each_flaw_breaks_its_own_rule_and_no_other(flawed):
    assert_exactly_the_key_is_set_aside(flawed)
    assert {answer["feed"] for answer in answer_key(flawed)} == set(feeds())


def test_the_same_seed_gives_the_same_dirt_in_any_number_of_threads(dirty, tmp_path):
    again = landed(tmp_path, ALL_OF_IT, threads=1)
    for folder in ("landing", "truth"):
        assert bytes_below(again.home / folder) == bytes_below(dirty.home / folder)


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan", "much"])
def test_a_share_that_is_none_is_wrong_use(share, capsys):
    assert main(["simulate", "--start", "2026-01-31", "--corruption", share]) == 2
    assert "no share between 0 and 1" in capsys.readouterr().err
