"""Simulated institutions answer deliveries by seeded shares."""

import csv
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.deliveries import going_live
from pipelines.simulate import SimulationPlan, simulate
from pipelines.simulate.answers import AnswerShares, answer_deliveries
from tests.helpers.delivered_home import deliver_file, match, write_matches_of
from tests.simulate.conftest import bytes_below

DAY = date(2026, 3, 2)
NOTHING = AnswerShares(*(0.0,) * 7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A simulated home with two lead files of a hundred leads each."""
    settings = Settings(home=tmp_path, threads=1)
    simulate(settings, SimulationPlan(DAY, 1, 5, 2, 1, 7))
    matches = [match(n, bank, "loan") for bank in ("bank-a", "bank-b") for n in range(100)]
    write_matches_of(settings, DAY, matches)
    for bank in ("bank-a", "bank-b"):
        own = [row["match_id"] for row in matches if row["institution_id"] == bank]
        deliver_file(settings, DAY, bank, own)
    return settings


def rows_below(folder: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob("bank-*/*/answers-*.csv")):
        with path.open(newline="") as file:
            rows += csv.DictReader(file)
    return rows


def test_a_careful_world_acknowledges_each_file(settings):
    counts = answer_deliveries(settings, DAY, shares=NOTHING)
    assert counts == {"receipts": 2, "returns": 0}
    rows = rows_below(settings.landing / "receipts")
    assert {row["delivery_id"] for row in rows} == {"20260302-bank-a", "20260302-bank-b"}
    assert {(row["status"], row["rows"], row["version"]) for row in rows} == {("ack", "100", "1")}


def test_a_test_delivery_is_acknowledged_always(settings):
    test = going_live.TestDelivery(1, "test-bank-a-1", "terms", "a" * 64, asked_on=f"{DAY}")
    other = replace(test, number=2, delivery_id="test-bank-a-2", asked_on="2026-03-03")
    write_json(
        settings.transport / "going_live" / "bank-a.json",
        {"tests": [asdict(test), asdict(other)]},
    )
    answer_deliveries(settings, DAY, shares=AnswerShares(1, 0, 0, 0, 0, 0, 0))
    (row,) = rows_below(settings.landing / "receipts")
    expected = {"delivery_id": "test-bank-a-1", "status": "ack", "sha256": "a" * 64, "rows": "1"}
    assert expected.items() <= row.items()


def test_shares_of_returns_disputes_and_claims(settings):
    shares = AnswerShares(0, 0, 1, 0, returned=0.2, disputed=0.1, never_received=0.1)
    answer_deliveries(settings, DAY, shares=shares)
    events = [row["event"] for row in rows_below(settings.landing / "outcomes")]
    assert 20 <= events.count("returned") <= 60
    assert 8 <= events.count("disputed") <= 35
    outcomes = rows_below(settings.landing / "outcomes")
    ids = [row["match_id"] for row in outcomes if row["event"] == "applied"]
    assert ids
    assert not any(name.startswith("m") and "-bank-" in name for name in ids)
    sent = {row["sha256"] for row in rows_below(settings.landing / "receipts")}
    assert all(len(digest) == 64 for digest in sent)


def test_the_same_deliveries_give_the_same_files_and_dates_are_kept(settings):
    answer_deliveries(settings, DAY, DAY + timedelta(days=2))
    before = bytes_below(settings.landing)
    answer_deliveries(settings, DAY, DAY + timedelta(days=2))
    assert bytes_below(settings.landing) == before
    folders = [path.name for path in (settings.landing / "receipts").glob("*/*")]
    assert all(name <= f"{DAY + timedelta(days=2)}" for name in folders)


def test_a_day_without_deliveries_is_refused(settings):
    with pytest.raises(InputMissing, match="Nothing was delivered"):
        answer_deliveries(settings, DAY + timedelta(days=1))
