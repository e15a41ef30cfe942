"""Metrics of the newest date for Prometheus: steps, leads, verdict, models, deliveries, disk.

`metrics/banyan.prom` is in Prometheus' text format, for the textfile collector of its node exporter
(https://github.com/prometheus/node_exporter). It is written again after each step, whole. What it
says of the day's content comes from the day's `quality.json`; before the report it has the steps
only. Labels are names of steps, stages, feeds and institutions: never of a person.
"""

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures
from pipelines.core.step_measurements import Measurement, read_measurements
from pipelines.reports.reconcile_day import read_quality

FILE = "banyan.prom"
FOLDERS = ("marts", "pairs", "matches", "offers", "unmatched", "reasons", "outbox", "reports")
"""Folders of the home whose partition of the day is measured."""


def write_metrics(settings: Settings, day: date) -> Path:
    """Write the metrics of `day` and return the file's path.

    A date before the one that the file is about leaves it unchanged: a backfill of old dates must
    not look like an outage.
    """
    path = settings.metrics / FILE
    if _date_of(path) > f"{day}":
        return path
    settings.metrics.mkdir(parents=True, exist_ok=True)
    gauges = _Gauges()
    _add_steps(gauges, settings, day)
    _add_disk(gauges, settings, day)
    if quality := read_quality(settings, day):
        _add_verdict(gauges, quality)
        _add_rows(gauges, quality)
        _add_matching(gauges, quality["matching"])
        _add_settlement(gauges, quality.get("settlement", {}))
        _add_models(gauges, quality, day)
    write_to_textfile(str(path), gauges.registry)
    (settings.metrics / "date").write_text(f"{day}", encoding="ascii")
    return path


class _Gauges:
    """A set of gauges, each made when its first value is added."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}

    def add(self, name: str, text: str, value: float, **labels: str) -> None:
        """Add `value` to the gauge `name` with these labels; equal labels are added up."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, text, list(labels), registry=self.registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).inc(value)


def _date_of(path: Path) -> str:
    """Return the date that the metrics at `path` are about; empty if there are none."""
    try:
        return (path.parent / "date").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _add_steps(gauges: _Gauges, settings: Settings, day: date) -> None:
    """Add the cost, the counts and the failures of each step; the shards of one are added up."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    gauges.add("banyan_business_date_timestamp_seconds", "Date of these metrics", midnight)
    gauges.add("banyan_metrics_timestamp_seconds", "Time of these metrics", time.time())
    shards: dict[str, list[Measurement]] = {}
    for each in read_measurements(settings, day):
        shards.setdefault(each.step, []).append(each)
        for name, value in each.counts.items():
            gauges.add("banyan_step_count", "Counts of the step", value, step=each.step, count=name)
    for step, runs in shards.items():
        figures = (
            ("seconds", "Seconds of the last run", sum(each.seconds for each in runs)),
            ("cpu_seconds", "Processor seconds", sum(each.cpu_seconds for each in runs)),
            ("peak_bytes", "Peak resident memory", max(each.peak_bytes for each in runs)),
            ("finished_timestamp_seconds", "Time of the end", runs[-1].finished_at),
            ("succeeded", "1 if the last run succeeded", min(each.succeeded for each in runs)),
        )
        for name, text, value in figures:
            gauges.add(f"banyan_step_{name}", text, float(value), step=step)
    failures = {step for step, _ in read_step_failures(settings, day)}
    gauges.add("banyan_failed_steps", "Steps of the date that have failed", len(failures))


def _add_disk(gauges: _Gauges, settings: Settings, day: date) -> None:
    for name in FOLDERS:
        files = settings.day_folder(settings.home / name, day).rglob("*")
        size = sum(path.stat().st_size for path in files if path.is_file())
        gauges.add("banyan_published_bytes", "Bytes published for the date", size, folder=name)


def _add_verdict(gauges: _Gauges, quality: Mapping[str, Any]) -> None:
    for name in ("fit", "remarks", "not_fit"):
        is_it = float(quality["verdict"] == name)
        gauges.add("banyan_verdict", "1 for the verdict of the date", is_it, verdict=name)
    for finding in quality["findings"]:
        labels = {"id": finding["id"], "severity": finding["severity"]}
        gauges.add("banyan_findings", "Findings of the report", 1, **labels)


def _add_rows(gauges: _Gauges, quality: Mapping[str, Any]) -> None:
    for source in quality["intake"]:
        for end in ("received", "loaded", "duplicates", "quarantined"):
            labels = {"feed": source["feed"], "end": end}
            gauges.add("banyan_rows", "Rows of landed files", source[end], **labels)
    for group in quality["quarantine"]:
        labels = {"feed": group["feed"], "rule": group["rule"]}
        gauges.add("banyan_quarantined_rows", "Rows by reason", group["rows"], **labels)


def _add_matching(gauges: _Gauges, matching: Mapping[str, Any]) -> None:
    for end, count in (matching["leads"] or {}).items():
        gauges.add("banyan_leads", "Leads of the date, by where they ended", count, end=end)
    for stage in matching["stages"]:
        labels = {"stage": stage["name"], "detail": stage["detail"]}
        gauges.add("banyan_unmatched_leads", "Leads without a match", stage["count"], **labels)
    if matching["matches"] is not None:
        gauges.add("banyan_matches", "Matches of the date", matching["matches"])
    if matching["gap"] is not None:
        gauges.add("banyan_plan_gap_ratio", "Certified gap of the plan", matching["gap"])
    for state in ("delivered", "held_back"):
        files = [each for each in matching["deliveries"] if _state(each) == state]
        gauges.add("banyan_deliveries", "Lead files by state", len(files), state=state)


def _add_settlement(gauges: _Gauges, settlement: Mapping[str, Any]) -> None:
    if not settlement.get("is_published"):
        return
    for state in ("open", "expired"):
        text = "Recent deliveries without an accepted receipt; expired: too long"
        gauges.add("banyan_unacknowledged_deliveries", text, settlement[state], state=state)
    for state in ("open", "overdue"):
        text = "Withdrawal notices that are not acknowledged; overdue: past their deadline"
        gauges.add("banyan_notices", text, settlement[f"notices_{state}"], state=state)


def _state(delivery: Mapping[str, Any]) -> str:
    return "delivered" if delivery["version"] else "held_back"


def _add_models(gauges: _Gauges, quality: Mapping[str, Any], day: date) -> None:
    for champion in (quality["model_set"] or {}).get("champions", []):
        days = (day - date.fromisoformat(champion["trained_as_of"])).days
        text = "Days since the champion was trained"
        gauges.add("banyan_champion_age_days", text, days, model=champion["model"])
    for figure in (quality["drift"] or {}).get("figures", []):
        labels = {"topic": figure["topic"], "state": figure["state"]}
        gauges.add("banyan_drift_figures", "Drift figures by state", 1, **labels)
