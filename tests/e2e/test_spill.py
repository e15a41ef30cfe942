"""A day whose large steps exceed their memory is the same day, step by step in one process."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dags.steps import run_step
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.simulate import SimulationPlan, simulate
from tests.e2e.market import MONDAY
from tests.helpers.spills import run_spilling

PLAN = SimulationPlan(MONDAY, 1, leads_per_day=16_000, institutions=12, channels=3, seed=1)
SPILLING = {"collect", "intermediate", "marts", "score", "match", "deliver", "report"}
"""Steps with more rows than the least memory holds; the others keep few rows in DuckDB."""
STEPS = (
    *("plan_ingest", "ingest", "collect", "staging", "intermediate", "features", "marts", "train"),
    *("score", "match", "sign_off", "plan_deliver", "deliver", "follow_up", "send", "report"),
    "close",
)
PLANNED_BY = {"ingest": "plan_ingest", "deliver": "plan_deliver"}

Run = Callable[[Callable[[Settings], Any]], Any]


def run_day(run: Run) -> Iterator[str]:
    """Run each task of the day by `run`; yield the name of its step."""
    results = {}
    for step in STEPS:
        shards = results[PLANNED_BY[step]] if step in PLANNED_BY else [None]
        for shard in shards:
            arguments = [] if shard is None else [shard]
            results[step] = run(partial(_run_task, step, arguments))
            yield step


def _run_task(step: str, shard: list[Any], settings: Settings) -> Any:
    return run_step(step, settings, MONDAY, *shard)


def published(settings: Settings) -> dict[str, str]:
    """Return the hash of each published folder."""
    manifests = settings.home.glob(f"*/**/date={MONDAY}/**/manifest.json")
    return {
        f"{path.parent.relative_to(settings.home)}": read_manifest(path.parent)["content_sha256"]
        for path in manifests
        if path.relative_to(settings.home).parts[0] != "reports"  # which state the run's own cost
    }


@pytest.mark.prove  # the layers of dbt spill in tests/transform/test_spill.py
def test_a_day_that_spills_is_the_same_day(tmp_path: Path):
    small, usual = (Settings(home=tmp_path / name, threads=1) for name in ("small", "usual"))
    spilled = set()

    def run_small(task: Callable[[Settings], Any]) -> Any:
        result, has_spilled = run_spilling(small, task)
        if has_spilled:
            spilled.add(task.args[0])  # type: ignore[attr-defined]
        return result

    for settings in (small, usual):
        simulate(settings, PLAN)
    steps = list(run_day(run_small))
    assert steps == list(run_day(lambda task: task(usual)))
    assert spilled >= SPILLING
    assert published(small) == published(usual)
    assert len(published(small)) > 30
