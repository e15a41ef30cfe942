"""The section on conduct counts what other code counts from the same published files."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.deliveries.ledger.receipts import JUDGED
from pipelines.deliveries.withdrawal_notices import NOTICES
from pipelines.reports.publish_report import report
from pipelines.reports.sections.conduct.consent import (
    load_consent_versions,
    load_institution_consents,
    load_notices,
    load_order_sources,
)
from pipelines.reports.sections.conduct.offers import (
    load_admissions,
    load_caps,
    load_hopeless,
    load_lender_service,
    load_odds_shown,
    load_products_above_cap,
)
from tests.helpers.day import run_matching, write_day_before_matching, write_lake_leads
from tests.helpers.html import section_text

DAY = date(2026, 11, 20)
HASH = "ab" * 32


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A matched day; ten leads name their recipients, five of them bring the hash of a text."""
    settings = write_day_before_matching(tmp_path_factory.mktemp("conduct"), DAY, leads=300)
    products = rows(settings, "marts", "products")
    lenders = sorted({product["institution_id"] for product in products})
    changes = {
        lead["lead_id"]: {"consent_scope": lenders, "consent_version": "2"}
        | ({"consent_text_sha256": HASH.upper()} if number < 5 else {})
        for number, lead in enumerate(rows(settings, "marts", "leads")[:10])
    }
    write_lake_leads(settings, DAY, **changes)
    run_matching(settings, DAY)
    return settings


@pytest.fixture
def connection(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(settings) as made:
        yield made


def rows(settings: Settings, root: str, name: str) -> list[dict]:
    path = settings.day_folder(settings.home / root, DAY) / f"{name}.parquet"
    return pq.read_table(path, partitioning=None).to_pylist()


def test_consents_are_counted_by_version_and_text(settings, connection):
    found = load_consent_versions(settings, DAY, connection)
    counted = {(row.version, row.text_hash): (row.leads, row.named, row.state) for row in found}
    assert counted == {
        ("1", ""): (290, 0, "no_register"),
        ("2", ""): (5, 5, "no_register"),
        ("2", HASH[:12]): (5, 5, "no_register"),
    }
    matched = {(row["channel_id"], row["lead_id"]) for row in rows(settings, "matches", "matches")}
    assert sum(row.matched for row in found) == len(matched)


def test_consents_that_name_the_institution_are_counted_by_match(settings, connection):
    named = {lead["lead_id"] for lead in rows(settings, "marts", "leads")[:10]}
    expected, named_matches = Counter(), Counter()
    for match in rows(settings, "matches", "matches"):
        expected[match["institution_id"]] += 1
        named_matches[match["institution_id"]] += match["lead_id"] in named
    found = load_institution_consents(settings, DAY, connection)
    assert {row.institution_id: row.matches for row in found} == dict(expected)
    assert {row.institution_id: row.named for row in found} == dict(named_matches)
    shares = [row.named / row.matches for row in found]
    assert shares == sorted(shares)


def publish_settlement(
    settings: Settings, day: date, notices: list[dict], receipts: list[dict]
) -> None:
    with publishing(settings.day_folder(settings.settlement, day), {}) as folder:
        write_parquet(pa.Table.from_pylist(notices, NOTICES), folder / "notices.parquet")
        write_parquet(pa.Table.from_pylist(receipts, JUDGED), folder / "receipts.parquet")


def test_notices_are_timed_from_the_word_of_the_person_to_the_receipt(tmp_path, connection):
    home = Settings(home=tmp_path)
    sent, asked = DAY - timedelta(days=5), DAY - timedelta(days=8)
    notice = {"kind": "withdrawal", "deadline": sent + timedelta(days=2)}
    publish_settlement(
        home,
        sent,
        [
            notice | {"institution_id": "quick", "effective_on": sent},
            notice | {"institution_id": "quick", "effective_on": asked},
            notice | {"institution_id": "late", "effective_on": sent},
            notice | {"institution_id": "silent", "effective_on": date(1970, 1, 1)},
            notice | {"institution_id": "late", "effective_on": date(1970, 1, 1)},
        ],
        [],
    )
    answer = {"status": "ack", "judgement": "received", "version": 1}
    at = datetime(sent.year, sent.month, sent.day, 4, tzinfo=UTC)
    publish_settlement(
        home,
        sent + timedelta(days=4),
        [],
        [
            answer
            | {
                "institution_id": name,
                "delivery_id": f"notice-{sent}-{name}",
                "at": at + timedelta(days=days),
            }
            for name, days in (("quick", 1), ("late", 4))
        ],
    )
    found = {row.institution_id: row for row in load_notices(home, DAY, connection)}
    quick, late, silent = found["quick"], found["late"], found["silent"]
    assert (quick.people, quick.mean_days_to_notice, quick.longest_days_to_notice) == (2, 1.5, 3)
    assert (quick.acknowledged, quick.longest_days_to_receipt, quick.acknowledged_late) == (1, 1, 0)
    assert (late.people, late.mean_days_to_notice, late.longest_days_to_notice) == (2, 0.0, 0)
    assert (silent.mean_days_to_notice, silent.longest_days_to_notice) == (None, None)
    assert (late.acknowledged_late, late.longest_days_to_receipt, late.open) == (1, 4, 0)
    assert (silent.open, silent.overdue, silent.next_deadline) == (1, 1, f"{notice['deadline']}")
    assert next(iter(found)) == "silent"
    assert load_notices(Settings(home=tmp_path / "none"), DAY, connection) == ()


def test_orders_of_every_source_are_counted_with_the_leads_that_they_meet(settings, connection):
    subjects = [lead["phone_sha256"] for lead in rows(settings, "lake/leads", "leads")[:3]]
    orders = pa.table(
        {
            "platform_id": ["good"] * 3 + ["foreign"],
            "subject_type": ["phone"] * 4,
            "subject": [*subjects, "0" * 64],
            "reason": ["erasure", "erasure", "do_not_contact", "fraud"],
            "institution_id": [None, "all", "bank-000", None],
            "effective_at": [datetime(2026, 11, 1, tzinfo=UTC)] * 4,
        }
    )
    with publishing(settings.day_folder(settings.lake / "suppressions", DAY), {}) as folder:
        write_parquet(orders, folder / "suppressions.parquet")
    foreign, good = load_order_sources(settings, DAY, connection)
    assert (good.source, good.orders, good.matched, good.of_every_institution) == ("good", 3, 3, 2)
    assert good.reasons == ("do_not_contact", "erasure")
    assert (foreign.orders, foreign.matched, foreign.leads) == (1, 0, 300)


def test_caps_are_the_policys_on_stated_and_on_suggested_rates(settings, connection):
    products = rows(settings, "marts", "products")
    caps = {
        (row["institution_id"], row["product_id"]): policy.price_cap(
            row["institution_kind"], row["segment"], row["currency"], DAY
        )
        for row in products
    }
    stated = {
        key for row in products
        if (cap := caps[key := (row["institution_id"], row["product_id"])]) and row["apr_max"] > cap
    }  # fmt: skip
    found = load_caps(settings, DAY, connection)
    above = load_products_above_cap(settings, DAY, connection)
    assert sum(row.products for row in found) == len(products)
    assert {(row.institution_id, row.product_id) for row in above} == stated
    assert sum(row.stated_above for row in found) == len(stated)
    assert sum(row.matches_above for row in found) == 0
    assert {(row.kind, row.segment, row.currency, row.cap) for row in found} == {
        (row["institution_kind"], row["segment"], row["currency"], cap)
        for row, cap in zip(products, caps.values(), strict=True)
    }
    assert all(row.sources for row in found if row.cap)


def test_the_next_cap_is_shown_before_it_begins(settings, connection):
    lenders = load_caps(settings, DAY, connection)
    micro = [row.next_cap for row in lenders if (row.kind, row.currency) == ("micro_lender", "CNY")]
    assert all((cap.begins, cap.cap) == ("2027-12-31", 0.12) for cap in micro)
    assert all(row.next_cap is None for row in lenders if row.kind == "bank")


def test_admissions_name_every_institution_of_the_catalogue(settings, connection):
    found = load_admissions(settings, DAY, connection)
    names = {row["institution_id"] for row in rows(settings, "marts", "products")}
    assert {row.institution_id for row in found} == names
    assert sum(row.matches for row in found) == len(rows(settings, "matches", "matches"))
    assert all(row.is_admitted for row in found if row.matches)


def test_no_matched_person_is_hopeless_where_each_match_is_likely_enough(settings, connection):
    found = load_hopeless(settings, DAY, connection)
    none: dict[tuple, float] = {}
    for match in rows(settings, "matches", "matches"):
        key = match["channel_id"], match["lead_id"]
        none[key] = none.get(key, 1.0) * (1 - match["p_approve"])
    assert (found.people, found.hopeless) == (len(none), 0)
    assert found.lowest == pytest.approx(1 - max(none.values()), rel=1e-4)
    assert found.least_odds == policy.least_odds(DAY)["default"].offer


def test_lenders_are_compared_with_leads_sent_at_random(settings, connection):
    pairs = rows(settings, "pairs", "pairs")
    of_lead = Counter((pair["channel_id"], pair["lead_id"]) for pair in pairs)
    found = load_lender_service(settings, DAY, connection)
    assert found
    for lender in found:
        own = [pair for pair in pairs if pair["institution_id"] == lender.institution_id]
        weights = [1 / of_lead[pair["channel_id"], pair["lead_id"]] for pair in own]
        odds = np.average([pair["p_approve"] for pair in own], weights=weights)
        assert lender.broadcast_odds == pytest.approx(odds, rel=1e-4)
        assert lender.pairs == len(own)


@pytest.mark.parametrize(("approved", "is_kept"), [(60, True), (20, False)])
def test_odds_shown_are_held_against_decisions(tmp_path: Path, connection, approved, is_kept):
    home = Settings(home=tmp_path)
    number, before = 100, DAY - timedelta(days=20)
    keys = {
        "channel_id": ["search"] * number,
        "lead_id": [f"lead-{at}" for at in range(number)],
        "institution_id": ["bank"] * number,
        "product_id": ["loan"] * number,
    }
    with publishing(home.day_folder(home.offers, before), {}) as folder:
        offers = pa.table(keys | {"odds_shown": pa.array([52] * number, pa.int64())})
        write_parquet(offers, folder / "offers.parquet")
    at = [datetime(2026, 11, 5, tzinfo=UTC)] * number
    events = ["approved"] * approved + ["declined"] * (number - approved)
    with publishing(home.day_folder(home.marts, DAY), {}) as folder:
        outcomes = pa.table(keys | {"event": events, "event_at": at, "recorded_at": at})
        write_parquet(outcomes, folder / "outcomes.parquet")
    (band,) = load_odds_shown(home, DAY, connection)
    assert (band.band, band.offers, band.decided, band.approved) == (50, number, number, approved)
    assert band.is_kept == is_kept


def test_the_page_has_the_section_and_no_value_of_a_person(settings):
    report(settings, DAY)
    page = (settings.day_folder(settings.reports, DAY) / "index.html").read_text("utf-8")
    section = section_text(page, "conduct")
    for text in ("rest on a consent that names", "All-in annual cost", "Hopeless: 0 of"):
        assert text in section
    assert "Person, No." not in page
    assert "+86138" not in page
