"""A delivery is judged by what is known when it is written, not by its own day alone."""

import shutil
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.restrictions import SCHEMA as RESTRICTIONS
from pipelines.core.settings import Settings
from pipelines.deliveries import deliver, lead_file
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE
from tests.deliveries.test_deliver import (
    CSV_BANK,
    PARQUET_BANK,
    deliver_all,
    filter_matches,
    folder_of,
    matches_of,
)
from tests.helpers.lake import at, sha, write_feed
from tests.helpers.matched_day import DAY
from tests.helpers.representatives import keep

pytestmark = pytest.mark.usefixtures("remembered")

NEXT = DAY + timedelta(days=1)
LATER = DAY + timedelta(days=3)


def order(match: dict[str, Any], **columns: Any) -> dict[str, Any]:
    subject = {"subject_type": "lead", "subject": f"{match['channel_id']}/{match['lead_id']}"}
    return subject | {"reason": "erasure", "effective_at": at("2026-11-21 09:00")} | columns


def publish_restrictions(settings: Settings, day: date, *rows: dict[str, Any]) -> None:
    hold = {"feed": "suppressions", "source": "dnc", "action": "hold_delivery", "reason": "type"}
    table = pa.Table.from_pylist([hold | row for row in rows], RESTRICTIONS)
    with publishing(settings.day_folder(settings.lake / "restrictions", day), {}) as folder:
        write_parquet(table, folder / "restrictions.parquet")


def publish_newer_marts(settings: Settings, day: date, **changes: Any) -> None:
    """Publish the products of the day as the marts of `day`, CSV_BANK's with other values."""
    marts = settings.day_folder(settings.marts, DAY)
    table = pq.read_table(marts / "products.parquet")
    rows = [
        row | (changes if row["institution_id"] == CSV_BANK else {}) for row in table.to_pylist()
    ]
    with publishing(settings.day_folder(settings.marts, day), {}) as folder:
        write_parquet(pa.Table.from_pylist(rows, table.schema), folder / "products.parquet")


def delivered_ids(settings: Settings, institution: str) -> list[str]:
    folder = folder_of(settings, institution)
    version = read_manifest(folder)["deliveries"][-1]
    return lead_file.read(folder / version["file"])["match_id"].to_pylist()


def manifest_of(settings: Settings, institution: str = CSV_BANK) -> dict[str, Any]:
    manifest = read_manifest(folder_of(settings, institution))
    assert manifest["rows"] + manifest["held_back"] == len(matches_of(settings, institution))
    return manifest


def test_a_later_order_on_another_lead_of_the_person_is_obeyed(delivered_copy):
    match = matches_of(delivered_copy, CSV_BANK)[0]
    path = delivered_copy.day_folder(delivered_copy.lake / "leads", DAY) / "leads.parquet"
    (phone,) = (
        row["phone"]
        for row in pq.read_table(path).to_pylist()
        if (row["channel_id"], row["lead_id"]) == (match["channel_id"], match["lead_id"])
    )
    # the same phone with an identity number, which came with another phone that is suppressed
    person = {"channel_id": "later", "id_number": "ann"}
    same = person | {"lead_id": "same", "phone": phone}
    other = person | {"lead_id": "other", "phone": "+8613900000000"}
    write_feed(delivered_copy, "leads", NEXT, [same, other])
    order_on_phone = order(match, subject_type="phone", subject=sha(other["phone"]))
    write_feed(delivered_copy, "suppressions", NEXT, [order_on_phone])
    deliver_all(delivered_copy)
    assert manifest_of(delivered_copy)["retracted"] == [match["match_id"]]


@pytest.mark.parametrize(
    ("withdrawn", "is_retracted"), [("2026-11-21 10:00", True), ("2026-01-01 10:00", False)]
)
def test_a_withdrawal_on_a_later_lead_of_the_person_ends_earlier_consents(
    delivered_copy, withdrawn, is_retracted
):
    match = matches_of(delivered_copy, CSV_BANK)[0]
    path = delivered_copy.day_folder(delivered_copy.lake / "leads", DAY) / "leads.parquet"
    (phone,) = (
        row["phone"]
        for row in pq.read_table(path).to_pylist()
        if (row["channel_id"], row["lead_id"]) == (match["channel_id"], match["lead_id"])
    )
    again = {"channel_id": "later", "lead_id": "again", "phone": phone}
    write_feed(
        delivered_copy,
        "leads",
        NEXT,
        [again | {"consent_withdrawn_at": at(withdrawn), "consent_scope": [PARQUET_BANK]}],
    )
    deliver_all(delivered_copy)
    expected = [match["match_id"]] if is_retracted else []
    assert manifest_of(delivered_copy).get("retracted", []) == expected


def test_an_erasure_known_a_day_later_is_not_delivered_again_and_is_retracted(delivered_copy):
    matches = matches_of(delivered_copy, CSV_BANK)
    write_feed(delivered_copy, "suppressions", NEXT, [order(matches[0])])
    deliver_all(delivered_copy)
    manifest = manifest_of(delivered_copy)
    assert (manifest["version"], manifest["judged_as_of"]) == (2, f"{NEXT}")
    assert manifest["retracted"] == [matches[0]["match_id"]]
    assert manifest["held_reasons"] == {"suppressed": 1}
    assert {finding["id"] for finding in manifest["findings"]} == {
        "delivery_corrected",
        "delivery_rows_held",
    }
    assert matches[0]["match_id"] not in delivered_ids(delivered_copy, CSV_BANK)
    assert deliver_all(delivered_copy)["delivered"] == 0  # nothing more to correct


def test_an_erased_person_is_not_delivered_for_the_first_time_by_a_correction(matched_copy):
    first, second = matches_of(matched_copy, CSV_BANK)[:2]
    hidden = {first["match_id"], second["match_id"]}
    every_match = pq.read_table(
        matched_copy.day_folder(matched_copy.matches, DAY) / "matches.parquet"
    )
    filter_matches(matched_copy, lambda row: row["match_id"] not in hidden)
    deliver_all(matched_copy)
    with publishing(matched_copy.day_folder(matched_copy.matches, DAY), {}) as folder:
        write_parquet(every_match, folder / "matches.parquet")
        for name in ("prices", "rule_costs"):
            path = matched_copy.day_folder(matched_copy.matches, DAY) / f"{name}.parquet"
            if path.is_file():
                write_parquet(pq.read_table(path), folder / path.name)
    write_feed(matched_copy, "suppressions", LATER, [order(first)])
    deliver_all(matched_copy)
    ids = delivered_ids(matched_copy, CSV_BANK)
    assert first["match_id"] not in ids
    assert second["match_id"] in ids
    assert manifest_of(matched_copy)["retracted"] == []


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ({"consent_withdrawn_at": at("2026-11-21 10:00")}, "consent_withdrawn"),
        ({"consent_scope": [PARQUET_BANK]}, "consent_narrowed"),
    ],
)
def test_what_a_later_file_of_the_channel_says_counts(delivered_copy, later, reason):
    match = matches_of(delivered_copy, CSV_BANK)[0]
    lead = {name: match[name] for name in ("channel_id", "lead_id")}
    write_feed(delivered_copy, "leads", NEXT, [lead | later])
    deliver_all(delivered_copy)
    assert manifest_of(delivered_copy)["held_reasons"] == {reason: 1}
    assert manifest_of(delivered_copy)["retracted"] == [match["match_id"]]


@pytest.mark.parametrize(
    ("later", "is_delivered"),
    keep(
        (0, 2, 3),
        [
            ({"institution_id": "bank-999"}, True),
            ({"institution_id": CSV_BANK}, False),
            ({"effective_at": at("2026-11-22 00:00")}, True),
            ({"effective_at": at("2026-11-21 23:59")}, False),
            ({"reason": "consent_withdrawn"}, False),
        ],
    ),
)
def test_a_first_delivery_is_judged_by_what_is_known_then(matched_copy, later, is_delivered):
    match = matches_of(matched_copy, CSV_BANK)[0]
    write_feed(matched_copy, "suppressions", NEXT, [order(match, **later)])
    deliver_all(matched_copy)
    assert (match["match_id"] in delivered_ids(matched_copy, CSV_BANK)) == is_delivered


@pytest.mark.parametrize(
    ("terms", "reason"),
    keep(
        (0, 3),
        [
            ({"is_open": False, "closed_reason": "paused", "status": "paused"}, "paused"),
            ({"is_open": False, "closed_reason": "unreadable_rule"}, "unreadable_rule"),
            ({"daily_quota": 0}, "quota"),
            ({"monthly_quota": 0}, "quota"),
        ],
    ),
)
def test_a_pause_end_or_smaller_cap_concerns_new_rows_only(delivered_copy, terms, reason):
    publish_newer_marts(delivered_copy, NEXT, **terms)
    write_feed(delivered_copy, "suppressions", NEXT)
    assert deliver_all(delivered_copy)["delivered"] == 0
    remove_outbox(delivered_copy)
    deliver_all(delivered_copy)  # now every row is new
    manifest = manifest_of(delivered_copy)
    assert (manifest["state"], manifest["deliveries"]) == ("held", [])
    assert reason in manifest["message"]
    assert manifest_of(delivered_copy, PARQUET_BANK)["state"] == "delivered"


def test_a_quota_holds_over_all_versions_of_a_day(matched_copy):
    matches = matches_of(matched_copy, CSV_BANK)
    product = max({m["product_id"] for m in matches}, key=[m["product_id"] for m in matches].count)
    of_product = [m["match_id"] for m in matches if m["product_id"] == product]
    assert len(of_product) >= 4
    every_match = pq.read_table(
        matched_copy.day_folder(matched_copy.matches, DAY) / "matches.parquet"
    )
    late = set(of_product[-2:])
    filter_matches(matched_copy, lambda row: row["match_id"] not in late)
    deliver_all(matched_copy)
    gone = of_product[0]
    keep = pa.array([match != gone for match in every_match["match_id"].to_pylist()])
    folder = matched_copy.day_folder(matched_copy.matches, DAY)
    others = {p.name: pq.read_table(p) for p in folder.glob("*.parquet")}
    with publishing(folder, {}) as fresh:
        for name, table in (others | {"matches.parquet": every_match.filter(keep)}).items():
            write_parquet(table, fresh / name)
    publish_newer_marts(matched_copy, NEXT, daily_quota=len(of_product) - 2)
    write_feed(matched_copy, "suppressions", NEXT)
    deliver_all(matched_copy)
    manifest = manifest_of(matched_copy)
    assert manifest["retracted"] == [gone]
    outstanding = set(delivered_ids(matched_copy, CSV_BANK)) & set(of_product)
    assert len(outstanding) == len(of_product) - 2  # the retracted row gave its place to one
    assert manifest["held_reasons"] == {"quota": 1}


def test_an_institution_that_is_not_admitted_any_more_gets_no_file(delivered_copy):
    match = matches_of(delivered_copy, CSV_BANK)[0]
    ended = {"institution_id": CSV_BANK, "admitted_to": DAY}
    write_feed(delivered_copy, "institutions", NEXT, [ended])
    assert deliver_all(delivered_copy)["delivered"] == 0  # nothing changes: nothing goes out
    write_feed(delivered_copy, "suppressions", NEXT, [order(match)])
    deliver_all(delivered_copy)
    manifest = manifest_of(delivered_copy)
    assert (manifest["state"], manifest["version"]) == ("held", 1)
    assert manifest["retracted"] == [match["match_id"]]


@pytest.mark.parametrize("landed_on", [DAY, NEXT])
@pytest.mark.parametrize(
    ("feed", "terms", "reason"),
    [
        ("institutions", {"admitted_from": NEXT}, "not_admitted"),
        ("products", {"valid_from": NEXT}, "not_valid_yet"),
    ],
)
def test_a_late_list_that_opens_on_the_next_date_closes_the_date_that_it_is_of(
    matched_copy, landed_on, feed, terms, reason
):
    """The marts of the next date call it open, and on the date itself it was not."""
    products = {match["product_id"] for match in matches_of(matched_copy, CSV_BANK)}
    keys = [{"product_id": name} for name in products] if feed == "products" else [{}]
    if feed == "products":
        terms = terms | {"daily_quota": 1000, "apr_max": 0.24}
    rows = [{"institution_id": CSV_BANK, "landed_on": landed_on} | terms | key for key in keys]
    write_feed(matched_copy, feed, NEXT, rows)
    publish_newer_marts(matched_copy, NEXT)
    deliver_all(matched_copy)
    manifest = manifest_of(matched_copy)
    assert manifest["state"] == ("held" if landed_on == DAY else "delivered")
    assert landed_on == NEXT or reason in manifest["message"]


FEE = {"fee": "account_fee", "basis": "fixed", "value": 1.0, "when": "upfront"}
FEE |= {"collector": "bank", "is_contingent": False}
LATE_PAYMENT = {"fee": "late_payment", "basis": "share_of_balance", "value": 0.01}
LATE_PAYMENT |= {"when": "on_default", "is_contingent": True}
"""Stated before as well; without it the products would not state the costs that they must."""


@pytest.mark.parametrize("landed_on", keep((0,), [DAY, NEXT]))
@pytest.mark.parametrize(
    ("feed", "terms", "reason"),
    keep(
        (0, 1, 2),
        [
            ("product_rules", {"attribute": "age_years", "op": "ge", "value": "90"}, "late_rules"),
            ("product_fees", FEE, "late_fees"),
            ("products", {"amount_max": 1.0}, "late_terms"),
            ("products", {"target_cost_per_funded": 1.0}, "late_terms"),
            ("products", {"amount_max": 1e9, "apr_max": 0.24}, None),
        ],
    ),
)
def test_late_rules_and_limits_of_a_date_hold_rows_that_nobody_has_yet(
    matched_copy, landed_on, feed, terms, reason
):
    """The matches were made before; what a lender has already stays."""
    marts = pq.read_table(matched_copy.day_folder(matched_copy.marts, DAY) / "products.parquet")
    own = [row for row in marts.to_pylist() if row["institution_id"] == CSV_BANK]
    names = (
        ("institution_id", "product_id")
        if feed in ("product_rules", "product_fees")
        else (
            *("institution_id", "product_id", "segment", "currency", "amount_min", "amount_max"),
            *("term_min_months", "term_max_months", "apr_min", "apr_max", "daily_quota", "status"),
            *("target_cost_per_approval", "target_cost_per_funded"),
        )
    )
    rows = [{name: row[name] for name in names} | {"landed_on": landed_on} | terms for row in own]
    rows += [row | LATE_PAYMENT for row in rows if feed == "product_fees"]
    write_feed(matched_copy, feed, NEXT, rows)
    publish_newer_marts(matched_copy, NEXT)
    deliver_all(matched_copy)
    manifest = manifest_of(matched_copy)
    is_held = reason is not None and landed_on == DAY
    assert manifest["state"] == ("held" if is_held else "delivered")
    assert not is_held or reason in manifest["message"]


@pytest.mark.parametrize(
    ("row", "held"),
    keep(
        (0, 1, 2),
        [
            ({"institution_id": None}, {CSV_BANK, PARQUET_BANK}),
            ({"institution_id": CSV_BANK}, {CSV_BANK}),
            ({"institution_id": "bank-OOO"}, {CSV_BANK, PARQUET_BANK}),
            ({"institution_id": "ALL"}, {CSV_BANK, PARQUET_BANK}),
            ({"institution_id": "", "file": "dnc.csv"}, {CSV_BANK, PARQUET_BANK}),
        ],
    ),
)
def test_an_unreadable_order_list_holds_each_delivery_that_it_could_concern(
    matched_copy, row, held
):
    publish_restrictions(matched_copy, DAY, row)
    result = deliver_all(matched_copy)
    states = {name: manifest_of(matched_copy, name) for name in (CSV_BANK, PARQUET_BANK)}
    assert {name for name, facts in states.items() if facts["state"] == "held"} == held
    assert result["held_back"] >= len(held)
    for name in held:
        (finding,) = states[name]["findings"]
        assert finding["id"] == "delivery_held"
        assert finding["sources"] == ["suppressions/dnc"]
        assert not list(folder_of(matched_copy, name).glob("leads*"))
        assert f"landing/suppressions/dnc/{DAY}" in states[name]["message"]


@pytest.mark.parametrize(
    ("landed_on", "source", "is_mended"),
    keep(
        (0, 2),
        [
            (DAY, "dnc", True),
            (DAY - timedelta(days=1), "dnc", True),
            (NEXT, "dnc", False),  # the list of the next day doesn't repeat the unreadable one
            (DAY, "other", False),
        ],
    ),
)
def test_a_hold_ends_with_a_readable_list_for_the_same_date(
    matched_copy, landed_on, source, is_mended
):
    publish_restrictions(matched_copy, DAY, {})
    deliver_all(matched_copy)
    match = matches_of(matched_copy, CSV_BANK)[0]
    mended = order(match, platform_id=source, landed_on=landed_on)
    write_feed(matched_copy, "suppressions", NEXT, [mended])
    deliver_all(matched_copy)
    manifest = manifest_of(matched_copy)
    assert manifest["state"] == ("delivered" if is_mended else "held")
    if is_mended:
        assert match["match_id"] not in delivered_ids(matched_copy, CSV_BANK)


@pytest.mark.parametrize(
    ("rule", "landed_on", "source", "is_mended"),
    keep(
        (0, 4),
        [
            ("duplicate", DAY, "dnc", True),
            ("duplicate", DAY - timedelta(days=1), "dnc", True),
            ("duplicate", NEXT, "dnc", False),
            ("duplicate", DAY, "other", False),
            ("encoding", DAY, "dnc", False),
        ],
    ),
)
def test_a_hold_ends_with_a_readable_list_of_orders_that_are_all_known(
    matched_copy, rule, landed_on, source, is_mended
):
    publish_restrictions(matched_copy, DAY, {})
    deliver_all(matched_copy)
    write_feed(matched_copy, "suppressions", NEXT)
    row = {"source": source, "rule": rule, "rows": 1, "severity": "info"}
    row["file"] = f"suppressions/{source}/{landed_on}/again.csv"
    folder = matched_copy.day_folder(matched_copy.quarantine / "suppressions", NEXT)
    with publishing(folder, {}) as fresh:
        table = pa.Table.from_pylist([row], QUARANTINE)
        write_parquet(table, fresh / "quarantine.parquet")
    deliver_all(matched_copy)
    assert manifest_of(matched_copy)["state"] == ("delivered" if is_mended else "held")


def test_a_restriction_that_closes_products_holds_no_delivery(matched_copy):
    publish_restrictions(matched_copy, DAY, {"action": "close_product", "feed": "product_rules"})
    assert deliver_all(matched_copy)["held_back"] == 0


def test_what_would_be_held_today_is_listed_and_nothing_is_written(delivered_copy):
    assert deliver.find_held_today(delivered_copy, DAY) == {}
    match = matches_of(delivered_copy, CSV_BANK)[0]
    write_feed(delivered_copy, "suppressions", LATER, [order(match)])
    held = deliver.find_held_today(delivered_copy, DAY)
    assert held[CSV_BANK] == {"suppressed": [match["match_id"]]}
    assert manifest_of(delivered_copy)["version"] == 1


def remove_outbox(settings: Settings) -> None:
    """Remove what was delivered, as if the day had never been delivered."""
    shutil.rmtree(settings.outbox)
