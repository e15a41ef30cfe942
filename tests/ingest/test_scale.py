"""Memory does not grow with a file, and thousands of tiny files cost little more than opening."""

import json
import os
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.settings import PROJECT
from pipelines.ingest import ingest_day
from pipelines.ingest.ledger import Ledger, read_ledger
from tests.helpers.landing import DAY, csv_bytes, land, leads, path_of, row
from tests.ingest.published import counts

MEASURED = """
import json, re, sys, time
from datetime import date
from pathlib import Path
from pipelines.ingest import ingest_day
from pipelines.core.settings import Settings

begun = time.monotonic()
done = ingest_day.ingest(Settings(home=Path(sys.argv[1])), date.fromisoformat(sys.argv[2]))
# not ru_maxrss, which starts at the memory of the parent process
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
loaded = done["feeds"]["leads"]["loaded"]
print(json.dumps({"peak_mb": peak, "seconds": time.monotonic() - begun, "loaded": loaded}))
"""


def land_big(settings, count, kind="csv"):
    """Land one file of `count` full rows, made from the bytes of one row."""
    header, line = csv_bytes(leads(1)).splitlines(keepends=True)
    if kind == "jsonl":
        header, line = b"", json.dumps(leads(1)[0]).encode() + b"\n"
    path = path_of(settings, "leads", name=f"rows.{kind}")
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.write(header)
        for first in range(0, count, 10_000):
            numbers = range(first, min(first + 10_000, count))
            file.writelines(line.replace(b"L00001", b"L%07d" % number) for number in numbers)
    return path


def measure(settings):
    command = [sys.executable, "-c", MEASURED, str(settings.home), str(DAY)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.prove
def test_a_hundred_thousand_full_leads_stay_under_one_gigabyte(settings):
    land_big(settings, 100_000)
    figures = measure(settings)
    assert figures["loaded"] == 100_000
    assert figures["peak_mb"] < 1000


@pytest.mark.prove
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_million_full_leads_stay_under_a_gigabyte_and_a_half(settings, kind):
    assert land_big(settings, 1_000_000, kind).stat().st_size > 350_000_000
    figures = measure(settings)
    assert figures["loaded"] == 1_000_000
    assert figures["peak_mb"] < 1500


def test_a_thousand_tiny_files_take_about_a_millisecond_each(settings):
    for number in range(1000):
        content = [row("channel_spend", campaign_id=f"c{number}")]
        land(path_of(settings, "channel_spend", name=f"{number}.csv"), content)
    shards = ingest_day.plan(settings, DAY)
    begun = time.process_time()
    for shard in shards:
        ingest_day.ingest_shard(settings, DAY, shard)
    seconds = time.process_time() - begun
    ingest_day.collect(settings, DAY)
    search = counts(settings, "channel_spend")["search"]
    assert (search["files"], search["loaded"]) == (1000, 1000)
    assert seconds < 3.0  # processor time, the gate's start-up included


def test_shards_are_few_and_about_equal(settings):
    for number in range(40):
        rows = [row("channel_spend", campaign_id=f"c{i}") for i in range(1 + number % 7)]
        land(path_of(settings, "channel_spend", f"s{number}"), rows)
    small = settings.model_copy(update={"shard_bytes": 200})
    sizes = [shard["bytes"] for shard in ingest_day.plan(small, DAY)]
    assert len(sizes) == 16
    assert max(sizes) < 2 * min(sizes)
    assert len(ingest_day.plan(settings, DAY)) == 2


def test_a_day_without_files_has_one_shard_and_empty_partitions(settings):
    land(path_of(settings, "channel_spend"), [row("channel_spend")])
    ingest_day.ingest(settings, DAY)
    day = DAY + timedelta(days=1)
    assert [shard["files"] for shard in ingest_day.plan(settings, day)] == [0]
    assert ingest_day.ingest(settings, day)["partitions"] == 10


def test_a_home_without_any_file_is_refused_and_closes_no_date(settings):
    later = path_of(settings, "channel_spend", day=DAY + timedelta(days=1))
    land(later, [row("channel_spend")])
    misplaced = settings.landing / "spend" / "rows.csv"
    misplaced.parent.mkdir(parents=True)
    misplaced.write_text("a\n")
    with pytest.raises(InputMissing, match="was not run and not closed") as refused:
        ingest_day.ingest(settings, DAY)
    assert "Of 1 file elsewhere, the first is spend/rows.csv" in str(refused.value)
    assert read_ledger(settings) == Ledger()
    assert not (settings.ledger / "closed.json").exists()
    assert not settings.lake.exists()
    ingest_day.ingest(settings, DAY + timedelta(days=1))
    assert [entry.is_late for entry in read_ledger(settings).entries if entry.feed] == [False]
