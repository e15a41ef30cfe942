"""Hostile landed files are refused or quarantined with the reason, and harm no other file."""

import gzip
import resource
from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from tests.helpers.landing import DAY, csv_bytes, land, leads, path_of
from tests.ingest.published import counts, loaded, quarantined

ROWS = 20
GOOD = csv_bytes(leads(ROWS))
HEADER, BODY = GOOD.split(b"\n", 1)
FIELD = 64 << 20


def bomb(size: int) -> bytes:
    """Return a small gzip file of one endless line."""
    return gzip.compress(b"\0" * size, 9, mtime=0)


FILES: dict[str, tuple[str, bytes, int, set[str]]] = {
    # source: name, content, rows that are loaded, rules of quarantine
    "bomb": ("rows.csv.gz", bomb(96 << 20), 0, {"line_end"}),
    "field": ("rows.csv", HEADER + b'\n"' + b"x" * FIELD + b'",1\n' + BODY, ROWS, {"fields"}),
    "nul": ("rows.csv", GOOD.replace(b"L00001", b"L0\x00001"), ROWS - 1, {"encoding"}),
    "gb18030": (
        "rows.csv",
        csv_bytes(leads(ROWS, full_name="张三")).decode().encode("gb18030"),
        0,
        {"reject_share"},
    ),
    "utf16": ("rows.csv", GOOD.decode().encode("utf-16"), 0, {"encoding"}),
    "newlines": ("rows.csv", GOOD.replace(b"\n", b"\r\n", 7), ROWS, set()),
    "wrong_gzip": ("rows.csv.gz", GOOD, 0, {"gzip"}),
    "cut_gzip": ("rows.csv.gz", gzip.compress(GOOD, mtime=0)[:-9], 0, {"gzip"}),
    "formula": ("rows.csv", csv_bytes(leads(ROWS, full_name="=HYPERLINK(1)")), ROWS, set()),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("hostile")
    settings = Settings(home=folder / "home", threads=1, memory_limit="1GB")
    for source, (name, content, *_) in FILES.items():
        path = path_of(settings, "leads", source, name=name)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    land(path_of(settings, "leads", "good"), leads(ROWS))
    outside = land(folder / "outside.csv", leads(ROWS))
    for source, name in (("link", "rows.csv"), ("tricks", "a..%2f..%2frows.csv")):
        path = path_of(settings, "leads", source, name=name)
        path.parent.mkdir(parents=True)
        if source == "link":
            path.symlink_to(outside)
        else:
            path.write_bytes(csv_bytes(leads(ROWS)))
    inside = path_of(settings, "leads", "inside")
    inside.parent.mkdir(parents=True)
    inside.symlink_to(path_of(settings, "leads", "formula"))
    ingest_day.ingest(settings, DAY)
    return settings


@pytest.mark.parametrize("source", FILES)
def test_a_hostile_file_is_quarantined_with_its_reason(settings: Settings, source: str):
    _, _, rows, rules = FILES[source]
    records = [row for row in quarantined(settings, "leads") if row["source"] == source]
    assert {row["rule"] for row in records if row["severity"] == "critical"} == rules
    assert counts(settings, "leads")[source]["loaded"] == rows
    assert all(row["message"] for row in records)


def test_a_link_that_leaves_landing_is_not_read(settings: Settings):
    (record,) = [row for row in quarantined(settings, "leads") if row["source"] == "link"]
    assert "leaves landing/" in record["message"]
    assert not [row for row in loaded(settings, "leads") if row["channel_id"] == "link"]


def test_other_files_are_not_harmed_and_nothing_is_written_elsewhere(settings: Settings):
    rows = [row["channel_id"] for row in loaded(settings, "leads")]
    assert rows.count("good") == rows.count("tricks") == ROWS
    names = {path.name for path in Path(settings.home).parent.iterdir()}
    assert names == {"home", "outside.csv"}


def test_a_bomb_does_not_fill_the_memory(settings: Settings):
    """Of this process, with all that it loads; 1 GB of it is allowed to DuckDB."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20
