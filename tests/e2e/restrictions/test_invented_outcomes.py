"""800 invented approvals of a lender, on a home with real deliveries: none of them trains.

`tests/transform/test_outcome_claims.py` has the same lender on a small lake, without the steps
after the marts.
"""

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines.core.home.shared_marts import read_mart
from pipelines.deliveries import lead_file
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY, run

pytestmark = pytest.mark.prove

Row = dict[str, Any]
KEYS = ("match_id", "channel_id", "lead_id", "institution_id", "product_id")
LINES = 800


class Claims(NamedTuple):
    """A home after the lender's file was taken in, the home before it, and the lines by kind."""

    home: Path
    before: Path
    lender: str
    lines: list[tuple[str, Row]]


def list_received(home: Path) -> list[Row]:
    """Return the matches that are in Sunday's lead files, read as institutions read them."""
    outbox = home / "outbox" / f"date={SUNDAY}"
    sent = [
        (file.parent.name, match_id)
        for file in sorted(outbox.glob("*/leads*"))
        for match_id in lead_file.read(file)["match_id"].to_pylist()
    ]
    matches = pq.read_table(home / "matches" / f"date={SUNDAY}" / "matches.parquet").to_pylist()
    by_id = {row["match_id"]: {key: row[key] for key in KEYS} for row in matches}
    assert all(by_id[match_id]["institution_id"] == name for name, match_id in sent)
    return [by_id[match_id] for _, match_id in sent]


def by_lead(row: Row, product: str) -> Row:
    return {"channel_id": row["channel_id"], "lead_id": row["lead_id"], "product_id": product}


def by_match(row: Row, product: str) -> Row:
    return {"match_id": row["match_id"], "product_id": product}


def invent(lender: str, received: list[Row], leads: list[Row]) -> Iterator[tuple[str, Row]]:
    """Yield the kind and columns of each claim, without an end."""
    draw = random.Random(13)
    own = [row for row in received if row["institution_id"] == lender]
    others = [row for row in received if row["institution_id"] != lender]
    product = own[0]["product_id"]
    own_leads = {(row["channel_id"], row["lead_id"]) for row in own}

    def is_own(row: Row) -> bool:
        return (row["channel_id"], row["lead_id"]) in own_leads

    yield from (("own by match", by_match(row, row["product_id"])) for row in own[:8])
    yield from (("own by lead", by_lead(row, row["product_id"])) for row in own[8:16])
    yield from (("wrong product", by_lead(row, "loan-9999")) for row in own[:10])
    yield from (("wrong product", by_match(row, "loan-9999")) for row in own[:10])
    yield from (("match of another", by_match(row, row["product_id"])) for row in others[:60])
    of_others = [row for row in others if not is_own(row)]
    yield from (("lead of another", by_lead(row, product)) for row in of_others[:60])
    anybody = [row for row in leads if not is_own(row)]
    yield from (("any lead of the day", by_lead(row, product)) for row in anybody[:120])
    # an own lead beside the match of another lender
    pairs = zip(own[:10], others[-10:], strict=True)
    yield from (
        ("contradiction", by_lead(row, product) | by_match(of, product)) for row, of in pairs
    )
    yield from (("names nothing", {"product_id": product}) for _ in range(5))
    for _ in range(60):
        yield "guessed match", {"match_id": f"{draw.getrandbits(64):016x}", "product_id": product}
    for number in count(1):
        row = draw.choice(leads)
        guess = row | {"lead_id": f"{row['lead_id'][:-4]}{9999 - number:04}"}
        yield "guessed lead", by_lead(guess, product)


def read_leads(home: Path, day: str) -> list[Row]:
    """Return the keys of the leads of a date, `*`: of all dates."""
    files = f"'{home}/lake/leads/date={day}/leads.parquet'"
    keys = duckdb.sql(
        f"select channel_id, lead_id from read_parquet({files}, hive_partitioning = false) "
        "order by all"
    )
    return keys.to_arrow_table().to_pylist()


@pytest.fixture(scope="module")
def claims(ran: CompletedRun, tmp_path_factory: pytest.TempPathFactory) -> Claims:
    """The file is sent for Monday, and Monday is run again."""
    home = copy_home(ran.home, tmp_path_factory.mktemp("invented"))
    received = list_received(home)
    ((lender, _),) = Counter(row["institution_id"] for row in received).most_common(1)
    leads = read_leads(home, f"{SUNDAY}")
    known = {tuple(row.values()) for row in [*leads, *read_leads(home, "*")]}
    lines: list[tuple[str, Row]] = []
    for kind, row in invent(lender, received, leads):
        if kind != "guessed lead" or (row["channel_id"], row["lead_id"]) not in known:
            lines.append((kind, row))
        if len(lines) == LINES:
            break
    folder = home / "landing" / "outcomes" / lender / f"{MONDAY}"
    folder.mkdir(parents=True, exist_ok=True)
    zone = ZoneInfo("Asia/Shanghai")
    with (folder / "claims.csv").open("w", encoding="utf-8", newline="") as file:
        names = ("match_id", "channel_id", "lead_id", "product_id", "event", "event_at")
        writer = csv.DictWriter(file, [*names, "recorded_at"], lineterminator="\n")
        writer.writeheader()
        for number, (_, row) in enumerate(lines):
            at = datetime(2026, 3, 2, 9, tzinfo=zone) + timedelta(seconds=number)
            year = 2062 if number in (100, 300, 500) else 2026
            times = {"event_at": at.isoformat(), "recorded_at": at.replace(year=year).isoformat()}
            writer.writerow(row | {"event": "approved"} | times)
    run(home, MONDAY, MONDAY)
    return Claims(home, ran.home, lender, lines)


def mart_rows(home: Path, name: str) -> list[Row]:
    return read_mart(home / "marts" / f"date={MONDAY}", name).to_pylist()


def test_none_is_linked_and_nothing_that_trains_or_ranks_changes(claims: Claims):
    kinds = Counter(kind for kind, _ in claims.lines)
    assert len(claims.lines) == LINES
    assert kinds["guessed lead"] > 300
    assert min(kinds["own by match"], kinds["own by lead"], kinds["lead of another"]) > 0
    for mart in ("outcomes", "training_pairs", "products", "channels", "leads"):
        assert mart_rows(claims.home, mart) == mart_rows(claims.before, mart), mart
    for folder in ("registry", f"matches/date={MONDAY}", f"pairs/date={MONDAY}"):
        tables = sorted((claims.before / folder).rglob("*.parquet"))
        assert tables or folder == "registry"
        for table in tables:
            again = claims.home / table.relative_to(claims.before)
            assert again.read_bytes() == table.read_bytes(), table.name


def test_the_finding_names_the_lender_and_the_page_says_it(claims: Claims):
    manifest = json.loads(
        (claims.home / "marts" / f"date={MONDAY}" / "manifest.json").read_text("utf-8")
    )
    (finding,) = [f for f in manifest["findings"] if f["id"] == "outcomes_not_received"]
    assert finding["sources"] == [claims.lender]
    assert finding["count"] == LINES - 3
    page = (claims.home / "reports" / f"date={MONDAY}" / "index.html").read_text("utf-8")
    assert f"outcomes of {claims.lender} are about leads that it did not receive" in page


def test_the_receipt_lists_each_line_with_a_reason(claims: Claims):
    folder = claims.home / "outbox" / f"date={MONDAY}" / claims.lender
    with (folder / "outcome_receipt.csv").open(encoding="utf-8") as file:
        receipt = [row for row in csv.DictReader(file) if row["file"] == f"{MONDAY}/claims.csv"]
    assert [int(row["line"]) for row in receipt] == list(range(2, LINES + 2))
    assert {row["status"] for row in receipt} == {"ignored"}
    by_kind: dict[str, set[str]] = {}
    for number, ((kind, _), row) in enumerate(zip(claims.lines, receipt, strict=True)):
        if number in (100, 300, 500):
            assert row["reason"] == "in_the_future: recorded_at"
        else:
            by_kind.setdefault(kind, set()).add(row["reason"])
    # nobody learns from an answer which leads and matches exist, or who received them
    hidden = ("match of another", "lead of another", "any lead of the day", "guessed lead")
    for kind in (*hidden, "guessed match", "contradiction"):
        assert by_kind.pop(kind) == {"not_delivered"}, kind
    assert by_kind == {
        "own by match": {"unfounded_report"},
        "own by lead": {"unfounded_report"},
        "wrong product": {"other_product"},
        "names nothing": {"names_no_lead"},
    }
