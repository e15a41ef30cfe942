"""An import never changes a landed file, and adds to a closed date only as a correction."""

import json
from datetime import date
from pathlib import Path

import pytest

from pipelines.cli.app import main
from pipelines.core.data_provenance import read_history, read_provenance
from pipelines.core.errors import ImportRejected
from pipelines.core.publishing import sha256, write_json
from pipelines.core.settings import Settings
from pipelines.importing import import_file

MAPPING = """
description: Shops.
origin: Made up.
file: {format: csv}
routes:
  - feed: leads
    source: {from: shop}
    date: {from: day}
    columns:
      lead_id: {from: id}
      captured_at: {from: day}
      segment: consumer
      amount: {from: sum}
      currency: CNY
      consent_scope: all
      consent_at: {from: day}
      consent_version: v1
  - feed: outcomes
    source: {from: shop}
    date: {from: day}
    columns:
      lead_id: {from: id}
      channel_id: {from: shop}
      product_id: loan
      event: applied
      event_at: {from: day}
      recorded_at: {from: day}
"""
FILE = """id,shop,day,sum
1,web,2026-03-01,100
2,web,2026-03-02,200
3,app,2026-03-03,300
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "shops.yml"
    path.write_text(MAPPING, "utf-8")
    return path


@pytest.fixture
def load(tmp_path: Path, mapping: Path, settings: Settings):
    def load_file(content: str = FILE, **options):
        foreign = tmp_path / "march.csv"
        foreign.write_text(content, "utf-8")
        return import_file(settings, str(mapping), foreign, **options)

    return load_file


def close(settings: Settings, day: str) -> None:
    """Close every date up to `day`, as a run does."""
    settings.ledger.mkdir(parents=True, exist_ok=True)
    write_json(settings.ledger / "closed.json", {"closed_through": day})


def list_files(settings: Settings) -> dict[str, str]:
    return {
        path.relative_to(settings.landing).as_posix(): sha256(path)
        for path in sorted(settings.landing.rglob("*"))
        if path.is_file()
    }


def test_the_same_import_again_changes_nothing_on_closed_dates_either(load, settings):
    assert load()["landed"] == {"new": 6, "unchanged": 0, "corrections": 0}
    landed, recorded = list_files(settings), read_provenance(settings)
    assert load()["landed"] == {"new": 0, "unchanged": 6, "corrections": 0}
    close(settings, "2026-03-03")
    assert load()["landed"] == {"new": 0, "unchanged": 6, "corrections": 0}
    assert load(as_correction=True)["landed"]["unchanged"] == 6
    assert (list_files(settings), read_provenance(settings)) == (landed, recorded)


def test_a_file_that_would_overwrite_a_landed_one_is_refused(load, settings):
    load()
    landed = list_files(settings)
    with pytest.raises(ImportRejected, match="1 of 6 files") as refused:
        load(FILE.replace("200", "250"))
    message = str(refused.value)
    assert "would overwrite a landed file of another content on 1 date" in message
    assert "leads/web/2026-03-02/shops-march.csv" in message
    assert "--as-correction" in message
    assert list_files(settings) == landed


def test_a_file_for_a_closed_date_is_refused_and_an_open_date_is_not(load, settings):
    close(settings, "2026-03-02")
    with pytest.raises(ImportRejected, match="4 are for 2 dates already closed") as refused:
        load()
    assert "2026-03-01 to 2026-03-02" in str(refused.value)
    assert "count from 2026-03-03 on" in str(refused.value)
    assert list_files(settings) == {}
    assert read_provenance(settings) == []
    result = load(start=date(2026, 3, 3), days=1)
    assert result["landed"] == {"new": 2, "unchanged": 0, "corrections": 0}


def test_a_correction_lands_beside_the_file_and_is_recognised_when_repeated(load, settings):
    load()
    before = list_files(settings)
    close(settings, "2026-03-03")
    changed = FILE.replace("200", "250") + "4,web,2026-03-04,400\n"
    result = load(changed, as_correction=True)
    assert result["landed"] == {"new": 2, "unchanged": 5, "corrections": 1}
    after = list_files(settings)
    assert before.items() <= after.items()
    added = sorted(after.keys() - before.keys())
    assert added[0].startswith("leads/web/2026-03-02/shops-march-correction-")
    assert added[1:] == [
        "leads/web/2026-03-04/shops-march.csv",
        "outcomes/web/2026-03-04/shops-march.csv",
    ]
    assert load(changed, as_correction=True)["landed"]["unchanged"] == 8
    assert load(changed)["landed"]["unchanged"] == 8
    assert list_files(settings) == after


def test_a_later_import_is_no_data_source_of_a_closed_day(load, settings):
    load()
    close(settings, "2026-03-03")
    load(FILE.replace("2026-03-0", "2026-03-1"))
    names = [[source["name"] for source in read_provenance(settings, day)] for day in DAYS]
    first, second = "import shops march.csv first to last", ", 2"
    assert names == [[first], [first, f"{first}{second}"]]
    assert len(read_history(settings)) == 6


DAYS = (date(2026, 3, 3), date(2026, 3, 4))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (FILE.replace("web", "Web Shop"), {}, "2 of 3 rows for leads can't be landed"),
        (FILE.replace(",2026", ",x2026"), {}, "3 have no usable date"),
        ("id,shop,day,sum\n", {}, "none of its 0 rows was accepted"),
        (FILE, {"start": date(2027, 1, 1)}, "6 lie outside of the dates of --start"),
    ],
)
def test_an_import_without_enough_usable_rows_is_refused(load, settings, content, options, message):
    with pytest.raises(ImportRejected, match=message):
        load(content, **options)
    assert list_files(settings) == {}


def test_the_command_line_names_the_pattern_and_ends_with_one(
    tmp_path: Path, mapping: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
):
    foreign = tmp_path / "march.csv"
    foreign.write_text(FILE.replace("web", "Web Shop").replace("app", "App"), "utf-8")
    arguments = ["import", str(mapping), str(foreign), "--home", str(settings.home)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "3 of 3 rows for leads can't be landed" in error
    assert "^[a-z0-9][a-z0-9_-]{0,63}$" in error
    assert (settings.quarantine / "import").is_dir()
    foreign.write_text(FILE, "utf-8")
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["landed"]["new"] == 6
    assert main(arguments) == 0
    assert "has landed before; nothing changed" in capsys.readouterr().err
    assert main(["import", "--help"]) == 0
    assert "^[a-z0-9][a-z0-9_-]{0,63}$" in capsys.readouterr().out
