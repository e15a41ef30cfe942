"""Later data does not change the marts of a date."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.core.home.shared_marts import list_shared_files
from pipelines.core.publishing import sha256
from pipelines.core.settings import Settings
from pipelines.transform.build import SORT_KEYS
from tests.helpers.lake import write_matches
from tests.transform.conftest import DAY, Market, build_all


def published(settings: Settings) -> dict[str, str]:
    folder = settings.day_folder(settings.marts, DAY)
    files = [*folder.glob("*.parquet"), *list_shared_files(folder)]
    return {path.relative_to(settings.marts).as_posix(): sha256(path) for path in sorted(files)}


@pytest.mark.usefixtures("built")
def test_later_days_and_another_thread_count_change_no_byte(market: Market, tmp_path: Path):
    later = Market(Settings(home=tmp_path, threads=1), DAY + timedelta(days=4))
    for day in market.days:
        assert later.rows[day]["leads"] == market.rows[day]["leads"]
    extra = [row for day, row in later.rows_of("outcomes") if day > DAY]
    assert len(extra) > 50  # among them corrections and late outcomes of earlier days
    earlier = DAY - timedelta(days=1)
    for root in ("matches", "delivered"):
        shutil.copytree(
            market.settings.day_folder(market.settings.home / root, earlier),
            later.settings.day_folder(later.settings.home / root, earlier),
        )
    write_matches(later.settings, DAY, [{"match_id": "m2", "channel_id": "search"}])
    build_all(later.settings, DAY)
    assert published(later.settings) == published(market.settings)
    assert len(published(later.settings)) > len(SORT_KEYS)
