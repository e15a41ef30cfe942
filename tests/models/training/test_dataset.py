"""Labels use what was known before the anchor; a row's presence does not depend on its label."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.training.dataset import KEYS, find_anchor, load_examples
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


def load_label(home, label, events, *, as_of, segment="consumer", since=None) -> float | None:
    """Return the label of one lead of 2025-01-06, or None if it is no example.

    `events`: (event, day it happened[, day it was recorded]); `since`: of the market's first lead.
    """
    settings = write_events(home, events, segment=segment, since=since)
    found = load_examples(settings, DAY, label, as_of=as_of)["label"].to_pylist()
    return found[0] if found else None


def load_defaulted(home, events, as_of) -> pa.Table:
    return load_examples(write_events(home, events), DAY, "defaulted", as_of=as_of)


def write_events(home, events, *, segment="consumer", since=None) -> Settings:
    pair = PAIR | {"business_date": LEAD_ON, "segment": segment}
    first = pair | {"lead_id": "first lead", "business_date": since or LEAD_ON}
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


def load_weight(home, events, *, as_of) -> float:
    return load_defaulted(home, events, as_of)["weight"].to_pylist()[0]


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
def test_anchor_is_the_monday_on_or_before_the_day(day, expected):
    assert find_anchor(day) == expected


def test_latest_decision_counts(tmp_path):
    events = [("approved", after(1)), ("declined", after(1), after(3))]
    assert load_label(tmp_path, "approved", events, as_of=after(30)) == 0.0


def test_correction_counts_once_it_is_known(tmp_path):
    events = [("approved", after(1)), ("declined", after(1), after(40))]
    assert load_label(tmp_path, "approved", events, as_of=after(40)) == 1.0
    assert load_label(tmp_path, "approved", events, as_of=after(41)) == 0.0


@pytest.mark.parametrize("decision", ["approved", "declined"])
def test_fast_decision_waits_as_long_as_slow_ones(tmp_path, decision):
    events = [(decision, after(0))]
    old = after(-60)
    assert load_label(tmp_path, "approved", events, as_of=after(7), since=old) is None
    assert load_label(tmp_path, "approved", events, as_of=after(8), since=old) is not None


def test_decision_waits_one_day_in_a_young_market(tmp_path):
    events = [("approved", after(0))]
    assert load_label(tmp_path, "approved", events, as_of=after(1)) is None
    assert load_label(tmp_path, "approved", events, as_of=after(2)) == 1.0
    assert load_label(tmp_path, "approved", events, as_of=after(2), since=after(-25)) == 1.0
    assert load_label(tmp_path, "approved", events, as_of=after(2), since=after(-26)) is None


@pytest.mark.parametrize("events", [[], [("funded", after(3))]], ids=["not funded", "funded"])
def test_approval_counts_after_the_take_up_period(tmp_path, events):
    events = [("approved", after(1)), *events]
    assert load_label(tmp_path, "funded", events, as_of=after(8)) is None
    expected = float(len(events) - 1)
    assert load_label(tmp_path, "funded", events, as_of=after(9)) == expected


def test_take_up_period_of_a_business_is_longer(tmp_path):
    events = [("approved", after(1)), ("funded", after(20))]
    assert load_label(tmp_path, "funded", events, as_of=after(90)) == 0.0
    assert load_label(tmp_path, "funded", events, as_of=after(90), segment="business") == 1.0


def test_loan_funded_after_the_take_up_period_does_not_count(tmp_path):
    events = [("approved", after(1)), ("funded", after(50))]
    assert load_label(tmp_path, "funded", events, as_of=after(90)) == 0.0


@pytest.mark.parametrize("events", [[], [("overdue_90", after(20))]], ids=["no default", "default"])
def test_loan_counts_from_its_second_month_with_any_outcome(tmp_path, events):
    events = [("funded", after(1)), *events]
    assert load_label(tmp_path, "defaulted", events, as_of=after(38)) is None
    assert load_label(tmp_path, "defaulted", events, as_of=after(39)) == len(events) - 1


def test_default_counts_after_the_reporting_delay(tmp_path):
    events = [("funded", after(1)), ("overdue_90", after(150))]
    assert load_label(tmp_path, "defaulted", events, as_of=after(157)) == 0.0
    assert load_label(tmp_path, "defaulted", events, as_of=after(158)) == 1.0


def test_weight_rises_with_age_up_to_one_at_the_horizon(tmp_path):
    weights = [
        load_weight(tmp_path, [("funded", after(1))], as_of=after(days))
        for days in (60, 150, 300, 373, 600)
    ]
    assert weights[0] < weights[1] < weights[2] < 1
    assert weights[3:] == [1.0, 1.0]


def test_loan_in_arrears_counts_in_part_as_either_class(tmp_path):
    rows = load_defaulted(tmp_path, [("funded", after(1)), ("overdue_30", after(100))], after(120))
    assert rows["label"].to_pylist() == [1.0, 0.0]
    assert sum(rows["weight"].to_pylist()) == 1.0


def test_default_after_the_horizon_does_not_count(tmp_path):
    events = [("funded", after(1)), ("overdue_90", after(400))]
    assert load_label(tmp_path, "defaulted", events, as_of=DAY) == 0.0


def test_closed_portfolio_counts_how_loans_ended(tmp_path):
    assert load_label(tmp_path, "charged_off", [("repaid", after(300))], as_of=DAY) == 0.0
    assert load_label(tmp_path, "charged_off", [("overdue_90", after(300))], as_of=DAY) == 1.0
    assert load_label(tmp_path, "charged_off", [("funded", after(1))], as_of=DAY) is None


def test_later_knowledge_changes_no_example(tmp_path, market):
    as_of = date(2026, 10, 5)
    then = load_examples(market, DAY, "approved", as_of=as_of)
    folder = market.day_folder(market.marts, DAY)
    outcomes = pq.read_table(folder / "outcomes.parquet")
    start = pa.scalar(market.day_start(as_of), outcomes.schema.field("known_at").type)
    known = outcomes.filter(pc.less(outcomes["known_at"], start))
    assert 0 < known.num_rows < outcomes.num_rows
    without = write_marts(tmp_path, DAY, outcomes=known)
    assert load_examples(without, DAY, "approved", as_of=as_of).equals(then)


def test_examples_are_sorted_by_their_keys(market):
    table = load_examples(market, DAY, "approved", as_of=date(2026, 11, 16))
    assert table.num_rows > 1000
    assert table.equals(table.sort_by([(key, "ascending") for key in KEYS]))


def test_missing_marts_are_an_error(tmp_path):
    with pytest.raises(InputMissing, match="marts"):
        load_examples(Settings(home=tmp_path), DAY, "approved", as_of=DAY)
