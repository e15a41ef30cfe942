"""The metrics are read by Prometheus' own parser, and dashboard and rules ask only for these."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import parse

from dags.steps import run_step
from pipelines.core.errors import BanyanError
from pipelines.core.settings import PROJECT, Settings
from pipelines.core.step_measurements import measure_step, read_measurements
from pipelines.reports.metrics import write_metrics
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY

MONITORING = PROJECT / "docs" / "monitoring"


def read_metrics(path: Path) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return metric -> labels -> value."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(path.read_text("utf-8")):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_a_run_leaves_the_metrics_of_its_last_date(ran: CompletedRun):
    metrics = read_metrics(ran.home / "metrics" / "banyan.prom")
    leads = {dict(labels)["end"]: count for labels, count in metrics["banyan_leads"].items()}
    assert leads == {end: ran.figures[f"{MONDAY}"][end] for end in leads}
    assert leads["received"] == sum(leads.values()) - leads["received"]
    steps = {dict(labels)["step"] for labels in metrics["banyan_step_seconds"]}
    assert {"ingest", "marts", "match", "deliver", "report", "close"} <= steps
    assert all(value > 0 for value in metrics["banyan_step_peak_bytes"].values())
    assert sum(metrics["banyan_verdict"].values()) == 1
    assert metrics["banyan_failed_steps"] == {(): 0}


def test_no_value_of_a_person_is_in_the_metrics(ran: CompletedRun):
    leads = pq.read_table(ran.home / "lake" / "leads" / f"date={MONDAY}" / "leads.parquet")
    values = {
        value
        for column in ("lead_id", "phone", "id_number", "device_id", "full_name")
        for value in leads[column].to_pylist()
        if value
    }
    labels = {
        value
        for samples in read_metrics(ran.home / "metrics" / "banyan.prom").values()
        for sample in samples
        for _, value in sample
    }
    assert len(values) > 100
    assert not values & labels


def test_an_earlier_date_leaves_the_metrics_of_a_later_one(ran: CompletedRun, tmp_path):
    settings = Settings(home=copy_home(ran.home, tmp_path / "home"))
    before = (settings.metrics / "banyan.prom").read_bytes()
    write_metrics(settings, SUNDAY)
    assert (settings.metrics / "banyan.prom").read_bytes() == before
    write_metrics(settings, MONDAY + timedelta(days=1))
    metrics = read_metrics(settings.metrics / "banyan.prom")
    assert "banyan_leads" not in metrics
    assert metrics["banyan_failed_steps"] == {(): 0}


def test_a_failed_step_is_in_the_metrics(tmp_path):
    settings = Settings(home=tmp_path)
    with pytest.raises(BanyanError):
        run_step("match", settings, SUNDAY)
    metrics = read_metrics(settings.metrics / "banyan.prom")
    assert metrics["banyan_failed_steps"] == {(): 1}
    assert metrics["banyan_step_succeeded"] == {(("step", "match"),): 0}


def test_the_peak_of_a_step_is_its_own(tmp_path):
    settings = Settings(home=tmp_path)
    with measure_step(settings, SUNDAY, "large", None):
        content = bytearray(400_000_000)
        content[::4096] = b"1" * len(content[::4096])
        del content
    with measure_step(settings, SUNDAY, "small", None):
        pass
    large, small = read_measurements(settings, SUNDAY)
    assert large.peak_bytes - small.peak_bytes > 300_000_000


def queries() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    rules = yaml.safe_load((MONITORING / "alert_rules.yml").read_text("utf-8"))
    return [
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
    ]


@pytest.mark.parametrize("query", queries())
def test_a_query_of_the_dashboard_or_of_a_rule_is_promql_on_metrics_that_exist(
    query,
    ran: CompletedRun,
):
    parse(query)
    names = set(re.findall(r"banyan_\w+", query))
    existing = set(read_metrics(ran.home / "metrics" / "banyan.prom")) | {"banyan_drift_figures"}
    assert names
    assert names <= existing
