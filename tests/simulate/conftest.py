"""A small market, simulated once."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.settings import Settings
from pipelines.simulate import Plan, simulate

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
class Simulated:
    settings: Settings
    said: dict[str, Any]


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Eight days from a Wednesday, over the turn of a month, with much dirt."""
    settings = Settings(home=tmp_path_factory.mktemp("market"))
    return Simulated(settings, simulate(settings, Plan(**SIZE, dirt=0.02)))


def bytes_below(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder` with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
