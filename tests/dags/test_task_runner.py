"""A task finds the business date of every kind of run and redacts values in error texts."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from airflow.timetables.base import TimeRestriction

from dags.daily_match import daily_match
from dags.retrain_models import retrain_models
from dags.run_context import find_business_date
from dags.steps import format_counts
from dags.task_runner import redact_values

SHANGHAI = ZoneInfo("Asia/Shanghai")


def context(**fields):
    run = SimpleNamespace(run_after=datetime(2026, 3, 6, 1, tzinfo=SHANGHAI))
    return {"params": {"business_date": None}, "dag_run": run} | fields


def test_a_scheduled_run_is_for_the_date_of_its_interval():
    restriction = TimeRestriction(datetime(2026, 3, 5, tzinfo=SHANGHAI), None, True)
    info = daily_match().timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=restriction
    )
    scheduled = context(logical_date=info.logical_date)
    assert find_business_date(scheduled, SHANGHAI) == date(2026, 3, 5)
    assert info.data_interval.start == datetime(2026, 3, 5, tzinfo=SHANGHAI)
    assert info.data_interval.end == datetime(2026, 3, 6, tzinfo=SHANGHAI)


def test_the_weekly_training_is_for_the_last_matched_monday():
    tuesday = TimeRestriction(datetime(2026, 3, 3, tzinfo=SHANGHAI), None, True)
    info = retrain_models().timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=tuesday
    )
    assert info.run_after == datetime(2026, 3, 3, 4, tzinfo=SHANGHAI)
    assert find_business_date(context(logical_date=info.logical_date), SHANGHAI) == date(2026, 3, 2)


def test_the_date_is_in_the_platforms_time_zone():
    moment = datetime(2026, 3, 4, 16, 0, tzinfo=UTC)  # midnight in Shanghai
    assert find_business_date(context(logical_date=moment), SHANGHAI) == date(2026, 3, 5)


def test_the_parameter_has_precedence_over_the_logical_date():
    requested = context(params={"business_date": "2026-01-31"}, logical_date=datetime.now(UTC))
    assert find_business_date(requested, SHANGHAI) == date(2026, 1, 31)


def test_a_manual_run_without_a_date_is_for_the_last_complete_day():
    assert find_business_date(context(), SHANGHAI) == date(2026, 3, 5)


def test_quotations_and_long_numbers_of_an_error_are_redacted():
    text = redact_values("Could not convert '110101199003077598' of \"Li Lei\" at 13800138000")
    assert text == "Could not convert ... of ... at ..."


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"rows": 1200, "files": 3}, "rows 1,200, files 3"),
        ({"leads_to_match": 7, "by_stage": {"consent": 1}}, "leads to match 7"),
        ({"gap": 0.012346, "as_of": "2026-03-02"}, "gap 0.01235, as of 2026-03-02"),
        ([{"shard": 1}, {"shard": 2}], "2 shards"),
        (None, ""),
    ],
)
def test_counts_are_formatted_as_one_line(counts, line):
    assert format_counts(counts) == line
