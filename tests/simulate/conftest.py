"""A small market, simulated once."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.settings import Settings
from pipelines.simulate import SimulationPlan, simulate

START, DAYS = date(2026, 1, 28), 8
SIZE: dict[str, Any] = {
    "start": START,
    "days": DAYS,
    "leads_per_day": 2_000,
    "institutions": 12,
    "channels": 6,
    "seed": 7,
}


@dataclass(frozen=True)
class SimulatedHome:
    settings: Settings
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> SimulatedHome:
    """Eight days from a Wednesday, over the turn of a month, with much corruption."""
    settings = Settings(home=tmp_path_factory.mktemp("market"))
    summary = simulate(settings, SimulationPlan(**SIZE, corruption=0.02))
    return SimulatedHome(settings, summary)


def bytes_below(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder` with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
