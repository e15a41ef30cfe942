"""The daily job from landed files to lead files: no row is lost, and the bytes are reproducible."""

import fcntl
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dags.steps import run_step
from expectations.contracts import feeds
from pipelines.core.home.shared_marts import list_shared_files
from pipelines.core.settings import PROJECT, Settings
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY, banyan, landed_rows, run
from tests.e2e.published_bytes import differences, published
from tests.helpers.representatives import keep

STOPS = (signal.SIGINT, signal.SIGTERM)
TEXTS = (".html", ".json", ".jsonl")
LEAD_ENDS = ("quarantined", "duplicates", "suppressed", "matched", "unmatched")


def load_counts(home: Path) -> dict[tuple[str, str, str], dict[str, int]]:
    """Return the counts of the lake's manifests by (feed, source, date)."""
    by_key = {}
    for manifest in sorted((home / "lake").glob("*/date=*/manifest.json")):
        feed, day = manifest.parts[-3], manifest.parts[-2].removeprefix("date=")
        if feed not in feeds():
            continue  # restrictions and orders that ingest derives from the feeds
        for source, counts in json.loads(manifest.read_text())["counts"].items():
            by_key[feed, source, day] = counts
    return by_key


@pytest.mark.parametrize("number", keep((1,), STOPS))
def test_a_run_that_is_stopped_ends_at_once(landed: Path, tmp_path: Path, number: signal.Signals):
    home = copy_home(landed, tmp_path / "home")
    command = [sys.executable, "-m", "pipelines", "run", "--home", f"{home}", "--date", f"{SUNDAY}"]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        printed = [process.stderr.readline()]
        while printed[-1] and "ingest[0]" not in printed[-1]:
            printed.append(process.stderr.readline())
        process.send_signal(number)
        printed += process.stderr.readlines()
    assert process.returncode == 130, printed
    assert printed[-1].startswith("Stopped."), printed
    assert not [line for line in printed if "follow_up" in line or "report" in line]
    assert not list((home / "reports").glob("date=*"))


def test_every_date_succeeds_and_every_lead_has_one_end(ran: CompletedRun):
    assert set(ran.figures) == {f"{SUNDAY}", f"{MONDAY}"}
    for figures in ran.figures.values():
        assert figures["state"] == "success"
        assert figures["received"] == sum(figures[end] for end in LEAD_ENDS)
        assert figures["matched"] > 0
        assert 0 <= figures["gap"] < 0.02


def test_received_rows_equal_an_independent_count_of_the_landed_files(
    ran: CompletedRun,
):
    counted = landed_rows(ran.home)
    assert len(counted) > 20
    stated = {key: counts["received"] for key, counts in load_counts(ran.home).items()}
    stated = {key: rows for key, rows in stated.items() if rows}
    ran_dates = {f"{SUNDAY}", f"{MONDAY}"}
    assert stated == {key: rows for key, rows in counted.items() if rows and key[2] in ran_dates}


def test_received_rows_are_loaded_quarantined_or_duplicates_by_feed_source_and_date(
    ran: CompletedRun,
):
    counts = load_counts(ran.home)
    assert {"leads", "outcomes", "products"} <= {feed for feed, _, _ in counts}
    for row in counts.values():
        assert row["received"] == row["loaded"] + row["quarantined"] + row["duplicates"]


def test_the_lake_holds_the_loaded_rows(ran: CompletedRun):
    loaded: Counter[tuple[str, str]] = Counter()
    for (feed, _, day), counts in load_counts(ran.home).items():
        loaded[feed, day] += counts["loaded"]
    assert loaded
    for (feed, day), rows in loaded.items():
        table = ran.home / "lake" / feed / f"date={day}" / f"{feed}.parquet"
        assert pq.read_metadata(table).num_rows == rows


def test_every_matched_institution_has_a_lead_file_of_its_leads(ran: CompletedRun):
    day = f"date={MONDAY}"
    matches = pq.read_table(ran.home / "matches" / day / "matches.parquet")
    matched = matches["institution_id"].value_counts().to_pylist()
    assert matched
    for institution in matched:
        manifest = ran.home / "outbox" / day / institution["values"] / "manifest.json"
        delivered = json.loads(manifest.read_text())["deliveries"]
        assert delivered[-1]["rows"] == institution["counts"]


def test_a_young_market_trains_by_day_and_then_by_week(
    ran: CompletedRun,
):
    assert [path.name for path in sorted((ran.home / "registry").glob("as_of=*"))] == [
        "as_of=2026-02-23",
        "as_of=2026-03-01",
        "as_of=2026-03-02",
    ]


def test_training_a_week_again_gives_the_same_models(ran: CompletedRun, tmp_path: Path):
    again = copy_home(ran.home, tmp_path)
    counts = run_step("retrain", Settings(home=again), MONDAY)
    assert counts["as_of"] == f"{MONDAY}"
    assert differences(ran.home, again) == []


def test_no_published_text_or_log_names_a_person_or_this_machine(ran: CompletedRun):
    lines = (ran.home / "landing" / "leads").rglob("*.jsonl")
    people = [json.loads(line) for path in lines for line in path.read_text().splitlines()]
    secrets = {person.get(name) for person in people for name in ("id_number", "phone")} - {None}
    assert len(secrets) > 20
    texts = [ran.home / path for path in published(ran.home) if path.endswith(TEXTS)]
    logs = [path for path in (ran.home / "logs").rglob("*") if path.is_file()]
    assert texts
    assert logs
    for path in (*texts, *logs):
        assert not [secret for secret in secrets if secret in path.read_text()], path
    for path in texts:
        assert str(ran.home) not in path.read_text(), path


@pytest.mark.prove  # a replay has it for the whole day, tests of the steps for each step
def test_a_second_run_of_a_date_gives_the_same_bytes(ran: CompletedRun, tmp_path: Path):
    again = copy_home(ran.home, tmp_path)
    run(again, MONDAY, MONDAY)
    assert differences(ran.home, again) == []


@pytest.mark.prove  # ingest, matches and models have it for their steps
def test_threads_hash_seed_locale_and_time_zone_change_no_byte(
    landed: Path, ran: CompletedRun, tmp_path
):
    other = copy_home(landed, tmp_path)
    run(
        *(other, SUNDAY, MONDAY),
        BANYAN_THREADS="1",
        PYTHONHASHSEED="4711",
        LC_ALL="C",
        TZ="America/Lima",
    )
    assert differences(ran.home, other) == []


@pytest.mark.prove  # tests/ingest and tests/matches have it for their steps
def test_the_order_of_rows_in_a_file_changes_no_result(
    landed: Path, ran: CompletedRun, tmp_path: Path
):
    other = copy_home(landed, tmp_path)
    (file,) = (other / "landing" / "leads").glob(f"*/{SUNDAY}/*.csv")
    header, *rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join([header, *reversed(rows)]))
    run(other, SUNDAY, SUNDAY)
    results = [
        path
        for path in published(other)
        if path.startswith(("lake", "marts", "pairs", "matches", "offers", "unmatched", "reasons"))
        and path.endswith(".parquet")
    ]
    assert results
    before, after = published(ran.home), published(other)
    assert [path for path in results if before[path] != after[path]] == []


@pytest.mark.prove  # tests/ingest and e2e/restrictions have refused files by themselves
def test_a_truncated_file_affects_its_own_channel_only(
    landed: Path, ran: CompletedRun, tmp_path: Path
):
    other = copy_home(landed, tmp_path)
    (file,) = (other / "landing" / "leads").glob(f"*/{SUNDAY}/*.gz")
    channel = file.parts[-3]
    file.write_bytes(file.read_bytes()[:-200])  # truncated during transfer
    process = banyan(other, "run", "--date", f"{SUNDAY}", "--json")
    figures = json.loads(process.stdout.splitlines()[-1])[f"{SUNDAY}"]
    assert figures["matched"] > 0
    expected, actual = load_counts(ran.home), load_counts(other)
    others = [key for key in actual if key[1] != channel and key[2] == f"{SUNDAY}"]
    assert others
    assert [key for key in others if actual[key] != expected[key]] == []
    assert actual["leads", channel, f"{SUNDAY}"]["rejected_files"] == 1
    page = (other / "reports" / f"date={SUNDAY}" / "index.html").read_text()
    assert channel in page
    assert file.name in page
    lost = figures["quarantined"] / figures["received"]
    assert lost > 1 / 3
    assert (process.returncode, figures["verdict"]) == (1, "not_fit")
    assert "Too many leads are in refused files or in quarantine" in figures["reasons"][0]


@pytest.mark.prove  # test_alerts.py has a failed step, too
def test_a_failed_step_is_reported_and_the_report_is_still_published(
    landed: Path, ran: CompletedRun, tmp_path
):
    other = copy_home(landed, tmp_path)
    (other / "pairs").write_text("a file where a folder belongs")
    process = banyan(other, "run", "--date", f"{SUNDAY}", "--json")
    assert process.returncode == 1
    assert process.stdout == ""
    assert f"{SUNDAY} failed at score." in process.stderr
    assert "Not done: close, deliver, match, plan_deliver." in process.stderr
    assert "Traceback" not in process.stderr
    assert (other / "reports" / f"date={SUNDAY}" / "index.html").is_file()
    assert not (other / "matches").exists()
    (other / "pairs").unlink()
    run(other, SUNDAY, SUNDAY)
    # one home has closed Sunday, the other Monday, with what became known of Sunday's rows
    settings = Settings(home=ran.home)
    of_monday = {
        path.relative_to(ran.home).as_posix()
        for path in list_shared_files(settings.day_folder(settings.marts, MONDAY))
    }
    differ = [path for path in differences(ran.home, other) if f"{MONDAY}" not in path]
    assert {"ledger/closed.json", "reports/days.json", "reports/index.html"} <= set(differ)
    of_all_days = re.compile(r"ledger/closed.json|reports/(days.json|index.*|weeks/.*|months/.*)")
    assert {path for path in differ if not of_all_days.fullmatch(path)} == of_monday & set(differ)


def test_a_second_run_on_a_locked_home_is_refused(ran: CompletedRun, tmp_path: Path):
    with (copy_home(ran.home, tmp_path) / ".run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = banyan(tmp_path, "run", "--date", f"{MONDAY}")
    assert process.returncode == 1
    assert "Another run is at work" in process.stderr
