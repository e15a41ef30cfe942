"""The delivery benchmark runs the daily job's steps on an invented day that keeps the contracts."""

import click
import pyarrow.parquet as pq
import pytest

from expectations.contracts import load
from pipelines.bench.benchmarks.deliveries.deliver import command
from pipelines.bench.benchmarks.deliveries.matched_day import DAY, write_matched_day
from pipelines.bench.shell import run_benchmark
from pipelines.core.settings import Settings
from pipelines.ingest.validation.great_expectations_gate import check_contract
from pipelines.matches.match_day import SCHEMA as MATCHES
from tests.helpers.mart_schemas import SCHEMAS


@pytest.mark.prove  # tests/deliveries/test_sealing.py has what the benchmark measures
def test_every_lead_is_delivered_sealed_signed_and_opened(tmp_path):
    options = ["--leads", "400", "--institutions", "7", "--history", "1"]
    figures = run_benchmark(command, Settings(home=tmp_path / "untouched"), options)
    assert figures["rows"] == figures["rows_opened"] == 400
    assert figures["seals"] == {"age": 3, "openpgp": 4}
    assert figures["formats"] == {"csv": 4, "parquet": 3}
    assert (figures["signed"], figures["files"]) == (7, 21)
    assert figures["steps"].keys() == {"plan_deliver", "deliver", "send"}
    for step in figures["steps"].values():
        assert min(step["seconds"], step["processor_seconds"], step["peak_mb"]) > 0
    assert figures["bytes"] > 0
    assert not (tmp_path / "untouched").exists()


def test_the_invented_day_keeps_the_contracts_and_is_the_same_again(tmp_path):
    first, again = (Settings(home=tmp_path / name) for name in ("first", "again"))
    for settings in (first, again):
        write_matched_day(settings, 300, 0, ["a key", "another key"], seed=3)
    for feed in ("leads", "institutions", "products", "suppressions"):
        file = first.day_folder(first.lake / feed, DAY) / f"{feed}.parquet"
        rows, contract = pq.read_table(file, partitioning=None), load(feed)
        assert rows.schema == contract.lake_schema
        assert check_contract(contract, rows).violations.num_rows == 0
        assert file.read_bytes() == (again.home / file.relative_to(first.home)).read_bytes()
    leads = pq.read_table(first.day_folder(first.lake / "leads", DAY) / "leads.parquet")
    for name in ("id_number_sha256", "phone_sha256", "person_key"):
        assert len(leads[name].unique()) == 300
    assert leads["is_id_valid"].to_pylist() == leads["is_phone_valid"].to_pylist() == [True] * 300
    marts, matches = (first.day_folder(root, DAY) for root in (first.marts, first.matches))
    for name in ("products", "product_rules"):
        assert pq.read_schema(marts / f"{name}.parquet") == SCHEMAS[name]
    assert pq.read_schema(matches / "matches.parquet") == MATCHES


@pytest.mark.parametrize("options", ["--leads 0", "--institutions 0", "--history -1"])
def test_a_day_without_leads_or_institutions_is_refused(options):
    with pytest.raises(click.UsageError):
        run_benchmark(command, Settings(), options.split())
