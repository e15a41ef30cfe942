"""The report lists a failed step with its message until the step succeeds."""

import json

import pytest

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures, record_failure
from tests.helpers.published_day import DAY
from tests.reports.conftest import publish_report


def fail(settings: Settings, step: str, error: Exception, shard: object = ()) -> None:
    with pytest.raises(type(error)), record_failure(settings, DAY, step, shard):
        raise error


def test_the_report_lists_a_failed_step_with_its_message(settings: Settings):
    fail(settings, "marts", IntegrityError("3 of 40 tests failed; see target/run_results.json"))
    found = publish_report(settings)
    assert found.returned["verdict"] == "not_fit"
    assert found.quality["findings"][0]["title"] == "marts did not finish"
    assert "3 of 40 tests failed" in found.page


def test_the_text_of_a_foreign_error_is_not_stored_because_it_may_quote_a_row(tmp_path):
    settings = Settings(home=tmp_path)
    fail(settings, "score", ValueError("cannot cast Ouyang Xiaofei"))
    assert read_step_failures(settings, DAY) == [("score", "stopped by ValueError")]


def test_a_successful_step_removes_its_own_note(tmp_path):
    settings = Settings(home=tmp_path)
    fail(settings, "deliver", IntegrityError("one"), [1])
    fail(settings, "deliver", IntegrityError("two"), [2])
    with record_failure(settings, DAY, "deliver", [1]):
        pass
    assert read_step_failures(settings, DAY) == [("deliver", "two")]


def test_planning_removes_the_notes_of_earlier_shards(tmp_path):
    settings = Settings(home=tmp_path)
    fail(settings, "ingest", IntegrityError("an earlier shard"), {"shard": 7})
    with record_failure(settings, DAY, "plan_ingest", ()):
        pass
    assert read_step_failures(settings, DAY) == []


@pytest.mark.parametrize("step", ["report", "close"])
def test_a_step_after_the_report_leaves_no_note(tmp_path, step: str):
    settings = Settings(home=tmp_path)
    fail(settings, step, IntegrityError("later"))
    assert read_step_failures(settings, DAY) == []


def test_a_repaired_failure_leaves_no_trace_in_the_report(settings: Settings):
    before = publish_report(settings)
    fail(settings, "match", IntegrityError("for a while"))
    assert publish_report(settings) != before
    with record_failure(settings, DAY, "match", ()):
        pass
    assert json.dumps(publish_report(settings).quality) == json.dumps(before.quality)
