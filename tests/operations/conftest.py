"""A small home with one published day and landed files, without running one."""

from datetime import date
from pathlib import Path

import pytest

from pipelines.core.home.schema_version import write_version
from pipelines.core.identifier_key import load_identifier_key
from pipelines.core.publishing import publishing, write_json
from pipelines.core.settings import Settings
from tests.helpers.marts import write_marts

DAY = date(2026, 3, 5)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of this version in which `DAY` was run."""
    monkeypatch.delenv("BANYAN_IDENTIFIER_KEY", raising=False)
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir(mode=0o700)
    write_version(settings)
    load_identifier_key(settings)
    write_marts(settings.home, DAY, leads=20, products=4, pairs=30)
    for root in (settings.lake / "leads", settings.matches, settings.reports):
        with publishing(settings.day_folder(root, DAY), {}) as folder:
            (folder / "rows.txt").write_text("rows")
    for name in ("leads/date=2026-03-05", "import/shop-12ab"):
        write_json(settings.quarantine / name / "quarantine.json", {"rule": "date"})
    write_json(settings.ledger / "closed.json", {"closed_through": f"{DAY}"})
    land(settings, DAY, "leads.csv")
    for name in ("logs", "work", ".dbt", "airflow", "scorecards"):
        (settings.home / name).mkdir()
        (settings.home / name / "file").write_text(name)
    settings.warehouse.write_bytes(b"tables")
    for folder in settings.home.glob("*"):
        if folder.is_dir():
            folder.chmod(0o700)
    return settings


def land(settings: Settings, day: date, name: str) -> Path:
    """Put a file of leads into landing/ and return its path."""
    path = settings.landing / "leads" / "search" / f"{day}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("lead_id\n1\n")
    return path
