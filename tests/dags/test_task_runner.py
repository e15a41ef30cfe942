"""A task finds its business date, whoever started its run, and tells no value when it breaks."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from airflow.timetables.base import TimeRestriction

from dags.daily_match import daily_match
from dags.retrain_models import retrain_models
from dags.steps import format_counts
from dags.task_runner import business_date, redact_values

SHANGHAI = ZoneInfo("Asia/Shanghai")


def context(**given):
    run = SimpleNamespace(run_after=datetime(2026, 3, 6, 1, tzinfo=SHANGHAI))
    return {"params": {"business_date": None}, "dag_run": run} | given


def test_a_scheduled_run_is_for_the_date_that_its_interval_covers():
    restriction = TimeRestriction(datetime(2026, 3, 5, tzinfo=SHANGHAI), None, True)
    info = daily_match().timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=restriction
    )
    started = context(logical_date=info.logical_date)
    assert business_date(started, SHANGHAI) == date(2026, 3, 5)
    assert info.data_interval.start == datetime(2026, 3, 5, tzinfo=SHANGHAI)
    assert info.data_interval.end == datetime(2026, 3, 6, tzinfo=SHANGHAI)


def test_the_weekly_training_is_for_the_monday_that_has_just_been_matched():
    tuesday = TimeRestriction(datetime(2026, 3, 3, tzinfo=SHANGHAI), None, True)
    info = retrain_models().timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=tuesday
    )
    assert info.run_after == datetime(2026, 3, 3, 4, tzinfo=SHANGHAI)
    assert business_date(context(logical_date=info.logical_date), SHANGHAI) == date(2026, 3, 2)


def test_the_date_is_the_platforms_whatever_zone_the_moment_is_told_in():
    moment = datetime(2026, 3, 4, 16, 0, tzinfo=UTC)  # midnight in Shanghai
    assert business_date(context(logical_date=moment), SHANGHAI) == date(2026, 3, 5)


def test_a_person_who_asks_for_a_date_gets_it():
    asked = context(params={"business_date": "2026-01-31"}, logical_date=datetime.now(UTC))
    assert business_date(asked, SHANGHAI) == date(2026, 1, 31)


def test_a_run_started_by_hand_without_a_date_is_for_the_last_whole_day():
    assert business_date(context(), SHANGHAI) == date(2026, 3, 5)


def test_an_unforeseen_error_is_told_without_what_it_quotes():
    told = redact_values("Could not convert '110101199003077598' of \"Li Lei\" at 13800138000")
    assert told == "Could not convert ... of ... at ..."


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
def test_a_steps_counts_become_one_line(counts, line):
    assert format_counts(counts) == line
