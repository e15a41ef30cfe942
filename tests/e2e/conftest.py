"""One simulated market, run once; a test that changes something copies it."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.market import MONDAY, SUNDAY, add_returning_people, run, simulate


class CompletedRun(NamedTuple):
    """A home whose dates were run, and the figures of `run --json` for each date."""

    home: Path
    figures: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the market's landed files; no date has been run."""
    home = tmp_path_factory.mktemp("landed")
    simulate(home)
    add_returning_people(home)
    return home


@pytest.fixture(scope="session")
def ran(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> CompletedRun:
    """A home where both dates were run in order, without interruption.

    It has a hash seed of its own: what runs again and gives the same bytes has another one.
    """
    home = copy_home(landed, tmp_path_factory.mktemp("ran"))
    return CompletedRun(home, run(home, SUNDAY, MONDAY, in_own_python=True))


def copy_home(home: Path, to: Path) -> Path:
    """Copy a home to the (empty) folder `to`."""
    return Path(shutil.copytree(home, to, dirs_exist_ok=True))
