"""The steps of the day by name: what the DAG's tasks and the command line's verbs both run.

The order of the steps is not here: `dags/daily_match.py` is the only place that has it.
"""

from collections.abc import Callable
from datetime import date
from importlib import import_module
from typing import Any

from expectations.policy import PolicyError
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings

STEPS: dict[str, tuple[str, ...]] = {
    "plan_ingest": ("pipelines.ingest.plan",),
    "ingest": ("pipelines.ingest.ingest_shard",),
    "collect": ("pipelines.ingest.collect",),
    "staging": ("pipelines.transform.build.build_layer", "staging"),
    "intermediate": ("pipelines.transform.build.build_layer", "intermediate"),
    "features": ("pipelines.transform.build.build_layer", "features"),
    "marts": ("pipelines.transform.build.build_marts",),
    "train": ("pipelines.training.weekly.ensure",),
    "retrain": ("pipelines.training.weekly.retrain",),
    "score": ("pipelines.pairs.score_day.score",),
    "match": ("pipelines.matches.match_day.match",),
    "plan_deliver": ("pipelines.deliveries.deliver.shards",),
    "deliver": ("pipelines.deliveries.deliver.deliver",),
    "report": ("pipelines.reports.report",),
    "close": ("pipelines.reports.reconcile_day.close",),
}
"""Step -> its function, and arguments that follow `(settings, day)`."""


def run_step(name: str, settings: Settings, day: date, *arguments: Any) -> Any:
    """Run step `name` for business date `day` and return its counts (small, JSON-able).

    The step's module is imported only now, so that naming a step costs an Airflow parser
    nothing of dbt, pandas or LightGBM.

    Raises:
        BanyanError: The step refused; its text says what to do.
    """
    function, *fixed = STEPS[name]
    with _found("pipelines.core.step_failures.record_failure")(settings, day, name, arguments):
        try:
            return _found(function)(settings, day, *fixed, *arguments)
        except PolicyError as error:
            raise IntegrityError(
                f"{error}. The step {name} of {day} was not done, and what was published before "
                "stands. Mend the file, then run the date again."
            ) from None


def _found(function: str) -> Callable[..., Any]:
    module, _, name = function.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


MOST_FIGURES = 8
"""As many as a line of the terminal holds."""


def in_words(counts: object) -> str:
    """Return the first plain figures of a step's counts as one line: `rows 1,200, files 3`."""
    if not isinstance(counts, dict):
        return f"{len(counts)} shards" if isinstance(counts, list) else ""
    plain = {key: value for key, value in counts.items() if isinstance(value, int | float | str)}
    words = [f"{key.replace('_', ' ')} {_figure(value)}" for key, value in plain.items()]
    return ", ".join(words[:MOST_FIGURES])


def _figure(value: float | str) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
