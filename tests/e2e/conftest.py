"""One market that was simulated and run once; tests that change something copy it."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.market import MONDAY, SUNDAY, run, simulate


class Ran(NamedTuple):
    """A home whose dates were run, and what `run --json` said of each."""

    home: Path
    figures: dict[str, dict[str, object]]


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the market's files lie and nothing has been run."""
    home = tmp_path_factory.mktemp("landed")
    simulate(home)
    return home


@pytest.fixture(scope="session")
def ran(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A home where both dates were run in order, undisturbed."""
    home = copied(landed, tmp_path_factory.mktemp("ran"))
    return Ran(home, run(home, SUNDAY, MONDAY))


def copied(home: Path, to: Path) -> Path:
    """Copy a home to the (empty) folder `to`."""
    return Path(shutil.copytree(home, to, dirs_exist_ok=True))
