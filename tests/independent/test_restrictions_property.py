"""Property: no edit of the files that restrict delivers a person that the intact files forbid.

Each example is a small market of its own: a platform with its list of institutions and its orders,
two channels, two lenders with catalogues and rules. One to four random edits fall on its files of
the day. Many markets share a home, so that one run of the real steps covers them all.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.helpers.remembered_gate import remembered_gate
from tests.independent.edited_home import EditedHome, Fault, Plan
from tests.independent.edits import KINDS, Edit

FEW, MARKETS = 8, 50
EXAMPLES = int(os.environ.get("BANYAN_EXAMPLES", "1000"))
"""Number of markets with edits, of the long proof."""

EDITS = st.lists(
    st.builds(Edit, st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 10**6)),
    min_size=1,
    max_size=4,
)


def plans(markets: int) -> st.SearchStrategy[Plan]:
    edits = st.fixed_dictionaries(dict.fromkeys(range(markets), EDITS))
    may_hold = st.integers(0, 3).map(lambda number: number == 3)
    return st.builds(Plan, edits, may_hold, st.booleans())


@dataclass
class Tally:
    """What the examples of a test delivered: a property of nothing proves nothing."""

    homes: int = 0
    examples: int = 0
    delivering: int = 0
    rows: int = 0

    def add(self, home: EditedHome, plan: Plan) -> None:
        self.homes += 1
        self.examples += len(plan.edits)
        self.delivering += len(home.delivering & plan.edits.keys())
        self.rows += home.rows

    def __str__(self) -> str:
        return (
            f"{self.examples} examples in {self.homes} homes; {self.delivering} of them delivered "
            f"something, {self.rows} rows in all"
        )


def assert_holds(home: EditedHome, plan: Plan, tally: Tally) -> None:
    faults: defaultdict[int, list[str]] = defaultdict(list)
    for fault in home.judge(plan):
        faults[fault.market].append(fault.text)
    tally.add(home, plan)
    for market in faults:
        note(f"edits of market {market} (seed {home.seed}): {home.describe(plan, market)}")
    assert not faults, dict(faults)


OPTIONS = {
    "deadline": None,
    "phases": (Phase.explicit, Phase.generate),  # a run takes seconds, too long to shrink by it
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}


@pytest.fixture(scope="module")
def markets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditedHome]:
    with remembered_gate():
        yield EditedHome(tmp_path_factory.mktemp("markets"), FEW, seed=2)


def test_no_forbidden_person_is_delivered_and_no_lead_is_lost(markets: EditedHome):
    tally = Tally()

    @settings(**OPTIONS, max_examples=1, derandomize=True, database=None)
    @given(plans(FEW))
    def examples(plan: Plan) -> None:
        assert_holds(markets, plan, tally)

    examples()
    assert tally.delivering > tally.examples / 4, tally


@pytest.mark.prove
def test_no_forbidden_person_is_delivered_in_many_examples(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
):
    tally = Tally()
    with remembered_gate():
        home = EditedHome(tmp_path_factory.mktemp("markets"), MARKETS, seed=3)

        @settings(**OPTIONS, max_examples=max(1, EXAMPLES // MARKETS), database=None)
        @given(plans(MARKETS))
        def examples(plan: Plan) -> None:
            assert_holds(home, plan, tally)
            with capsys.disabled():
                sys.stdout.write(f"{tally}\n")

        examples()
    assert tally.delivering > tally.examples / 2, tally


@pytest.mark.prove
def test_a_lost_restriction_is_a_fault(markets: EditedHome, monkeypatch: pytest.MonkeyPatch):
    """The property itself can fail: files that arrive but never reach the home."""
    lost = ("suppressions", "product_rules", "institutions")
    monkeypatch.setattr(markets, "loses", lost)
    faults: list[Fault] = markets.judge(Plan({}, runs_again=False))
    kinds = {fault.text.rpartition(": ")[2].partition(" ")[0] for fault in faults}
    assert {"suppressed", "rule"} <= kinds
