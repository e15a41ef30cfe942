"""Labels are what was known before the anchor; what they became never decides who is in."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.training.dataset import KEYS, anchor, examples
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts

ZONE = ZoneInfo("Asia/Shanghai")
DAY = date(2026, 11, 20)
LEAD_ON = date(2025, 1, 6)
PAIR = {"channel_id": "c", "lead_id": "l", "institution_id": "i", "product_id": "p"}


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=ZONE)


def label_of(home, label, events, *, as_of, segment="consumer", since=None) -> float | None:
    """Return the label of one lead of 2025-01-06, or None where it is not an example.

    `events`: (event, day it happened[, day it was recorded]); `since`: of the market's first lead.
    """
    settings = told_of(home, events, segment=segment, since=since)
    found = examples(settings, DAY, label, as_of=as_of)["label"].to_pylist()
    return found[0] if found else None


def defaulted(home, events, as_of) -> pa.Table:
    return examples(told_of(home, events), DAY, "defaulted", as_of=as_of)


def told_of(home, events, *, segment="consumer", since=None) -> Settings:
    pair = PAIR | {"business_date": LEAD_ON, "segment": segment}
    first = pair | {"lead_id": "the first", "business_date": since or LEAD_ON}
    outcomes = [
        PAIR
        | {"event": event, "event_at": noon(at[0])}
        | dict.fromkeys(["recorded_at", "known_at"], noon(at[-1]))
        for event, *at in events
    ]
    return write_marts(
        home,
        DAY,
        training_pairs=pa.Table.from_pylist([pair, first], SCHEMAS["training_pairs"]),
        outcomes=pa.Table.from_pylist(outcomes, SCHEMAS["outcomes"]),
    )


def weight_of(home, events, *, as_of) -> float:
    return defaulted(home, events, as_of)["weight"].to_pylist()[0]


def after(days: int) -> date:
    return LEAD_ON + timedelta(days=days)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 11, 16), date(2026, 11, 16)),
        (date(2026, 11, 22), date(2026, 11, 16)),
        (date(2026, 11, 23), date(2026, 11, 23)),
    ],
)
def test_a_day_belongs_to_the_monday_on_or_before_it(day, expected):
    assert anchor(day) == expected


def test_the_last_word_on_an_application_counts(tmp_path):
    events = [("approved", after(1)), ("declined", after(1), after(3))]
    assert label_of(tmp_path, "approved", events, as_of=after(30)) == 0.0


def test_a_correction_that_is_not_known_yet_does_not_count(tmp_path):
    events = [("approved", after(1)), ("declined", after(1), after(40))]
    assert label_of(tmp_path, "approved", events, as_of=after(40)) == 1.0
    assert label_of(tmp_path, "approved", events, as_of=after(41)) == 0.0


@pytest.mark.parametrize("decision", ["approved", "declined"])
def test_a_quick_decision_waits_as_long_as_the_others(tmp_path, decision):
    events = [(decision, after(0))]
    old = after(-60)
    assert label_of(tmp_path, "approved", events, as_of=after(7), since=old) is None
    assert label_of(tmp_path, "approved", events, as_of=after(8), since=old) is not None


def test_in_a_young_market_a_decision_waits_one_day(tmp_path):
    events = [("approved", after(0))]
    assert label_of(tmp_path, "approved", events, as_of=after(1)) is None
    assert label_of(tmp_path, "approved", events, as_of=after(2)) == 1.0
    assert label_of(tmp_path, "approved", events, as_of=after(2), since=after(-25)) == 1.0
    assert label_of(tmp_path, "approved", events, as_of=after(2), since=after(-26)) is None


@pytest.mark.parametrize("events", [[], [("funded", after(3))]], ids=["not taken", "taken"])
def test_an_approval_counts_only_when_the_time_to_take_it_has_passed(tmp_path, events):
    events = [("approved", after(1)), *events]
    assert label_of(tmp_path, "funded", events, as_of=after(8)) is None
    expected = float(len(events) - 1)
    assert label_of(tmp_path, "funded", events, as_of=after(9)) == expected


def test_a_business_has_longer_to_take_an_approval_up(tmp_path):
    events = [("approved", after(1)), ("funded", after(20))]
    assert label_of(tmp_path, "funded", events, as_of=after(90)) == 0.0
    assert label_of(tmp_path, "funded", events, as_of=after(90), segment="business") == 1.0


def test_a_loan_taken_after_that_time_was_not_taken(tmp_path):
    events = [("approved", after(1)), ("funded", after(50))]
    assert label_of(tmp_path, "funded", events, as_of=after(90)) == 0.0


@pytest.mark.parametrize("events", [[], [("overdue_90", after(20))]], ids=["sound", "overdue"])
def test_a_loan_counts_from_its_second_month_on_whatever_became_of_it(tmp_path, events):
    events = [("funded", after(1)), *events]
    assert label_of(tmp_path, "defaulted", events, as_of=after(38)) is None
    assert label_of(tmp_path, "defaulted", events, as_of=after(39)) == len(events) - 1


def test_a_default_of_which_not_all_may_be_told_yet_does_not_count(tmp_path):
    events = [("funded", after(1)), ("overdue_90", after(150))]
    assert label_of(tmp_path, "defaulted", events, as_of=after(157)) == 0.0
    assert label_of(tmp_path, "defaulted", events, as_of=after(158)) == 1.0


def test_a_running_loan_weighs_by_its_age_and_one_that_ended_as_one(tmp_path):
    weights = [
        weight_of(tmp_path, [("funded", after(1))], as_of=after(days))
        for days in (60, 150, 300, 373, 600)
    ]
    assert weights[0] < weights[1] < weights[2] < 1
    assert weights[3:] == [1.0, 1.0]


def test_a_loan_that_is_behind_counts_in_part_as_either(tmp_path):
    told = defaulted(tmp_path, [("funded", after(1)), ("overdue_30", after(100))], after(120))
    assert told["label"].to_pylist() == [1.0, 0.0]
    assert sum(told["weight"].to_pylist()) == 1.0


def test_a_default_after_the_horizon_is_none(tmp_path):
    events = [("funded", after(1)), ("overdue_90", after(400))]
    assert label_of(tmp_path, "defaulted", events, as_of=DAY) == 0.0


def test_a_closed_book_counts_how_loans_ended(tmp_path):
    assert label_of(tmp_path, "charged_off", [("repaid", after(300))], as_of=DAY) == 0.0
    assert label_of(tmp_path, "charged_off", [("overdue_90", after(300))], as_of=DAY) == 1.0
    assert label_of(tmp_path, "charged_off", [("funded", after(1))], as_of=DAY) is None


def test_what_came_to_be_known_later_changes_no_example(tmp_path, market):
    as_of = date(2026, 10, 5)
    then = examples(market, DAY, "approved", as_of=as_of)
    folder = market.day_folder(market.marts, DAY)
    outcomes = pq.read_table(folder / "outcomes.parquet")
    start = pa.scalar(market.day_start(as_of), outcomes.schema.field("known_at").type)
    known = outcomes.filter(pc.less(outcomes["known_at"], start))
    assert 0 < known.num_rows < outcomes.num_rows
    without = write_marts(tmp_path, DAY, outcomes=known)
    assert examples(without, DAY, "approved", as_of=as_of).equals(then)


def test_examples_come_in_the_order_of_their_keys(market):
    table = examples(market, DAY, "approved", as_of=date(2026, 11, 16))
    assert table.num_rows > 1000
    assert table.equals(table.sort_by([(key, "ascending") for key in KEYS]))


def test_marts_that_are_not_there_are_asked_for(tmp_path):
    with pytest.raises(InputMissing, match="marts"):
        examples(Settings(home=tmp_path), DAY, "approved", as_of=DAY)
