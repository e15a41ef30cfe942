"""A season: each day is simulated, run and answered, and the next day learns from the answers."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.market import MONDAY, SIZE, SUNDAY, banyan

pytestmark = pytest.mark.prove

HISTORY = 2
NAMES = ("received", "matched", "matches", "approved", "funded")


def test_each_day_is_simulated_run_and_answered(tmp_path: Path):
    options = ("--start", f"{SUNDAY}", "--days", "2", "--history", f"{HISTORY}", *SIZE)
    process = banyan(tmp_path, "season", *options)
    assert process.returncode == 0, process.stderr

    result = json.loads(process.stdout.splitlines()[-1])
    days = result["days"]
    assert list(days) == [f"{SUNDAY}", f"{MONDAY}"]
    assert all(found["state"] == "success" and found["matches"] > 0 for found in days.values())
    assert all(isinstance(found[name], int) for found in days.values() for name in NAMES)
    assert days[f"{SUNDAY}"]["approved"] == 0  # outcomes of the broadcast are not counted
    assert days[f"{MONDAY}"]["approved"] > 0
    lines = [line for line in process.stderr.splitlines() if line.startswith("2026-")]
    assert [line.partition(":")[0] for line in lines] == list(days)

    assert result["scorecard"]["banyan"]["shown"] == sum(day["matches"] for day in days.values())
    assert "institutions pay per funded loan" in process.stderr.splitlines()[-2]
    assert Path(process.stderr.splitlines()[-1].partition(": ")[2]).is_file()

    before = {f"{SUNDAY - timedelta(days=back)}" for back in range(1, HISTORY + 1)}
    assert {path.parent.name for path in tmp_path.glob("truth/*/shown.parquet")} == {
        f"date={day}" for day in before
    }
    assert {path.parent.name for path in tmp_path.glob("truth/*/responses.parquet")} == {
        f"date={day}" for day in days
    }


def test_a_failed_day_is_reported_and_ends_the_season(tmp_path: Path):
    (tmp_path / "lake").write_text("in the way")
    process = banyan(tmp_path, "season", "--start", f"{SUNDAY}", "--days", "2", *SIZE)
    assert process.returncode == 1
    assert process.stdout == ""
    assert f"{SUNDAY} failed at" in process.stderr
    assert "Traceback" not in process.stderr
    assert not list(tmp_path.glob(f"landing/leads/*/{MONDAY}"))


def test_a_season_continues_where_it_stopped(tmp_path: Path):
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    two_days = ("--start", f"{SUNDAY}", "--days", "2", *SIZE)
    assert banyan(whole, "season", *two_days).returncode == 0
    assert (
        banyan(interrupted, "season", "--start", f"{SUNDAY}", "--days", "1", *SIZE).returncode == 0
    )
    process = banyan(interrupted, "season", *two_days)
    assert process.returncode == 0, process.stderr
    days = json.loads(process.stdout.splitlines()[-1])["days"]
    assert [found["seconds"] > 0 for found in days.values()] == [False, True]
    for folder in ("landing", "truth", "matches", "outbox"):
        assert content(interrupted / folder) == content(whole / folder), folder


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder without the manifests, which state the code version."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    assert files
    return {
        f"{name}": path.read_bytes()
        for name, path in files.items()
        if name.name not in {"manifest.json", "world.json"}
    }


def test_a_home_holds_one_market(tmp_path: Path):
    options = ("--start", f"{SUNDAY}", "--days", "1", *SIZE)
    assert banyan(tmp_path, "simulate", *options).returncode == 0
    other = banyan(tmp_path, "simulate", *options, "--seed", "8")
    assert other.returncode == 2
    assert "holds another market: seed 7 and not 8" in other.stderr
