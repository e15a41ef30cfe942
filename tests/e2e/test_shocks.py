"""A season in which everything happens at once: each shock is in the report within three days."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines.settings import Settings
from pipelines.simulate.shocks import (
    CHANNEL_TURNS_BAD,
    INSTITUTION_TIGHTENS,
    NAMES,
    PRICE_CAP,
    SECTOR_FALLS,
)
from tests.e2e.market import banyan

pytestmark = [pytest.mark.prove, pytest.mark.xdist_group("e2e")]

FIRST = date(2026, 3, 2)
STRUCK = FIRST + timedelta(days=7)
"""A Monday: who reports on Mondays and Thursdays has told of three struck days by Thursday."""
WITHIN = timedelta(days=3)
SIZE = ("--leads-per-day", "2000", "--institutions", "60", "--history", "21", "--days", "11")
TOPICS = {
    CHANNEL_TURNS_BAD: ("leads", "channel"),
    SECTOR_FALLS: ("leads", "industry"),
    INSTITUTION_TIGHTENS: ("approval", "institution"),
    PRICE_CAP: ("changed", "all"),
}
"""Shock -> topic and kind of group under which it shows."""


def struck_groups(home: Path) -> dict[str, str]:
    """Return the group that each shock strikes, by what the simulator says of its world."""
    from pipelines.simulate.channels import all_channels  # noqa: PLC0415
    from pipelines.simulate.firms import FALLEN, INDUSTRIES  # noqa: PLC0415
    from pipelines.simulate.lenders import all_lenders  # noqa: PLC0415
    from pipelines.simulate.world import World  # noqa: PLC0415

    world = World(Settings(home=home), 2000, 60, 20, 1)
    channels, lenders = all_channels(world), all_lenders(world)
    return {
        CHANNEL_TURNS_BAD: str(channels.name[channels.share.argmax()]),
        SECTOR_FALLS: str(INDUSTRIES[FALLEN]),
        INSTITUTION_TIGHTENS: str(lenders.name[lenders.largest]),
        PRICE_CAP: "",
    }


def drifting(home: Path) -> dict[date, set[tuple[tuple[str, str], str]]]:
    """Return what drifts on each day: topic and kind of group, and the group."""
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
    shocks = [part for name in NAMES for part in ("--shock", f"{name}@{STRUCK}")]
    ended = banyan(home, "season", "--start", f"{FIRST}", *SIZE, *shocks)
    assert ended.returncode == 0, ended.stderr
    return home


@pytest.mark.parametrize("shock", sorted(TOPICS))
def test_a_shock_is_told_under_its_group_within_three_days_and_not_before(season: Path, shock: str):
    figure = (TOPICS[shock], struck_groups(season)[shock])
    told = [day for day, figures in drifting(season).items() if figure in figures]
    assert told, f"{shock} is in no report"
    assert STRUCK <= told[0] <= STRUCK + WITHIN


def test_hardly_anything_is_told_before(season: Path):
    calm = [figures for day, figures in drifting(season).items() if day < STRUCK]
    assert len(calm) == 7
    assert sum(map(len, calm)) <= 1
