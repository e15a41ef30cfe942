"""Fixtures of a small day that is matched once: a home to read, and a copy to change.

A fixture imports the libraries: every process reads this file, also the one that only distributes
the tests.
"""

import shutil
from datetime import date
from pathlib import Path

import pytest

from expectations import policy
from pipelines.core.settings import Settings

DAY = date(2026, 11, 20)


def lift_guarantees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no guarantee but the least odds hold, so that quotas and budgets alone decide."""
    lifted = {
        "fees_to_cost": 0.0,
        "approval_rate_as_drawn": False,
        "cost_per_funded_as_drawn": False,
    }
    guarantees = policy.guarantees().model_copy(update=lifted)
    monkeypatch.setattr(policy, "guarantees", lambda: guarantees)


@pytest.fixture(scope="session")
def matched_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home whose day is matched. Tests read it and must not change it."""
    from tests.helpers.day import run_matching, write_day_before_matching  # noqa: PLC0415

    settings = write_day_before_matching(tmp_path_factory.mktemp("matched"), DAY)
    run_matching(settings, DAY)
    return settings


@pytest.fixture
def matched_copy(matched_home: Settings, tmp_path: Path) -> Settings:
    """Return a copy of the matched home that one test may change."""
    home = tmp_path / "home"
    shutil.copytree(matched_home.home, home)
    return Settings(home=home)
