"""The picture of the README can be made again."""

import struct
from pathlib import Path

import pytest

from tests.docs import picture

SMALL = ("--start", "2026-03-01", "--days", "2", "--leads-per-day", "150", "--institutions", "8")


def read_size(png: Path) -> tuple[int, int]:
    content = png.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


def test_the_picture_of_the_readme_has_the_size_of_the_command():
    assert read_size(picture.PICTURE) == (picture.WIDTH, picture.HEIGHT)


def test_without_chromium_the_message_says_what_to_install(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", f"{tmp_path}")
    with pytest.raises(SystemExit, match=r"no picture was made\. Install Chromium"):
        picture.draw(tmp_path / "page.html", tmp_path / "page.png")


@pytest.mark.prove
def test_the_report_of_a_simulated_day_is_drawn(tmp_path: Path):
    page = picture.run_market(tmp_path / "home", *SMALL, day="2026-03-02")
    drawn = tmp_path / "report.png"
    picture.draw(page, drawn)
    assert read_size(drawn) == (picture.WIDTH, picture.HEIGHT)
    assert drawn.stat().st_size > 30_000, "an empty page is smaller"
