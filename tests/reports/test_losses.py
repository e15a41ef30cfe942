"""Each loss that only a table shows is a finding, and an ordinary day has none of them."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from expectations.contracts import load
from pipelines.core.database import connect
from pipelines.core.publishing import MANIFEST, publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.core.step_failures import record_failure
from pipelines.ingest.ledger import Entry, Ledger
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE
from pipelines.ingest.waiting import find_last_near_date, find_waiting_files, record_waiting_files
from pipelines.reports.losses import SEARCHES
from pipelines.reports.sections.catalogue import load_changes, load_products_without_leads
from pipelines.reports.verdict import Finding
from pipelines.transport.records import TransportRecord, write_record

DAY = date(2026, 1, 10)
Rows = Sequence[Mapping[str, Any]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def find(settings: Settings, name: str) -> dict[str, Finding]:
    with connect(settings) as connection:
        return {finding.id: finding for finding in SEARCHES[name](settings, DAY, connection)}


def publish_lake(settings: Settings, feed: str, day: date, rows: Rows, **counts: Any) -> None:
    """Publish a lake partition of `rows`; `counts` by source, else one file of each source."""
    contract = load(feed)
    sources = [row[contract.source_column] for row in rows]
    stated = counts or {
        source: {"files": 1, "received": sources.count(source), "loaded": sources.count(source)}
        for source in sources
    }
    with publishing(settings.day_folder(settings.lake / feed, day), {"counts": stated}) as folder:
        table = pa.Table.from_pylist([dict(row) for row in rows], contract.lake_schema)
        write_parquet(table, folder / f"{feed}.parquet")


def publish(settings: Settings, root: str, day: date, **tables: Rows) -> None:
    with publishing(settings.day_folder(settings.home / root, day), {}) as folder:
        for name, rows in tables.items():
            write_parquet(
                pa.Table.from_pylist([dict(row) for row in rows]), folder / f"{name}.parquet"
            )


def make_leads(channel: str, number: int, **columns: Any) -> list[dict[str, Any]]:
    lead = {"channel_id": channel, "phone": "+8613800138000", "is_phone_valid": True}
    lead |= {"currency": "CNY"} | columns
    return [lead | {"lead_id": f"{channel}-{n}"} for n in range(number)]


def days_before(number: int) -> Iterator[date]:
    return (DAY - timedelta(days=back) for back in range(number, 0, -1))


# files that wait


def land(settings: Settings, *paths: str) -> None:
    for path in paths:
        file = settings.landing / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("lead_id\n")


def test_files_in_folders_of_dates_far_ahead_are_named_with_their_number(settings: Settings):
    land(settings, "leads/video-01/2027-01-10/a.csv", "leads/c13/2026-12-29/a.csv")
    land(settings, "leads/c13/2026-12-29/b.csv", "leads/c13/2026-12-29/unfinished.csv.part")
    land(settings, "leads/c13/2026-01-11/tomorrow.csv")
    record_waiting_files(settings, Ledger(), DAY)
    finding = find(settings, "files that wait")["files_far_ahead"]
    assert (finding.severity, finding.amount) == ("remark", 3)
    assert finding.where == "leads/c13/2026-12-29, leads/video-01/2027-01-10"


@pytest.mark.parametrize(
    ("ahead", "last"),
    [((), 0), ((1, 2, 3), 3), ((4,), 4), ((5,), 0), ((1, 5, 9, 14), 9), ((353,), 0), ((-3, 31), 0)],
)
def test_a_date_is_far_behind_a_gap_of_more_than_three_days_without_files(
    ahead: tuple[int, ...], last: int
):
    landed = [DAY + timedelta(days=days) for days in ahead]
    assert find_last_near_date(DAY, landed, 3) == DAY + timedelta(days=last)


def test_an_earlier_date_whose_run_failed_is_named_until_it_succeeds(settings: Settings):
    earlier = DAY - timedelta(days=2)
    with pytest.raises(ValueError), record_failure(settings, earlier, "match", None):  # noqa: PT011
        raise ValueError
    record_waiting_files(settings, Ledger(), DAY)
    finding = find(settings, "files that wait")["earlier_date_failed"]
    assert (finding.severity, finding.amount) == ("remark", 1)
    assert finding.where == f"{earlier}: match"
    with record_failure(settings, earlier, "match", None):
        pass
    record_waiting_files(settings, Ledger(), DAY)
    assert not find(settings, "files that wait")


def test_a_late_file_that_no_run_has_read_is_named(settings: Settings):
    land(settings, "leads/search/2026-01-08/late.csv", "leads/search/2026-01-10/known.csv")
    entry = Entry(
        "leads", "search", f"{DAY}", "leads/search/2026-01-10/known.csv", 1, "", 1, "", False
    )
    record_waiting_files(settings, Ledger((entry,), date(2027, 1, 10)), DAY)
    finding = find(settings, "files that wait")["files_waiting"]
    assert (finding.amount, finding.where) == (1, "leads/search/2026-01-08")


def test_hidden_and_unfinished_files_that_are_left_over_are_named_since_when(settings: Settings):
    old, day = "suppressions/platform/2026-01-09", f"suppressions/platform/{DAY}"
    land(settings, f"{old}/a.csv.part", f"{old}/.b.csv.x7Ab", f"{old}/.DS_Store")
    land(settings, f"{day}/.c.csv", f"{day}/d.csv.part", f"{day}/e.csv.part", f"{day}/f.csv")
    land(settings, "suppressions/platform/2026-01-11/.g.csv")
    for name, moment in (("d", 1767880800), ("e", 1768010400)):  # 8 and 10 January, 14:00 UTC
        os.utime(settings.landing / day / f"{name}.csv.part", (moment, moment))
    (settings.landing / old / ".keep").touch()
    (settings.landing / day / ".empty").touch()
    (settings.landing / day / "orders.csv").mkdir()
    (settings.landing / day / "orders").mkdir()
    record_waiting_files(settings, Ledger(), DAY)
    found = find(settings, "files that wait")
    unfinished, folder = found["files_unfinished"], found["folder_named_as_file"]
    assert (unfinished.severity, unfinished.amount, folder.amount) == ("remark", 4, 1)
    named = [f"{old}/.b.csv.x7Ab", f"{old}/a.csv.part", f"{day}/.c.csv", f"{day}/d.csv.part"]
    assert unfinished.where == ", ".join(sorted(named))
    assert f"landing/{day}/d.csv.part since 2026-01-08 14:00 UTC" in unfinished.evidence
    assert folder.where == f"{day}/orders.csv"


def test_the_record_is_removed_once_no_file_waits(settings: Settings):
    land(settings, "leads/search/2027-01-10/a.csv")
    record_waiting_files(settings, Ledger(), DAY)
    (settings.landing / "leads/search/2027-01-10").rename(settings.home / "moved")
    assert find(settings, "files that wait")
    record_waiting_files(settings, Ledger(), DAY)
    assert find(settings, "files that wait") == {}


def test_a_replay_keeps_the_record_that_the_day_made(settings: Settings):
    land(settings, "leads/search/2027-01-10/a.csv")
    (settings.ledger).mkdir()
    (settings.ledger / "replay.json").write_text("{}")
    assert find_waiting_files(settings, Ledger(), DAY)
    record_waiting_files(settings, Ledger(), DAY)
    assert find(settings, "files that wait") == {}


# days and dates


def state_day(settings: Settings, received: int, matches: int, entries: str = "{}\n") -> None:
    counts = {"received": received, "loaded": received, "files": 1}
    publish_lake(settings, "leads", DAY, [], search=counts)
    facts = {"matches": matches, "received": received}
    facts |= dict.fromkeys(("unmatched", "quarantined", "suppressed"), 0)
    with publishing(settings.day_folder(settings.matches, DAY), facts):
        pass
    unmatched = [{"stage": "no_product", "detail": "currency"}] * (received - matches)
    publish(settings, "unmatched", DAY, unmatched=unmatched)
    settings.ledger.mkdir()
    (settings.ledger / f"date={DAY}.jsonl").write_text(entries)


@pytest.mark.parametrize(
    ("received", "matches", "entries", "expected"),
    [
        (200, 300, "{}\n", {}),
        (0, 0, "", {"day_empty": "not_fit"}),
        (0, 0, "{}\n", {"no_leads": "remark"}),  # no lead ever came
        (200, 0, "{}\n", {"leads_without_match": "not_fit"}),
    ],
)
def test_a_day_without_files_or_leads_or_matches_is_a_finding(
    settings: Settings, received: int, matches: int, entries: str, expected: dict[str, str]
):
    state_day(settings, received, matches, entries)
    found = find(settings, "received files")
    assert {name: finding.severity for name, finding in found.items()} == expected


def test_a_day_without_matches_says_where_its_leads_fell_out(settings: Settings):
    state_day(settings, 910, 0)
    finding = find(settings, "received files")["leads_without_match"]
    expected = "No lead was matched, of 910 leads received: 910 no product in this currency"
    assert finding.title == expected


def test_a_day_without_leads_is_not_fit_where_leads_came_before(settings: Settings):
    publish_lake(settings, "leads", DAY - timedelta(days=2), make_leads("search", 7))
    publish_lake(settings, "leads", DAY - timedelta(days=1), [], search={"received": 0})
    state_day(settings, 0, 0)
    (finding,) = find(settings, "received files").values()
    assert (finding.id, finding.severity) == ("no_leads_today", "not_fit")
    assert finding.title == "No lead was received; the last ones, 7, came on 2026-01-08"


@pytest.mark.parametrize(
    ("quarantined", "received", "rejected", "expected"),
    [
        (10, 100, 0, {}),
        (21, 200, 0, {"leads_lost": ("remark", 21)}),
        (19, 40, 0, {}),  # below the least number of leads
        (67, 100, 0, {"leads_mostly_lost": ("not_fit", 67)}),
        (60, 60, 1, {"leads_mostly_lost": ("not_fit", 60)}),
        (0, 0, 1, {"leads_mostly_lost": ("not_fit", 50)}),  # a refused file without a row
    ],
)
def test_a_large_share_of_the_leads_in_quarantine_is_named_with_its_source(
    settings: Settings,
    quarantined: int,
    received: int,
    rejected: int,
    expected: dict[str, tuple[str, int]],
):
    for day in days_before(3):
        publish_lake(settings, "leads", day, make_leads("search", 50))
    search = {"files": 1, "received": received, "quarantined": quarantined}
    others = 0 if received > 100 else 100 - received
    counts = {
        "search": search | {"rejected_files": rejected},
        "video": {"files": 1, "received": others, "quarantined": 0},
    }
    publish_lake(settings, "leads", DAY, [], **counts)
    found = find(settings, "lost leads")
    assert {name: (row.severity, row.amount) for name, row in found.items()} == expected
    assert all(row.where == "search" for row in found.values())


def test_leads_of_a_date_between_two_runs_are_named(settings: Settings):
    for day in days_before(3):
        publish_lake(settings, "leads", day, make_leads("search", 7))
    publish(settings, "matches", DAY - timedelta(days=3))
    publish(settings, "matches", DAY - timedelta(days=1))
    found = find(settings, "leads of earlier dates")
    assert (found["leads_never_run"].amount, len(found)) == (7, 1)
    assert found["leads_never_run"].where == "lake/leads/date=2026-01-08"


def outcome(lead_id: str) -> dict[str, Any]:
    """Return an outcome that counts."""
    return {"channel_id": "search", "lead_id": lead_id, "currency": "CNY"}


def test_leads_before_the_first_run_are_history_if_outcomes_of_them_count(settings: Settings):
    first, second = days_before(2)
    publish_lake(settings, "leads", first, make_leads("search", 5))
    publish_lake(settings, "leads", second, make_leads("video", 3))
    claim = {"institution_id": "bank", "channel_id": "video", "lead_id": "video-1"}
    publish_lake(settings, "outcomes", second, [claim])
    publish(settings, "marts", DAY, outcomes=[outcome("search-4")])
    found = find(settings, "leads of earlier dates")
    amounts = {name: (finding.severity, finding.amount) for name, finding in found.items()}
    assert amounts == {"history_not_matched": ("fit", 5), "leads_never_run": ("remark", 3)}


def test_a_second_run_does_not_repeat_the_history(settings: Settings):
    first, second = days_before(2)
    publish_lake(settings, "leads", first, make_leads("search", 5))
    publish(settings, "marts", DAY, outcomes=[outcome("search-4")])
    publish(settings, "matches", second)
    assert find(settings, "leads of earlier dates") == {}


def test_a_source_that_sent_on_most_days_and_not_today_is_named(settings: Settings):
    for number, day in enumerate(days_before(5)):
        rows = make_leads("search", 2) + make_leads("video", 2) * (number > 0)
        rows += make_leads("sometimes", 1) * (number == 0)
        publish_lake(settings, "leads", day, rows)
    publish_lake(settings, "leads", DAY, make_leads("search", 2))
    finding = find(settings, "silent sources")["source_silent"]
    assert (finding.amount, finding.where) == (1, "leads/video (on 4 of 5 days before)")


def test_a_refused_file_is_no_silence(settings: Settings):
    for day in days_before(4):
        publish_lake(settings, "leads", day, make_leads("search", 2))
    publish_lake(settings, "leads", DAY, [], search={"files": 1, "rejected_files": 1, "loaded": 0})
    assert find(settings, "silent sources") == {}


def test_a_column_that_a_source_stopped_filling_is_named(settings: Settings):
    filled, empty = {"device_id": "d", "region": "CN-31"}, {"region": "CN-31"}
    for day in days_before(2):
        rows = make_leads("search", 30, **filled) + make_leads("video", 30, **empty)
        publish_lake(settings, "leads", day, rows + make_leads("small", 19, **filled))
    rows = make_leads("search", 30, **empty) + make_leads("video", 30, **empty)
    publish_lake(settings, "leads", DAY, rows + make_leads("small", 19, **empty))
    finding = find(settings, "missing columns")["column_missing"]
    assert (finding.amount, finding.where) == (1, "leads/search: device_id")


@pytest.mark.parametrize(
    ("history", "is_named"), [("simulate", False), ("import", False), (None, True)]
)
def test_a_lender_may_name_its_leads_otherwise_than_history_does(
    settings: Settings, history: str | None, is_named: bool
):
    report = {"institution_id": "bank", "event": "approved"}
    for day in days_before(2):
        rows = [report | {"channel_id": "c", "lead_id": f"{n}"} for n in range(30)]
        publish_lake(settings, "outcomes", day, [row | {"history_kind": history} for row in rows])
    publish_lake(settings, "outcomes", DAY, [report | {"match_id": f"{n}"} for n in range(30)])
    found = find(settings, "missing columns")
    assert len(found) == is_named
    if is_named:
        where = "outcomes/bank: channel_id, outcomes/bank: lead_id"
        assert found["column_missing"].where == where


# people


@pytest.mark.parametrize(("excluded", "found"), [(0, False), (4, False), (10, False), (11, True)])
def test_a_channel_of_which_a_tenth_shares_a_device_is_named(
    settings: Settings, excluded: int, found: bool
):
    rows = [
        {"channel_id": "search", "exclusion_detail": "device_burst" if n < excluded else None}
        for n in range(100)
    ]
    publish(settings, "marts", DAY, leads=rows)
    findings = find(settings, "shared devices and phones")
    assert bool(findings) == found
    if found:
        finding = findings["burst_share"]
        assert (finding.amount, finding.where) == (11, "search")


def order(source: str, number: int, subject_type: str = "phone") -> dict[str, Any]:
    return {"platform_id": source, "subject_type": subject_type, "subject": f"{source}-{number}"}


@pytest.mark.parametrize(
    ("orders", "matching", "expected"),
    [
        (29, 0, {}),
        (30, 0, {"suppressions_never_match": "remark"}),
        (40, 20, {"suppressions_never_match": "remark"}),
        (40, 1, {"suppressions_no_match_yet": "fit"}),
    ],
)
def test_a_source_whose_orders_match_nobody_is_named(
    settings: Settings, orders: int, matching: int, expected: dict[str, str]
):
    leads = [
        lead | {"phone_sha256": f"good-{n}"} for n, lead in enumerate(make_leads("search", 600))
    ]
    publish_lake(settings, "leads", DAY, leads)
    good = [order("good", n if n < matching else n + 10_000) for n in range(100 * bool(matching))]
    publish_lake(settings, "suppressions", DAY, [*good, *(order("bad", n) for n in range(orders))])
    found = find(settings, "orders that match nobody")
    assert {name: finding.severity for name, finding in found.items()} == expected
    assert all(finding.where == "suppressions/bad" for finding in found.values())


def test_an_order_on_a_lead_by_name_is_a_match(settings: Settings):
    publish_lake(settings, "leads", DAY, make_leads("search", 600))
    orders = [order("good", n, "lead") | {"subject": f"search/search-{n}"} for n in range(40)]
    publish_lake(settings, "suppressions", DAY, orders)
    assert find(settings, "orders that match nobody") == {}


def test_a_channel_of_which_most_phones_are_not_e164_is_named(settings: Settings):
    national = make_leads("national", 6, phone="13800138000", is_phone_valid=False)
    spaced = make_leads("spaced", 6, phone="+86 138-0013-8000")
    some = make_leads("some", 5, phone="bad", is_phone_valid=False) + make_leads("some", 6)
    none = make_leads("none", 6, phone=None, is_phone_valid=None)
    publish_lake(settings, "leads", DAY, [*national, *spaced, *some, *none])
    emptied = {"source": "emptied", "file": "x.csv", "column": "phone", "severity": "warning"}
    records = [emptied | {"line": n} for n in range(8)]
    with publishing(settings.day_folder(settings.quarantine / "leads", DAY), {}) as folder:
        write_parquet(pa.Table.from_pylist(records, QUARANTINE), folder / "quarantine.parquet")
    finding = find(settings, "phones")["phones_not_e164"]
    assert finding.evidence == "emptied: 8 of 8 phones; national: 6 of 6 phones"


def test_leads_in_a_currency_without_a_rate_are_named(settings: Settings):
    leads = make_leads("c29", 6, currency="RMB") + make_leads("search", 9)
    publish_lake(settings, "leads", DAY, leads)
    finding = find(settings, "currencies")["currency_unknown"]
    assert (finding.amount, finding.where, finding.evidence) == (6, "c29", "c29: 6 leads in RMB")


# institutions


def close(settings: Settings, *reasons: str) -> None:
    rows = [
        {"institution_id": f"bank-{n}", "product_id": "p", "reason": reason}
        for n, reason in enumerate(reasons)
    ]
    publish(settings, "pairs", DAY, closed_products=rows)


def test_products_that_their_institutions_closed_are_for_information(settings: Settings):
    close(settings, "paused", "paused", "expired")
    (finding,) = find(settings, "closed products").values()
    assert (finding.severity, finding.amount) == ("fit", 3)
    assert finding.evidence == "2 paused; 1 expired"


@pytest.mark.parametrize(
    ("reason", "rule"),
    [
        ("unreadable_rule", "product_closed_unreadable"),
        ("unreadable_catalogue", "product_closed_unreadable"),
        ("rule_of_unknown_product", "product_closed_unreadable"),
        ("rule region not_in: no such lead column or feature", "product_closed_by_own_rule"),
        ("impossible price", "product_terms_impossible"),
        ("unknown_institution", "products_closed_by_fault"),
        ("no exchange rate for ABC", "products_closed_by_fault"),
    ],
)
def test_a_product_closed_by_a_fault_is_one_remark_with_its_name(
    settings: Settings, reason: str, rule: str
):
    close(settings, "paused", *[reason] * 7)
    found = find(settings, "closed products")
    assert found.keys() == {"products_closed", rule}
    assert (found[rule].severity, found[rule].amount) == ("remark", 7)
    assert all(f"bank-{number}/p" in found[rule].evidence for number in range(1, 8))


def sell(
    settings: Settings,
    day: date,
    *institutions: str,
    listed: bool = True,
    last_days: tuple[date | None, date | None] = (None, None),
) -> None:
    """Publish a product of each institution, with a rule, and 30 leads that may be matched.

    Args:
        settings: The home.
        day: The date of the marts.
        institutions: Their ids.
        listed: The institutions' list has them.
        last_days: Last days of the product and of the admission of its institution.
    """
    product = {"product_id": "p", "is_open": True, "segment": "consumer", "currency": "CNY"}
    product |= {"closed_reason": None, "price_model": "cpl", "price": 30.0, "daily_quota": 9}
    product |= dict.fromkeys(("daily_budget", "monthly_quota", "monthly_budget", "pd_min"), 1.0)
    product |= {"apr_min": 0.1, "apr_max": 0.2, "pd_max": 0.3}
    product |= {"amount_min": 1.0, "amount_max": 9.0, "term_min_months": 1, "term_max_months": 9}
    product |= {"admitted_from": date(2025, 1, 1) if listed else None}
    product |= {"valid_to": last_days[0], "admitted_to": last_days[1]}
    products = [product | {"institution_id": name} for name in institutions]
    rule = {"product_id": "p", "attribute": "region", "op": "in", "value": "CN-31"}
    rules = [rule | {"institution_id": name} for name in institutions]
    lead = {
        "segment": "consumer",
        "currency": "CNY",
        "amount": None,
        "matched_amount": 5.0,
        "term_months": 5,
    }
    leads = [lead | {"exclusion_stage": None if n < 30 else "identity"} for n in range(31)]
    publish(settings, "marts", day, products=products, product_rules=rules, leads=leads)


def pair(
    settings: Settings, day: date, *institutions: str, closed: Mapping[str, str] | None = None
) -> None:
    """Publish a pair of each institution, and the closed products by institution."""
    reasons = {"nobody": "paused"} | dict(closed or {})
    products = [
        {"institution_id": name, "product_id": "p", "reason": reason}
        for name, reason in reasons.items()
    ]
    pairs = [
        {"institution_id": name, "product_id": "p", "expected_spend": 10.0}
        for name in (*institutions, "nobody")
    ]
    publish(settings, "pairs", day, pairs=pairs, closed_products=products)


def test_an_open_product_whose_own_rules_refuse_every_lead_is_named(settings: Settings):
    sell(settings, DAY, "bank-0", "bank-1")
    pair(settings, DAY, "bank-0")
    finding = find(settings, "products without pairs")["product_without_pairs"]
    assert (finding.amount, finding.where) == (1, "bank-1/p")
    assert finding.evidence == "bank-1/p: 30 leads of its amounts and terms, rules on region"


def test_a_closed_product_is_not_named_as_an_open_one_without_pairs(settings: Settings):
    sell(settings, DAY, "bank-0")
    pairs = [{"institution_id": "nobody", "product_id": "p"}]
    closed = [{"institution_id": "bank-0", "product_id": "p", "reason": "rule region in: ..."}]
    publish(settings, "pairs", DAY, pairs=pairs, closed_products=closed)
    assert find(settings, "products without pairs") == {}


def rule(product: str, attribute: str, op: str, value: str) -> dict[str, Any]:
    return {
        "institution_id": "bank-01",
        "product_id": product,
        "attribute": attribute,
        "op": op,
        "value": value,
    }


def test_a_text_that_a_rule_excludes_and_no_lead_has_is_named(settings: Settings):
    for before in days_before(2):
        leads = make_leads("search", 3, region="CN-31") + make_leads("search", 3, region="CN-44")
        publish_lake(settings, "leads", before, leads)
    rules = [
        rule("p-1", "region", "not_in", " cn-31|CN-3l"),
        rule("p-2", "region", "in", "CN-99"),
        rule("p-3", "employment", "not_in", "student"),
        rule("p-4", "purpose", "not_in", "gambling"),  # no lead states any purpose
    ]
    publish(settings, "marts", DAY, product_rules=rules)
    finding = find(settings, "texts that rules exclude")["rule_excludes_nobody"]
    assert (finding.severity, finding.amount, finding.where) == ("remark", 1, "bank-01/p-1")
    assert finding.evidence == "bank-01/p-1: region CN-3l"
    publish(settings, "marts", DAY, product_rules=rules[1:])
    assert not find(settings, "texts that rules exclude")


def stop(
    settings: Settings,
    leads_before: int,
    *,
    fits: bool = True,
    price: float | None = None,
    reason: str | None = None,
    budget: float | None = None,
) -> dict[str, Finding]:
    """Return what is found of an institution `stopped` that took leads and takes none today.

    Args:
        settings: The home.
        leads_before: Leads that it took the day before.
        fits: A lead fits its product today.
        price: Today's price; None: unchanged.
        reason: Reason for which its product is closed today; None: it is open.
        budget: Budget that is left for today; None: there is none.
    """
    before, match = DAY - timedelta(days=1), {"product_id": "p"}
    for day in (before, DAY):
        sell(settings, day, "taking", "stopped", "new")
    if price:
        file = settings.day_folder(settings.marts, DAY) / "products.parquet"
        table = pa.parquet.read_table(file, partitioning=None)
        prices = pa.array([price if n == 1 else 30.0 for n in range(len(table))])
        position = table.schema.get_field_index("price")
        write_parquet(table.set_column(position, "price", prices), file)
    paired = ("taking", "stopped") if fits else ("taking",)
    closed = {"stopped": reason} if reason else {}
    pair(settings, DAY, *paired, closed=closed)
    publish(
        *(settings, "matches", before),
        matches=[match | {"institution_id": "stopped"}] * leads_before,
    )
    limit = match | {"kind": "budget", "institution_id": "stopped", "column": None, "limit": budget}
    publish(
        *(settings, "matches", DAY),
        matches=[match | {"institution_id": "taking"}],
        prices=[limit | {"limit": 100.0 if budget is None else budget}],
    )
    return find(settings, "institutions without leads")


@pytest.mark.parametrize(
    ("leads_before", "case", "evidence"),
    [
        (5, {"price": 40.0}, "stopped: 1 pairs, none of them in the plan, price changed"),
        (5, {"price": 40.0, "fits": False}, "stopped: no lead fits its products, price changed"),
        (11, {"fits": False}, "stopped: no lead fits its products"),
        (30, {}, "stopped: 1 pairs, none of them in the plan"),
        (5, {"reason": "impossible price"}, "stopped: all products closed: impossible price"),
        (5, {"reason": "unknown_institution"}, "stopped: all products closed: unknown institution"),
    ],
)
def test_an_institution_that_takes_no_lead_any_more_is_named_with_the_reason(
    settings: Settings, leads_before: int, case: dict[str, Any], evidence: str
):
    found = stop(settings, leads_before, **case)
    assert found["institution_without_leads_now"].evidence == evidence
    assert found["institution_without_leads_now"].severity == "remark"
    assert found["institution_without_leads"].evidence == "new: no lead fits its products"
    assert "institution_without_leads_now" not in stop(settings, leads_before - 1, **case)


@pytest.mark.parametrize(
    ("leads_before", "case", "evidence"),
    [
        (90, {"reason": "paused"}, "all products closed: paused"),
        (90, {"reason": "expired", "fits": False}, "all products closed: expired"),
        (90, {"reason": "not_admitted"}, "all products closed: not admitted"),
        (90, {"budget": 0.0}, "its quotas or budgets leave no lead for today"),
        (90, {"budget": 9.0}, "its quotas or budgets leave no lead for today"),
        (29, {}, "1 pairs, none of them in the plan"),
    ],
)
def test_an_institution_that_declares_it_or_is_outbid_is_no_remark(
    settings: Settings, leads_before: int, case: dict[str, Any], evidence: str
):
    found = stop(settings, leads_before, **case)
    assert found.keys() == {"institution_without_leads"}
    expected = f"new: no lead fits its products; stopped: {evidence}"
    assert found["institution_without_leads"].evidence == expected


@pytest.mark.parametrize("listed", [True, False])
def test_an_institution_that_left_the_list_is_named(settings: Settings, listed: bool):
    before = DAY - timedelta(days=1)
    sell(settings, before, "staying", "gone")
    match = {"institution_id": "gone", "product_id": "p"}
    publish(settings, "matches", before, matches=[match] * 9)
    if listed:
        sell(settings, DAY, "staying")
    else:
        sell(settings, DAY, "staying", "gone", listed=False)
    found = find(settings, "changes of the catalogue")
    where = "gone" if listed else "gone, staying"
    assert found.keys() == {"institution_gone", "catalogue_changed"}
    assert (found["institution_gone"].severity, found["institution_gone"].where) == (
        "remark",
        where,
    )
    assert where in found["institution_gone"].title


@pytest.mark.parametrize(("last_day", "is_declared"), [(9, True), (10, False)])
def test_an_institution_or_product_that_ends_on_its_stated_day_is_no_remark(
    settings: Settings, last_day: int, is_declared: bool
):
    before, last = DAY - timedelta(days=1), date(2026, 1, last_day)
    match = {"institution_id": "gone", "product_id": "p"}
    publish(settings, "matches", before, matches=[match] * 9)
    sell(settings, before, "gone", "staying", last_days=(None, last))
    sell(settings, DAY, "staying")
    found = find(settings, "changes of the catalogue")
    assert ("institution_gone" in found) == (not is_declared)
    assert "catalogue_changed" in found

    publish(settings, "matches", before, matches=[match | {"institution_id": "bank"}] * 9)
    sell(settings, before, "bank", "staying", last_days=(last, None))
    sell(settings, DAY, "bank", "staying")
    file = settings.day_folder(settings.marts, DAY) / "products.parquet"
    table = pa.parquet.read_table(file, partitioning=None)
    names = pa.array(["q", "p"])
    write_parquet(
        table.set_column(table.schema.get_field_index("product_id"), "product_id", names), file
    )
    found = find(settings, "changes of the catalogue")
    assert ("product_gone" in found) == (not is_declared)
    assert "catalogue_changed" in found


def change(settings: Settings, **columns: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (name, change) -> values before and now after a change of the day's product."""
    before = DAY - timedelta(days=1)
    sell(settings, before, "bank", "other")
    publish(settings, "matches", before, matches=[{"institution_id": "x", "product_id": "y"}])
    sell(settings, DAY, "bank", "other")
    file = settings.day_folder(settings.marts, DAY) / "products.parquet"
    edits = ", ".join(f"{value} as {name}" for name, value in columns.items())
    with connect(settings) as connection:
        table = connection.sql(
            f"select * replace ({edits}) from read_parquet('{file}', hive_partitioning = false)"
        ).to_arrow_table()
        write_parquet(table, file)
        changes = load_changes(settings, DAY, connection)
    return {(row.name, row.change): (row.before, row.now) for row in changes}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"price": "price"}, {}),
        ({"price": "31.0"}, {"price": ("30.0 cpl", "31.0 cpl")}),
        (
            {"is_open": "false", "closed_reason": "'paused'"},
            {"product_closed": ("open", "paused")},
        ),
    ],
)
def test_each_change_of_a_product_is_listed_with_its_values(
    settings: Settings, columns: dict[str, str], expected: dict[str, tuple[str, str]]
):
    names = ("bank/p", "other/p")
    assert change(settings, **columns) == {
        (name, kind): values for name in names for kind, values in expected.items()
    }


def test_terms_quotas_and_rules_that_change_are_listed(settings: Settings):
    found = change(settings, amount_max="8.0", daily_quota="0")
    assert {kind for _, kind in found} == {"terms", "quota"}
    rules = settings.day_folder(settings.marts, DAY) / "product_rules.parquet"
    rows = [{"institution_id": "bank", "product_id": "p", "attribute": "region"}]
    rows = [row | {"op": "in", "value": "CN-44"} for row in rows]
    write_parquet(pa.Table.from_pylist(rows), rules)
    with connect(settings) as connection:
        changed = load_changes(settings, DAY, connection)
    values = {row.name: (row.before, row.now) for row in changed if row.change == "rules"}
    assert values == {
        "bank/p": ("region in CN-31", "region in CN-44"),
        "other/p": ("region in CN-31", "none"),
    }


def test_an_open_product_that_loses_a_rule_is_a_remark(settings: Settings):
    before = DAY - timedelta(days=1)
    for day in (before, DAY):
        sell(settings, day, "bank", "other")
    publish(settings, "matches", before, matches=[{"institution_id": "x", "product_id": "y"}])
    rules = settings.day_folder(settings.marts, DAY) / "product_rules.parquet"
    row = {"institution_id": "bank", "product_id": "p", "op": "in", "value": "CN-44"}
    write_parquet(pa.Table.from_pylist([row | {"attribute": "region"}]), rules)
    found = find(settings, "changes of the catalogue")
    assert found.keys() == {"catalogue_changed", "product_rules_removed"}
    finding = found["product_rules_removed"]
    assert (finding.severity, finding.evidence) == ("remark", "other/p: region")
    write_parquet(pa.Table.from_pylist([row | {"attribute": "purpose"}]), rules)
    removed = find(settings, "changes of the catalogue")["product_rules_removed"]
    assert removed.evidence == "bank/p: region; other/p: region"


@pytest.mark.parametrize(
    ("price", "is_jump"),
    [("89.0", False), ("91.0", True), ("11.0", False), ("9.0", True)],
)
def test_a_price_that_changes_by_a_factor_is_a_remark(
    settings: Settings, price: str, is_jump: bool
):
    change(settings, price=price)
    found = find(settings, "changes of the catalogue")
    assert ("product_price_jump" in found) == is_jump
    if is_jump:
        jump = found["product_price_jump"]
        assert jump.evidence == f"bank/p: 30.0 cpl → {price} cpl; other/p: 30.0 cpl → {price} cpl"


def test_fees_of_loans_that_change_are_listed(settings: Settings):
    change(settings, price="price")
    fee = {"institution_id": "bank", "product_id": "p", "fee": "guarantee_fee"}
    fee |= {"basis": "share_of_balance", "value": 0.001, "charged_when": "each_period"}
    fee |= {"collector": "guarantor", "is_contingent": False}
    fees = settings.day_folder(settings.marts, DAY) / "product_fees.parquet"
    write_parquet(pa.Table.from_pylist([fee]), fees)
    with connect(settings) as connection:
        (changed,) = load_changes(settings, DAY, connection)
    assert (changed.name, changed.text) == ("bank/p", "fees of the loan changed")
    assert changed.before == "none"
    assert changed.now == "guarantee_fee 0.001 share_of_balance each_period to guarantor"


@pytest.mark.parametrize(("leads_before", "found"), [(4, False), (5, True)])
def test_a_product_that_took_leads_and_is_gone_is_a_remark(
    settings: Settings, leads_before: int, found: bool
):
    before = DAY - timedelta(days=1)
    for day in (before, DAY):
        sell(settings, day, "bank", "bank")
    file = settings.day_folder(settings.marts, before) / "products.parquet"
    table = pa.parquet.read_table(file, partitioning=None)
    second = table.slice(0, 1).set_column(
        table.schema.get_field_index("product_id"), "product_id", pa.array(["q"])
    )
    write_parquet(pa.concat_tables([table, second]), file)
    match = {"institution_id": "bank", "product_id": "q"}
    publish(settings, "matches", before, matches=[match] * leads_before)
    findings = find(settings, "changes of the catalogue")
    assert ("product_gone" in findings) == found
    if found:
        assert findings["product_gone"].where == "bank/q"


@pytest.mark.parametrize(
    ("delivery", "rows", "waits"), [("sftp", 4, 1), ("sftp", 0, 0), ("folder", 4, 0)]
)
def test_a_file_without_a_transport_is_named(
    settings: Settings, delivery: str, rows: int, waits: int
):
    facts = {"institution_id": "bank", "rows": rows, "version": 1, "withheld_fields": []}
    with publishing(
        settings.day_folder(settings.outbox, DAY) / "bank", facts | {"delivery": delivery}
    ):
        pass
    found = find(settings, "transport of deliveries")
    assert len(found) == waits
    if waits:
        assert found["delivery_not_transported"].evidence == "bank: 4 leads by sftp"


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({"state": "sent"}, None),
        ({"state": "dead_letter", "reason": "link"}, "delivery_dead_letter"),
        ({"state": "dead_letter", "reason": "host_key_changed"}, "delivery_host_key_changed"),
        ({"state": "waiting", "reason": "window"}, "delivery_waiting"),
        ({"state": "waiting", "reason": "window", "is_overdue": True}, "delivery_overdue"),
        ({"state": "waiting", "reason": "going_live"}, "delivery_not_live"),
    ],
)
def test_a_delivery_that_has_not_arrived_is_named(settings: Settings, record: Any, rule: Any):
    known = {"delivery_id": "d", "institution_id": "bank", "date": f"{DAY}", "version": 1}
    message = "the server said no"
    write_record(
        settings, DAY, TransportRecord(**known, endpoint="sftp://h", message=message, **record)
    )
    found = find(settings, "transport of deliveries")
    assert list(found) == ([rule] if rule else [])
    if rule:
        assert found[rule].evidence == f"bank: {message}"


def test_every_loss_is_looked_for_in_the_report(settings: Settings):
    manifest = settings.home / "lake" / "leads" / f"date={DAY}" / MANIFEST
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"counts": {}, "files": {}}))
    assert set(find(settings, "received files")) == {"day_empty"}


@pytest.mark.parametrize("day", [DAY, date(2026, 8, 1)])
def test_each_product_without_leads_has_its_reason(settings: Settings, day: date):
    product = {"institution_kind": "bank", "segment": "consumer", "currency": "CNY"}
    product |= {"amount_min": 1.0, "amount_max": 9.0, "term_min_months": 1, "term_max_months": 9}
    product |= {"apr_min": 0.1, "apr_max": 0.2, "daily_quota": 5}
    edits: dict[str, dict[str, Any]] = {
        "taking": {},
        "closed": {},
        "no_quota": {"daily_quota": 0},
        "no_budget": {},
        "small_budget": {},
        "low_odds": {},
        "low_value": {},
        "other_offers": {},
        "segment": {"segment": "business"},
        "currency": {"currency": "USD"},
        "amount": {"amount_min": 6.0},
        "term": {"term_min_months": 6},
        "price_cap": {"apr_min": 0.99, "apr_max": 0.99},
        "own_rule": {},
        "several_rules": {},
    }
    if day > DAY:  # the law asks for the lines of fees by then
        edits["costs_not_stated"] = {}
    keys = {name: {"institution_id": "bank", "product_id": name} for name in edits}
    lead = {
        "segment": "consumer",
        "currency": "CNY",
        "amount": None,
        "matched_amount": 5.0,
        "term_months": 5,
    }
    lead |= {"channel_id": "search", "region": "CN-31"}
    leads = [lead | {"lead_id": f"{n}", "exclusion_stage": None} for n in range(3)]
    excluded = lead | {"lead_id": "x", "exclusion_stage": "identity", "currency": "USD"}
    fees = [
        keys[name] | {"is_contingent": is_contingent}
        for name in edits
        if name != "costs_not_stated"
        for is_contingent in (False, True)
    ]
    products = [product | keys[name] | columns for name, columns in edits.items()]
    publish(settings, "marts", day, products=products, leads=[*leads, excluded], product_fees=fees)
    pair = {"channel_id": "search", "lead_id": "0", "p_approve": 0.9, "expected_value": 9.0}
    pair |= {"expected_spend": 30.0}
    pairs = [
        pair | keys["small_budget"],
        pair | keys["low_odds"] | {"p_approve": 0.0},
        pair | keys["low_value"] | {"expected_value": -1.0},
        pair | keys["other_offers"],
        pair | keys["taking"],
    ]
    near = [pair | keys["own_rule"] | {"attribute": "region"}]
    closed = [keys["closed"] | {"reason": "paused"}]
    publish(settings, "pairs", day, pairs=pairs, near_misses=near, closed_products=closed)
    budget = {"kind": "budget", "column": None}
    prices = [
        budget | keys["no_budget"] | {"limit": 0.0},
        budget | keys["small_budget"] | {"limit": 20.0},
    ]
    publish(settings, "matches", day, matches=[keys["taking"]], prices=prices)
    with connect(settings) as connection:
        found = load_products_without_leads(settings, day, connection)
    reasons = {row.product_id: row.reason for row in found}
    assert reasons == {name: name for name in edits if name != "taking"}
    texts = {row.product_id: (row.text, row.leads) for row in found}
    assert texts["closed"] == ("it is closed: paused", None)
    assert texts["currency"] == ("no lead of its segment asks in its currency: USD", 3)
    assert texts["own_rule"] == ("its own rule excludes the leads: region", 1)
