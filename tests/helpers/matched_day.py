"""A small day, matched once; tests that change it work on a copy."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from tests.helpers.day import run_matching, write_day_before_matching

DAY = date(2026, 11, 20)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home whose day is matched; only to be read."""
    settings = write_day_before_matching(tmp_path_factory.mktemp("market"), DAY)
    run_matching(settings, DAY)
    return settings


@pytest.fixture
def market(published: Settings, tmp_path: Path) -> Settings:
    """Return a copy of the matched day that the test may change."""
    home = tmp_path / "home"
    shutil.copytree(published.home, home)
    return Settings(home=home)


@pytest.fixture(scope="session")
def day() -> date:
    return DAY
