"""Layers that exceed their memory spill to disk, one after the other in one process."""

import shutil
from pathlib import Path

import duckdb
import pytest

from expectations.contracts import load
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.transform.build import build_layer, publish_marts
from tests.helpers.spills import watch_spills
from tests.transform.conftest import DAY, Market

TIMES = 600
"""Rows of the last day in the place of each one."""
LIMITS = {"intermediate": "40MB", "features": "28MB", "marts": "64MB"}
"""Layer -> a memory that is enough, and less than the tables of `SPILLING`."""
SPILLING = {"intermediate", "marts"}
"""Layers that spill here; the tables of features are sums over tables of the layer before."""
KEYS = ("lead_id", "id_number_sha256", "buyer_sha256", "seller_sha256")


@pytest.fixture
def large(market: Market, tmp_path: Path) -> Settings:
    """A copy of the market whose last day has many times the leads and supply links."""
    shutil.copytree(market.settings.lake, tmp_path / "lake")
    settings = Settings(home=tmp_path, threads=1)
    for feed in ("leads", "supply_links"):
        _repeat_rows(settings, feed)
    return settings


def _repeat_rows(settings: Settings, feed: str) -> None:
    """Repeat the rows of the last day, each as another lead or business."""
    folder, schema = settings.day_folder(settings.lake / feed, DAY), load(feed).lake_schema
    keys = ", ".join(f"{key} || '-' || n as {key}" for key in KEYS if key in schema.names)
    rows = duckdb.sql(
        f"select lake.* replace ({keys}) from read_parquet('{folder}/{feed}.parquet', "
        f"hive_partitioning = false) as lake cross join range({TIMES}) as numbers (n)"
    ).to_arrow_table()
    with publishing(folder, {"counts": {}}) as fresh:
        write_parquet(rows.cast(schema), fresh / f"{feed}.parquet")


def test_layers_spill_one_after_the_other_in_one_process(large: Settings):
    build_layer(large, DAY, "staging")  # views alone, which hold no row
    spilling = set()
    for layer, limit in LIMITS.items():
        small = large.model_copy(update={"memory_limit": limit})
        with watch_spills(large.home) as spilled:
            build_layer(small, DAY, layer)
        if spilled:
            spilling.add(layer)
    assert spilling >= SPILLING
    assert publish_marts(large, DAY)["leads"] == 20 * TIMES
