"""A season with every shock at once: the report shows each within three days."""

import json
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.day_figures import combine_days
from pipelines.evaluation.scorecard.lenders import measure_service
from pipelines.evaluation.scorecard.page_data import cost_by_channel
from pipelines.evaluation.scorecard.run import day_by_truth
from pipelines.simulate.shocks import (
    CHANNEL_TURNS_BAD,
    INSTITUTION_TIGHTENS,
    NAMES,
    PRICE_CAP,
    SECTOR_FALLS,
)
from tests.e2e.market import banyan

pytestmark = pytest.mark.prove

FIRST = date(2026, 3, 2)
SHOCK_DATE = FIRST + timedelta(days=7)
"""A Monday: a source that reports on Mondays and Thursdays has reported three days by Thursday."""
WITHIN = timedelta(days=3)
SIZE = ("--leads-per-day", "2000", "--institutions", "60", "--history", "21", "--days", "11")
TOPICS = {
    CHANNEL_TURNS_BAD: ("leads", "channel"),
    SECTOR_FALLS: ("leads", "industry"),
    INSTITUTION_TIGHTENS: ("approval", "institution"),
    PRICE_CAP: ("changed", "all"),
}
"""Shock -> topic and kind of group of its finding."""


LARGEST = {
    CHANNEL_TURNS_BAD: "select channel_id from leads group by all order by count(*) desc",
    SECTOR_FALLS: "select industry from leads where industry <> '' group by all"
    " order by count(*) desc",
    INSTITUTION_TIGHTENS: "select institution_id from products group by all"
    " order by sum(daily_quota) desc",
    PRICE_CAP: "select ''",
}
"""Shock -> the group that it affects: the largest of its kind in the marts before it."""


def affected_group(home: Path, shock: str) -> str:
    before = [SHOCK_DATE - timedelta(days=back) for back in range(1, 8)]
    with duckdb.connect() as connection:
        for mart in ("leads", "products"):
            files = [str(home / f"marts/date={day}/{mart}.parquet") for day in before]
            connection.read_parquet(files).create_view(mart)
        return str(connection.sql(LARGEST[shock]).limit(1).fetchall()[0][0])


def load_drift(home: Path) -> dict[date, set[tuple[tuple[str, str], str]]]:
    """Return each day's drift: topic and kind of group, and the group."""
    found = {}
    for path in sorted(home.glob("reports/date=*/quality.json")):
        figures = json.loads(path.read_text("utf-8"))["drift"]["figures"]
        found[date.fromisoformat(path.parent.name.removeprefix("date="))] = {
            ((figure["topic"], figure["grouping"]), figure["group"])
            for figure in figures
            if figure["state"] == "drift"
        }
    return found


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shocks")
    shocks = [part for name in NAMES for part in ("--shock", f"{name}@{SHOCK_DATE}")]
    process = banyan(home, "season", "--start", f"{FIRST}", *SIZE, *shocks)
    assert process.returncode == 0, process.stderr
    return home


@pytest.mark.parametrize("shock", sorted(TOPICS))
def test_a_shock_is_reported_for_its_group_within_three_days_and_not_before(
    season: Path, shock: str
):
    figure = (TOPICS[shock], affected_group(season, shock))
    days = [day for day, figures in load_drift(season).items() if figure in figures]
    assert days, f"{shock} is in no report"
    assert SHOCK_DATE <= days[0] <= SHOCK_DATE + WITHIN


def test_at_max_one_finding_precedes_the_shocks(season: Path):
    calm = [figures for day, figures in load_drift(season).items() if day < SHOCK_DATE]
    assert len(calm) == 7
    assert sum(map(len, calm)) <= 1


def test_the_scorecard_shows_what_the_shocks_cost(season: Path):
    settings = Settings(home=season)
    before = [day_by_truth(settings, SHOCK_DATE - timedelta(days=back)) for back in range(1, 5)]
    after = [day_by_truth(settings, SHOCK_DATE + timedelta(days=on)) for on in range(4)]
    shares = [combine_days(days)["broadcast"]["cost_share_of_yield"] for days in (before, after)]
    assert shares[1] > 1.3 * shares[0]  # the price cap takes a third of the yield
    channel = affected_group(season, CHANNEL_TURNS_BAD)
    of_channel = [
        next(part.share for part in cost_by_channel(days, "broadcast") if part.name == channel)
        for days in (before, after)
    ]
    assert of_channel[1] / of_channel[0] > shares[1] / shares[0]
    institution = affected_group(season, INSTITUTION_TIGHTENS)
    funded = [
        next(
            lender.funded / lender.offers
            for lender in measure_service(days, "broadcast", "broadcast")
            if lender.name == institution
        )
        for days in (before, after)
    ]
    assert funded[1] < 0.6 * funded[0]
