"""received = loaded + quarantined + duplicates, by an independent counter."""

import csv
import gzip
import json
import random
from collections import Counter
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from pipelines.ingest.partitions import COUNTS, reconcile_rows
from tests.helpers.landing import DAY, csv_bytes, land, path_of, row
from tests.ingest.published import counts

DAYS = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
SENDERS = {
    "channel_spend": ["search", "social"],
    "institutions": ["platform"],
    "leads": ["search", "social"],
    "outcomes": ["bank_01", "bank_02"],
    "product_fees": ["bank_01"],
    "product_rules": ["bank_01"],
    "products": ["bank_01", "bank_02"],
    "receipts": ["bank_01", "bank_02"],
    "supply_links": ["platform"],
    "suppressions": ["platform"],
}
IDS = {
    "channel_spend": "campaign_id", "institutions": "institution_id", "leads": "lead_id",
    "outcomes": "lead_id", "product_fees": "product_id", "product_rules": "product_id",
    "products": "product_id",
    "receipts": "delivery_id", "supply_links": "seller_id", "suppressions": "subject",
}  # fmt: skip
REQUIRED = {
    "channel_spend": "spend", "institutions": "kind", "leads": "segment", "outcomes": "event_at",
    "product_fees": "when", "product_rules": "op", "products": "amount_max", "receipts": "sha256",
    "supply_links": "amount",
    "suppressions": "effective_at",
}  # fmt: skip


def random_rows(feed, random_numbers):
    """Return rows; some repeat a key and some break the contract."""
    rows = []
    for _ in range(random_numbers.randrange(1, 9)):
        channel = "search/" if feed == "suppressions" else ""
        changes = {IDS[feed]: f"{channel}x{random_numbers.randrange(40)}"}
        if random_numbers.random() < 0.2:
            changes[REQUIRED[feed]] = random_numbers.choice(["", "?"])
        rows.append(row(feed, **changes))
    return rows


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("counts"), memory_limit="1GB")
    random_numbers = random.Random(7)
    for feed, sources in SENDERS.items():
        for source in sources:
            for day in DAYS:
                for number in range(random_numbers.randrange(1, 3)):
                    rows = random_rows(feed, random_numbers)
                    kind = random_numbers.choice(["csv", "csv.gz", "jsonl"])
                    as_lines = "".join(json.dumps(record) + "\n" for record in rows).encode()
                    content = as_lines if kind == "jsonl" else csv_bytes(rows)
                    land(path_of(settings, feed, source, day, f"part{number}.{kind}"), content)
    ingest_day.ingest(settings, DAYS[-1])
    return settings


def received_by_hand(settings):
    """Count the data rows of every landed file with Python's own csv and json."""
    rows_by_partition = Counter()
    for path in sorted(settings.landing.rglob("*.*")):
        feed, source, day, name = path.relative_to(settings.landing).parts
        content = path.read_bytes()
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
        if ".jsonl" in name:
            rows = [json.loads(line) for line in text.splitlines()]
        else:
            rows = list(csv.DictReader(text.splitlines()))
        rows_by_partition[feed, source, day] += len(rows)
    assert len(rows_by_partition) == sum(len(sources) for sources in SENDERS.values()) * len(DAYS)
    return rows_by_partition


def test_every_row_is_either_in_the_lake_or_in_quarantine(settings):
    for (feed, source, day), received in received_by_hand(settings).items():
        partition = f"{feed}/date={day}"
        lake_rows = pq.read_table(settings.lake / partition / f"{feed}.parquet").to_pylist()
        records = pq.read_table(settings.quarantine / partition / "quarantine.parquet").to_pylist()
        name = {"leads": "channel_id", "channel_spend": "channel_id"}.get(feed)
        if name is None:
            name = "institution_id" if source.startswith("bank") else "platform_id"
        loaded = sum(record[name] == source for record in lake_rows)
        quarantined = sum(record["rows"] for record in records if record["source"] == source)
        assert received == loaded + quarantined, (feed, source, day)


def test_the_counts_of_the_manifests_agree_with_the_independent_counter(settings):
    by_hand = received_by_hand(settings)
    stated = Counter()
    for feed in SENDERS:
        for day in DAYS:
            for source, numbers in counts(settings, feed, day).items():
                stated[feed, source, str(day)] = numbers["received"]
                parts = numbers["loaded"] + numbers["quarantined"] + numbers["duplicates"]
                assert numbers["received"] == parts
    assert stated == by_hand


def test_the_random_files_have_rows_of_every_kind(settings):
    totals = Counter()
    for feed in SENDERS:
        for day in DAYS:
            for numbers in counts(settings, feed, day).values():
                totals += Counter(numbers)
    assert min(totals[name] for name in ("loaded", "quarantined", "duplicates")) > 20


def test_a_lost_row_raises_an_integrity_error():
    numbers = dict.fromkeys(COUNTS, 0) | {"received": 3, "loaded": 1, "quarantined": 1}
    with pytest.raises(
        IntegrityError, match=r"leads of search .* 3 rows were received, but 1 loaded"
    ):
        reconcile_rows("leads", "2026-11-20", {"search": numbers})
