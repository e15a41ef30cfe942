"""Equal rows give equal bytes, in any order and with any number of threads and shards."""

import random
import shutil

import pytest

from pipelines.core.publishing import sha256
from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from pipelines.ingest.reading import reader
from tests.helpers.landing import DAY, land, leads, path_of, row
from tests.ingest.published import counts, published


def rows():
    """Return leads that share keys: with another time, with another value, and exact copies."""
    return [
        *leads(60),
        *leads(20, captured_at="2026-11-20T02:00:00+00:00"),
        *leads(20, first=10, amount="12345"),
        *leads(20, first=30),
        *leads(5, first=100, amount="-1"),
        *leads(5, first=110, bureau_score="9999"),
    ]


def fill(settings, order):
    shuffled = rows()
    random.Random(order).shuffle(shuffled)
    half = len(shuffled) // 2
    for name, part in (("a.csv", shuffled[:half]), ("b.csv", shuffled[half:])):
        land(path_of(settings, "leads", "search", name=name), part)
    land(path_of(settings, "leads", "social"), leads(30))
    offers = [row("products", product_id=f"p{i}") for i in range(20)]
    random.Random(order).shuffle(offers)
    land(path_of(settings, "products", "bank_01"), offers)
    return settings


def lake(settings):
    ingest_day.ingest(settings, DAY)
    return hash_lake(settings)


def hash_lake(settings):
    return {
        feed: sha256(Settings.day_folder(settings.lake / feed, DAY) / f"{feed}.parquet")
        for feed in ("leads", "products")
    }


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """A home whose day is ingested; tests copy it."""
    home = Settings(home=tmp_path_factory.mktemp("reference"), threads=1, memory_limit="1GB")
    lake(fill(home, 0))
    return home


@pytest.fixture
def reference(ingested):
    return hash_lake(ingested)


def test_the_order_of_rows_does_not_change_the_lake(tmp_path, reference):
    # Rows are reversed within each file, because the lake has the name of the file of each row.
    home = Settings(home=tmp_path / "x", threads=1, memory_limit="1GB")
    fill(home, 0)
    for path in home.landing.rglob("*.csv"):
        header, *lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([header, *reversed(lines)]))
    assert lake(home) == reference


def test_threads_and_shards_do_not_change_a_published_byte(tmp_path, ingested, reference):
    many = Settings(home=tmp_path / "many", threads=4, memory_limit="1GB", shard_bytes=100)
    few = Settings(home=tmp_path / "few", threads=1, memory_limit="1GB")
    shards = [len(ingest_day.plan(fill(home, 0), DAY)) for home in (few, many)]
    assert shards == [2, 3]
    assert lake(many) == reference
    assert published(many) == published(ingested)


def test_the_size_of_batches_does_not_change_a_published_byte(tmp_path, monkeypatch, reference):
    monkeypatch.setattr(reader, "BATCH_ROWS", 40)
    home = Settings(home=tmp_path / "small", threads=2, memory_limit="1GB")
    assert lake(fill(home, 0)) == reference


def test_a_day_run_twice_gives_the_same_bytes(tmp_path, ingested):
    shutil.copytree(ingested.home, tmp_path / "x")
    home = Settings(home=tmp_path / "x", threads=2, memory_limit="1GB")
    lake(home)
    assert published(home) == published(ingested)


def test_of_rows_that_share_a_key_the_first_captured_is_loaded(ingested):
    search = counts(ingested)["search"]
    assert (search["received"], search["loaded"], search["duplicates"]) == (130, 65, 60)
    assert (search["quarantined"], search["emptied_values"]) == (5, 5)
