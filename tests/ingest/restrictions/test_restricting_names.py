"""Unknown columns, folders and files whose name or header says that they restrict."""

import gzip
import json
from datetime import timedelta

import pytest

from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.deliveries.present_knowledge import load_holds
from pipelines.ingest import ingest_day
from pipelines.ingest.reading.restricting_names import find_meaning
from tests.helpers.landing import DAY, close_before, csv_bytes, land, leads, path_of, row
from tests.helpers.representatives import keep
from tests.ingest.test_restrictions import closed, findings, order, orders, run

pytestmark = pytest.mark.usefixtures("remembered")

NEXT = DAY + timedelta(days=1)


@pytest.mark.parametrize(
    "name",
    [
        *("opt_out", "OptOut", "email opt-out", "opted_out_at", "consent_revoked_at"),
        *("do_not_contact", "doNotCall", "do_not_sell", "dnc", "unsubscribed", "Unsubscribe date"),
        *("withdrawn", "withdrawn_at", "deleted_at", "erased", "erased_on", "gdpr_erasure"),
        *("blacklisted", "is_suppressed", "withdrawal_date", "permission_denied"),
    ],
)
def test_a_name_that_restricts_leads_is_known(name):
    assert find_meaning("leads", name) == "restricts"


@pytest.mark.parametrize("name", ["opt_in", "marketing_consent", "may_contact", "subscribed"])
def test_a_name_that_permits_is_known(name):
    assert find_meaning("leads", name) == "permits"


@pytest.mark.parametrize(
    "name",
    [
        *("adgroup", "utm_medium", "surprise", "consent_purpose", "consent_text_sha256"),
        *("consent_evidence", "monthly_quota", "option", "notes", "contact_time", "stopover"),
        *("balloon_outstanding", "copt_outlet", "data_source", "active_users"),
    ],
)
def test_other_names_say_nothing(name):
    assert find_meaning("leads", name) is None
    assert find_meaning("products", name) is None


def test_columns_of_feeds_that_open_nothing_say_nothing():
    for feed in ("outcomes", "channel_spend", "suppressions", "product_rules", "supply_links"):
        assert find_meaning(feed, "opt_out") is None


CLOSING = {"opt_out": "yes", "deleted_at": "2026-11-19", "marketing_consent": "false"}
OPEN = {"opt_out": "FALSE", "deleted_at": "NULL", "marketing_consent": "yes"}


@pytest.mark.parametrize("name", keep((0,), ["rows.csv", "rows.jsonl"]))
@pytest.mark.parametrize("column", CLOSING)
def test_a_value_in_an_unknown_column_that_restricts_closes_its_lead(settings, column, name):
    rows = [
        one | {column: OPEN[column] if number else CLOSING[column]}
        for number, one in enumerate(leads(30, consent_withdrawn_at=None))
    ]
    rows[1][column] = ""
    rows[2] |= {column: CLOSING[column], "amount": "none"}  # quarantined, and a copy may be known
    lines = "".join(json.dumps(one) + "\n" for one in rows).encode()
    land(path_of(settings, "leads", name=name), csv_bytes(rows) if name[5:] == "csv" else lines)
    run(settings)
    assert {(subject, reason) for _, subject, _, reason in orders(settings)} == {
        ("search/L00001", "unmapped_column"),
        ("search/L00003", "unmapped_column"),
    }
    assert findings(settings, "closing_orders") == {"unknown_column_closes_lead": 2}


def test_a_value_in_an_unknown_column_that_restricts_closes_product_and_institution(settings):
    land(
        path_of(settings, "institutions", "platform"),
        [
            row("institutions") | {"suspended_at": ""},
            row("institutions", institution_id="bank_02") | {"suspended_at": "2026-11-19"},
        ],
    )
    land(
        path_of(settings, "products", "bank_01"),
        [
            row("products") | {"is_paused": "0", "is_active": "1"},
            row("products", product_id="p-2") | {"is_paused": "1", "is_active": "1"},
            row("products", product_id="p-3") | {"is_paused": "", "is_active": "0"},
        ],
    )
    run(settings)
    assert closed(settings) == [
        ("close_institution", "bank_02", None),
        ("close_product", "bank_01", "p-2"),
        ("close_product", "bank_01", "p-3"),
    ]


ORDERS = [order(), order(reason="fraud")]


@pytest.mark.parametrize(
    ("path", "source"),
    keep(
        (0, 4, 6, 9),
        [
            ("do_not_contact/platform/2026-11-20/rows.csv", "platform"),
            ("opt-outs/platform/rows.csv", "platform"),
            ("misc/platform/2026-11-20/rows.csv", "platform"),
            ("suppressions.csv", ""),
            ("suppressions.jsonl.gz", ""),
            ("rows.csv", ""),
            ("2026-11-20/suppressions/rows.csv", ""),
            ("2026-11-20/platform/list.txt", "platform"),
            ("platform/suppressions/2026-11-20/rows.csv", "platform"),
            ("suppressions/platform/rows.csv", "platform"),
        ],
    ),
)
def test_a_misplaced_list_of_orders_holds_the_deliveries_until_it_is_placed(settings, path, source):
    close_before(settings)
    content = csv_bytes(ORDERS)
    if path.endswith(".gz"):
        content = gzip.compress("".join(json.dumps(one) + "\n" for one in ORDERS).encode())
    (settings.landing / path).parent.mkdir(parents=True, exist_ok=True)
    (settings.landing / path).write_bytes(content)
    run(settings)
    assert closed(settings) == [("hold_delivery", None, None)]
    assert findings(settings) == {"unreadable_order_holds_delivery": 1}
    name = "rows.jsonl.gz" if path.endswith(".gz") else "rows.csv"
    placed = path_of(settings, "suppressions", source or "platform", name=name)
    placed.parent.mkdir(parents=True, exist_ok=True)
    (settings.landing / path).rename(placed)
    if source == "platform":  # the date is run again
        run(settings)
        assert closed(settings) == []
    else:
        run(settings, NEXT)
        with connect(settings) as connection:
            assert load_holds(connection, settings, NEXT, set()) == []


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"the subject and reason of our call\n", b""])
def test_another_misplaced_file_holds_nothing(settings, content):
    close_before(settings)
    for path in ("notes/platform/2026-11-20/rows.csv", "readme.txt", "2026-11-20/x/a.csv"):
        file = settings.landing / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    run(settings)
    assert closed(settings) == []
    assert ingest_day.ingest(settings, DAY)["misplaced"] == 3


@pytest.mark.parametrize("feed", ["leads", "products", "outcomes"])
def test_a_list_of_orders_in_the_folder_of_another_feed_holds_until_it_is_placed(settings, feed):
    wrong = land(path_of(settings, feed, "search"), ORDERS)
    run(settings)
    assert ("hold_delivery", None, None) in closed(settings)
    right = path_of(settings, "suppressions", "platform")
    right.parent.mkdir(parents=True)
    wrong.rename(right)
    if feed == "leads":  # the date is run again
        run(settings)
        assert ("hold_delivery", None, None) not in closed(settings)
    else:
        run(settings, NEXT)
        with connect(settings) as connection:
            assert load_holds(connection, settings, NEXT, set()) == []


def test_a_hash_list_without_a_header_holds_by_its_folder(settings: Settings):
    close_before(settings)
    file = settings.landing / "blacklist" / "2026" / "hashes.txt"
    file.parent.mkdir(parents=True)
    file.write_text("ab" * 32 + "\n")
    run(settings)
    assert closed(settings) == [("hold_delivery", None, None)]
