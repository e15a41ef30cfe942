"""A run succeeds with any bytes in a file and any file name, and counts every row."""

import gzip
import io
import json
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from tests.helpers.landing import DAY, csv_bytes, land, path_of, row
from tests.ingest.published import counts, loaded, quarantined

FILES = 240
CORRUPTIONS = [
    b"\0",
    b'"',
    b"\n",
    b"\r",
    b",",
    b"\xff\xfe",
    b"|",
    b"{",
    b"\\",
    b"\xe9",
    b"1e999",
    b"",
]


def corrupt(content, dice):
    """Return `content` with some bytes replaced, removed, repeated or added."""
    data = bytearray(content)
    for _ in range(dice.randrange(1, 6)):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice([0, 1, 1, 40]))
        data[start:end] = dice.choice([*CORRUPTIONS, bytes(data[start:end]) * 2, dice.randbytes(3)])
    return bytes(data)


def contents():
    rows = [row("channel_spend", campaign_id=f"c{i}") for i in range(12)]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    lines = "".join(json.dumps(record) + "\n" for record in rows).encode()
    return {
        "csv": csv_bytes(rows),
        "jsonl": lines,
        "csv.gz": gzip.compress(csv_bytes(rows), mtime=0),
        "parquet": file.getvalue(),
    }


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("bytes"), memory_limit="1GB")
    good, dice = contents(), random.Random(17)
    for number in range(FILES):
        kind = dice.choice(sorted(good))
        path = path_of(settings, "channel_spend", f"s{number}", name=f"rows.{kind}")
        path.parent.mkdir(parents=True)
        path.write_bytes(corrupt(good[kind], dice))
    ingest_day.ingest(settings, DAY)
    return settings


def test_the_counts_of_every_corrupted_file_add_up(settings):
    by_source = counts(settings, "channel_spend")
    assert len(by_source) == FILES
    for source, numbers in by_source.items():
        not_loaded = numbers["quarantined"] + numbers["duplicates"]
        assert numbers["received"] == numbers["loaded"] + not_loaded, source
    assert sum(numbers["rejected_files"] for numbers in by_source.values()) > 20
    assert sum(numbers["loaded"] for numbers in by_source.values()) > 500


def test_a_rejected_file_says_what_to_do(settings):
    rejected = [r for r in quarantined(settings, "channel_spend") if r["received"] is None]
    assert rejected
    assert all("Ask s" in record["message"] for record in rejected)


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_day_with_one_unreadable_file_succeeds(tmp_path, name):
    home = Settings(home=tmp_path, memory_limit="1GB")
    header = csv_bytes(SPEND).split(b"\n")[0]
    land(path_of(home, "channel_spend", name=name), header + b"\n\xff\n\xff\n")
    ingest_day.ingest(home, DAY)
    assert counts(home, "channel_spend")["search"]["rejected_files"] == 1
    assert [record["rule"] for record in quarantined(home, "channel_spend")] == ["reject_share"]


SPEND = [row("channel_spend")]


def test_a_file_with_an_unprintable_name_is_rejected(tmp_path):
    home = Settings(home=tmp_path, memory_limit="1GB")
    folder = path_of(home, "channel_spend").parent
    land(folder / os.fsdecode(b"r\xff.csv"), SPEND)
    land(folder / "a\nb.csv", SPEND)
    ingest_day.ingest(home, DAY)
    records = quarantined(home, "channel_spend")
    assert [record["rule"] for record in records] == ["name", "name"]
    assert all("its path holds unprintable characters" in r["message"] for r in records)


def test_circular_links_broken_links_and_pipes_do_not_stop_a_run(tmp_path):
    home = Settings(home=tmp_path, memory_limit="1GB")
    folder = land(path_of(home, "channel_spend"), SPEND).parent
    (folder / "round").symlink_to(home.landing, target_is_directory=True)
    (folder / "broken.csv").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe.csv")
    ingest_day.ingest(home, DAY)
    assert len(loaded(home, "channel_spend")) == 1
    assert sorted(record["file"] for record in quarantined(home, "channel_spend")) == [
        "channel_spend/search/2026-11-20/broken.csv",
        "channel_spend/search/2026-11-20/pipe.csv",
    ]
