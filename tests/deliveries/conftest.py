"""Fixtures of the matched day, delivered once: a copy for each test that changes it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from tests.deliveries.test_deliver import deliver_all
from tests.helpers.remembered_gate import remembered_gate


@pytest.fixture(scope="module")
def remembered() -> Iterator[None]:
    """Look up the verdict of Great Expectations on a table that it has checked before."""
    with remembered_gate():
        yield


@pytest.fixture(scope="session")
def delivered_home(matched_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a copy of the matched home, delivered. Tests must not change it."""
    home = tmp_path_factory.mktemp("delivered") / "home"
    settings = Settings(home=Path(shutil.copytree(matched_home.home, home)))
    deliver_all(settings)
    return settings


@pytest.fixture
def delivered_copy(delivered_home: Settings, tmp_path: Path) -> Settings:
    """Return a copy of the delivered home that one test may change."""
    return Settings(home=Path(shutil.copytree(delivered_home.home, tmp_path / "home")))
