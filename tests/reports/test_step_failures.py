"""A step that did not finish says why in the day's report, until it is done."""

import json

import pytest

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures, record_failure
from tests.helpers.published_day import DAY
from tests.reports.conftest import make


def fail(settings: Settings, step: str, error: Exception, shard: object = ()) -> None:
    with pytest.raises(type(error)), record_failure(settings, DAY, step, shard):
        raise error


def test_the_report_tells_why_a_step_refused(settings: Settings):
    fail(settings, "marts", IntegrityError("3 of 40 tests failed; see target/run_results.json"))
    found = make(settings)
    assert found.returned["state"] == "incomplete"
    assert found.quality["findings"][0]["what"] == "marts did not finish"
    assert "3 of 40 tests failed" in found.page


def test_words_of_a_foreign_error_are_not_kept_for_they_may_quote_a_row(tmp_path):
    settings = Settings(home=tmp_path)
    fail(settings, "score", ValueError("cannot cast Ouyang Xiaofei"))
    assert read_step_failures(settings, DAY) == [("score", "stopped by ValueError")]


def test_a_step_that_is_done_takes_its_own_note_away(tmp_path):
    settings = Settings(home=tmp_path)
    fail(settings, "deliver", IntegrityError("one"), [1])
    fail(settings, "deliver", IntegrityError("two"), [2])
    with record_failure(settings, DAY, "deliver", [1]):
        pass
    assert read_step_failures(settings, DAY) == [("deliver", "two")]


def test_new_shards_forget_the_notes_of_the_old_ones(tmp_path):
    settings = Settings(home=tmp_path)
    fail(settings, "ingest", IntegrityError("a shard that is no more"), {"shard": 7})
    with record_failure(settings, DAY, "plan_ingest", ()):
        pass
    assert read_step_failures(settings, DAY) == []


@pytest.mark.parametrize("step", ["report", "close"])
def test_what_runs_after_the_report_leaves_no_note_for_the_next_one(tmp_path, step: str):
    settings = Settings(home=tmp_path)
    fail(settings, step, IntegrityError("later"))
    assert read_step_failures(settings, DAY) == []


def test_a_failure_that_was_mended_leaves_no_trace_in_the_report(settings: Settings):
    before = make(settings)
    fail(settings, "match", IntegrityError("for a while"))
    assert make(settings) != before
    with record_failure(settings, DAY, "match", ()):
        pass
    assert json.dumps(make(settings).quality) == json.dumps(before.quality)
