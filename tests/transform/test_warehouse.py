"""The warehouse is built completely, reports failures, and holds no personal data."""

import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml

from expectations.contracts import contracts, load
from pipelines.core.errors import BanyanError, InputMissing, IntegrityError
from pipelines.core.settings import Settings
from pipelines.transform.build import build_layer, publish_marts, transform
from pipelines.transform.parsed_project import PROJECT_FOLDER
from pipelines.transform.warehouse import LAYERS, build, generate_docs
from tests.helpers.lake import at, write_day, write_feed
from tests.transform.conftest import DAY, Market

LEAD = {"channel_id": "search", "lead_id": "L-4711"}


def unit_tests() -> dict[str, str]:
    """Return dbt's unit tests: name -> the table tested."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in PROJECT_FOLDER.glob("*/*.yml")]
    return {
        test["name"]: test["model"] for content in files for test in content.get("unit_tests", [])
    }


def test_every_unit_test_of_dbt_ran_and_passed(built: dict[str, Any]):
    assert sum(built[layer].get("unit_tests", 0) for layer in LAYERS) == len(unit_tests()) > 20


def test_every_table_of_features_has_a_unit_test():
    features = {path.stem for path in (PROJECT_FOLDER / "features").glob("*.sql")}
    assert len(features) >= 6
    assert features <= set(unit_tests().values())


@pytest.mark.usefixtures("built")
def test_no_table_holds_personal_or_protected_columns(market: Market):
    excluded = {
        column.name
        for contract in contracts()
        for column in contract.lake_columns
        if column.personal or column.protected
    }
    assert {"id_number", "phone", "gender"} <= excluded
    with duckdb.connect(str(market.settings.warehouse), read_only=True) as warehouse:
        columns = warehouse.sql("select column_name from information_schema.columns").fetchall()
    assert len(columns) > 200
    assert excluded.isdisjoint(name for (name,) in columns)


def test_a_first_day_with_only_leads_is_built_in_any_folder(tmp_path: Path):
    settings = Settings(home=tmp_path / "it's a [strange] {home}", threads=1)
    write_feed(settings, "leads", DAY, [LEAD])
    counts = transform(settings, DAY)
    assert counts["leads_to_match"] == counts["channels"] == 1
    assert counts["products"] == counts["training_pairs"] == counts["outcomes"] == 0


def test_a_day_without_ingest_raises_input_missing(home: Settings):
    with pytest.raises(InputMissing, match=r"lake/leads/date=2026-03-12 is not published"):
        transform(home, DAY)


def test_a_layer_without_the_earlier_one_raises_input_missing(home: Settings):
    write_day(home, DAY - timedelta(days=1))
    write_day(home, DAY)
    build(home, DAY - timedelta(days=1), "staging")
    with pytest.raises(InputMissing, match="doesn't have staging as of 2026-03-12"):
        build_layer(home, DAY, "intermediate")
    with pytest.raises(InputMissing, match="doesn't have intermediate, features, marts"):
        publish_marts(home, DAY - timedelta(days=1))


@pytest.mark.prove  # `make docs` writes it
def test_the_documentation_of_dbt_is_one_page_with_every_mart(tmp_path: Path):
    page = generate_docs(Settings(home=tmp_path)).read_text("utf-8")
    assert "model.banyan.training_pairs" in page
    assert load("leads")["amount"].description in page


def test_a_failed_test_is_reported_without_a_row_and_nothing_is_published(home: Settings):
    write_day(home, DAY, leads=[LEAD, LEAD | {"phone": "+8613800000000"}])
    with pytest.raises(IntegrityError) as error:
        transform(home, DAY)
    message = str(error.value)
    assert re.search(
        r"test unique_combination_of_columns_int_persons\w+ failed \(rows that break it: 1\)",
        message,
    )
    assert "layer intermediate could not be built for 2026-03-12" in message
    assert "4711" not in message
    assert not home.marts.exists()
    duckdb.connect(str(home.warehouse)).close()  # no lock is left behind


def test_a_failed_table_is_reported_with_the_kind_of_error_and_no_value(home: Settings):
    link = {"buyer_id": "b", "seller_id": "s", "month": "secret", "amount": 1.0}
    lead = LEAD | {"segment": "business", "id_number": "s"}
    day_before = at("2026-03-11 09:00")
    write_day(home, DAY - timedelta(days=1), supply_links=[link | {"recorded_at": day_before}])
    write_day(home, DAY, leads=[lead])
    with pytest.raises(
        IntegrityError, match=r"table int_supply__versions failed \(Conversion Error\)"
    ) as error:
        transform(home, DAY)
    assert "secret" not in str(error.value)


def test_a_warehouse_that_another_process_holds_is_reported(home: Settings):
    write_day(home, DAY)
    holder = (
        f"import duckdb, sys; warehouse = duckdb.connect({str(home.warehouse)!r});"
        "print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", holder], stdin=pipe, stdout=pipe) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BanyanError, match="is held by another process, so the layer staging"):
            build_layer(home, DAY, "staging")
        process.stdin.close()
    assert build_layer(home, DAY, "staging")["tables"] == 18


def test_a_new_column_is_null_in_an_older_partition(home: Settings):
    earlier = date(2026, 3, 10)
    write_feed(home, "leads", earlier, [LEAD | {"guaranteed_share": 0.5}])
    path = home.day_folder(home.lake / "leads", earlier) / "leads.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["guaranteed_share"]), path)
    write_day(home, DAY, leads=[LEAD | {"lead_id": "bob", "guaranteed_share": 0.75}])
    build(home, DAY, "staging")
    with duckdb.connect(str(home.warehouse)) as warehouse:
        shares = warehouse.sql("select lead_id, guaranteed_share from stg_lake__leads order by 1")
        assert shares.fetchall() == [("L-4711", None), ("bob", 0.75)]
