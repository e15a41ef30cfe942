"""One published day and its report, shared by the tests that only read it."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines.core.settings import Settings
from pipelines.reports.publish_report import report
from tests.helpers.published_day import DAY, publish_day


class PublishedReport(NamedTuple):
    """The returned figures, the page and `quality.json` of one report."""

    returned: dict[str, Any]
    page: str
    quality: dict[str, Any]


def publish_report(settings: Settings) -> PublishedReport:
    """Publish the report of `DAY` and read it."""
    returned = report(settings, DAY)
    folder = settings.day_folder(settings.reports, DAY)
    return PublishedReport(
        returned,
        (folder / "index.html").read_text("utf-8"),
        json.loads((folder / "quality.json").read_text("utf-8")),
    )


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a day with every step published; read only."""
    return publish_day(tmp_path_factory.mktemp("published")).home


@pytest.fixture(scope="session")
def whole(published: Path, tmp_path_factory: pytest.TempPathFactory) -> PublishedReport:
    """The report of that day."""
    home = tmp_path_factory.mktemp("whole") / "home"
    shutil.copytree(published, home)
    return publish_report(Settings(home=home))


@pytest.fixture
def settings(published: Path, tmp_path: Path) -> Settings:
    """A copy of the published day that a test may change."""
    shutil.copytree(published, tmp_path / "home")
    return Settings(home=tmp_path / "home")
