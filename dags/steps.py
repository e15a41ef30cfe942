"""The steps of the day by name: the DAG's tasks and the verbs of the command line run them.

The order of the steps is in `dags/daily_match.py` and nowhere else. Each function imports its step
when it runs, so that naming a step costs Airflow's parser nothing of dbt, pandas or LightGBM.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any

from expectations.strict_model import ContractError
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.settings import Settings

log = logging.getLogger("banyan")

Shard = dict[str, Any]
"""A part of a step's work, as the step before it planned it."""


def _plan_ingest(settings: Settings, day: date) -> list[Shard]:
    from pipelines.ingest.plan import plan

    return plan(settings, day)


def _ingest(settings: Settings, day: date, shard: Shard) -> Any:
    from pipelines.ingest.shard import ingest_shard

    return ingest_shard(settings, day, shard)


def _collect(settings: Settings, day: date) -> Any:
    from pipelines.ingest.partitions import collect

    return collect(settings, day)


def _staging(settings: Settings, day: date) -> Any:
    from pipelines.transform.build import build_layer

    return build_layer(settings, day, "staging")


def _intermediate(settings: Settings, day: date) -> Any:
    from pipelines.transform.build import build_layer

    return build_layer(settings, day, "intermediate")


def _features(settings: Settings, day: date) -> Any:
    from pipelines.transform.build import build_layer

    return build_layer(settings, day, "features")


def _marts(settings: Settings, day: date) -> Any:
    from pipelines.transform.build import build_marts

    return build_marts(settings, day)


def _train(settings: Settings, day: date) -> Any:
    from pipelines.training.weekly import ensure

    return ensure(settings, day)


def _retrain(settings: Settings, day: date) -> Any:
    from pipelines.training.weekly import retrain

    return retrain(settings, day)


def _score(settings: Settings, day: date) -> Any:
    from pipelines.pairs.score_day import score

    return score(settings, day)


def _match(settings: Settings, day: date) -> Any:
    from pipelines.matches.match_day import match

    return match(settings, day)


def _sign_off(settings: Settings, day: date) -> Any:
    from expectations import policy

    if policy.sign_off().hold == "off":  # without the imports of a report
        return {"hold": "off", "state": "open"}
    from pipelines.reports.sign_off import hold_deliveries

    return hold_deliveries(settings, day)


def _plan_deliver(settings: Settings, day: date) -> list[Shard]:
    from pipelines.deliveries.deliver import plan_shards

    return plan_shards(settings, day)


def _deliver(settings: Settings, day: date, shard: Shard) -> Any:
    from pipelines.deliveries.deliver import deliver

    return deliver(settings, day, shard)


def _follow_up(settings: Settings, day: date) -> Any:
    from pipelines.billing.follow_up import follow_up

    return follow_up(settings, day)


def _send(settings: Settings, day: date) -> Any:
    from dags.sftp_connections import find_endpoint
    from pipelines.transport.send import send

    return send(settings, day, find_endpoint)


def _send_waiting(settings: Settings, day: date) -> Any:
    from dags.sftp_connections import find_endpoint
    from pipelines.billing.follow_up import follow_up
    from pipelines.deliveries.deliver import deliver_released
    from pipelines.reports.publish_report import report
    from pipelines.transport.send import RECENT_DAYS, send, send_waiting

    released = deliver_released(settings, day, RECENT_DAYS)
    for of in released:
        follow_up(settings, of)
        send(settings, of, find_endpoint)
    counts = send_waiting(settings, day, find_endpoint)
    arrived = {date.fromisoformat(each) for each in counts["dates_arrived"]}
    for of in sorted(arrived.union(released)):
        report(settings, of)
    return counts | {"dates_released": [f"{of}" for of in released]}


def _report(settings: Settings, day: date) -> Any:
    from pipelines.reports.publish_report import report

    return report(settings, day)


def _close(settings: Settings, day: date) -> Any:
    from pipelines.reports.reconcile_day import close_day

    return close_day(settings, day)


def _apply_retention(settings: Settings, day: date) -> Any:
    from pipelines.persons.retention import apply_retention

    return apply_retention(settings, day, by="the DAG apply_retention")


def _check_deadline(settings: Settings, day: date) -> Any:
    from pipelines.reports.reconcile_day import check_deadline

    return check_deadline(settings, day)


STEPS: dict[str, Callable[..., Any]] = {
    "plan_ingest": _plan_ingest,
    "ingest": _ingest,
    "collect": _collect,
    "staging": _staging,
    "intermediate": _intermediate,
    "features": _features,
    "marts": _marts,
    "train": _train,
    "retrain": _retrain,
    "score": _score,
    "match": _match,
    "sign_off": _sign_off,
    "plan_deliver": _plan_deliver,
    "deliver": _deliver,
    "follow_up": _follow_up,
    "send": _send,
    "send_waiting": _send_waiting,
    "report": _report,
    "close": _close,
    "apply_retention": _apply_retention,
    "check_deadline": _check_deadline,
}
"""Step name -> function of the settings and the business date; a mapped step also takes a shard."""


def run_step(name: str, settings: Settings, day: date, *shard: Shard) -> Any:
    """Run the step `name` for business date `day` and return its counts (small, JSON-able).

    Raises:
        BanyanError: The step refused; its text says what to do.
    """
    from pipelines.core.evidence.kept_policies import keep_policies
    from pipelines.core.home.schema_version import require_current
    from pipelines.core.library_errors import in_words
    from pipelines.core.step_failures import record_failure
    from pipelines.core.step_measurements import measure_step
    from pipelines.persons.replayed import take_published

    with in_words(settings):
        require_current(settings)
        keep_policies(settings)
        with (
            _metrics_after(settings, day),
            _logged_again(settings, day),
            measure_step(settings, day, name, shard) as measurement,
            record_failure(settings, day, name, shard),
            in_words(settings),  # the note of a failure has the words as well
        ):
            try:
                counts = STEPS[name](settings, day, *shard)
            except ContractError as error:
                raise IntegrityError(
                    f"{error}. The step {name} of {day} was not done, and the files published "
                    "before are unchanged. Correct the file, then run the date again."
                ) from None
            measurement.add_counts(counts)
            take_published(settings, day)
    return counts


@contextmanager
def _logged_again(settings: Settings, day: date) -> Iterator[None]:
    """Log what the block has published of a date that is in the publication log already."""
    from pipelines.core.evidence.publication_log import log_again

    try:
        yield
    except Exception:
        with suppress(IntegrityError, OSError):  # neither must hide the failure itself
            log_again(settings, day)
        raise
    log_again(settings, day)


@contextmanager
def _metrics_after(settings: Settings, day: date) -> Iterator[None]:
    """Write the metrics when the block has ended, in any way; they never fail a step."""
    from pipelines.reports.metrics import write_metrics

    try:
        yield
    finally:
        try:
            write_metrics(settings, day)
        except (OSError, LookupError, TypeError, ValueError, BanyanError) as error:
            log.warning("%s  the metrics were not written: %s", day, type(error).__name__)


def run_whole_step(name: str, settings: Settings, day: date) -> Any:
    """Run all tasks that belong to the step `name`, one after the other, and return the counts."""
    if name == "ingest":
        from pipelines.ingest.ingest_day import ingest

        return ingest(settings, day)
    if name == "transform":
        from pipelines.transform.build import transform

        return transform(settings, day)
    if name == "deliver":
        shards = run_step("plan_deliver", settings, day)
        return [run_step("deliver", settings, day, shard) for shard in shards]
    return run_step(name, settings, day)


MAX_FIGURES = 8
"""The number of figures that fit on a line of the terminal."""


def format_counts(counts: object) -> str:
    """Return the first single figures of a step's counts as a line: `rows 1,200, files 3`."""
    if not isinstance(counts, dict):
        return f"{len(counts)} shards" if isinstance(counts, list) else ""
    single = {key: value for key, value in counts.items() if isinstance(value, int | float | str)}
    figures = [f"{key.replace('_', ' ')} {_format(value)}" for key, value in single.items()]
    return ", ".join(figures[:MAX_FIGURES])


def _format(value: float | str) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
