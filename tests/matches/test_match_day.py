"""The day's matches: within every limit and explained; unmatched leads with stage and detail."""

from collections import Counter
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import policy
from models.champion import registry
from models.scoring.estimators import Prior
from pipelines.allocation import relaxation
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches import build_problem, match_day, reason_tables
from pipelines.pairs import score_day as pairs
from tests.helpers.day import (
    DUPLICATES,
    QUARANTINED,
    run_matching,
    write_day_before_matching,
    write_lake_leads,
)
from tests.helpers.lake import write_feed
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY, lift_guarantees
from tests.helpers.representatives import keep

Row = dict[str, Any]

COUNTS = ("received", "quarantined", "duplicates", "suppressed", "matched", "unmatched")


def table(settings: Settings, name: str) -> list[Row]:
    root = settings.home / name
    rows: list[Row] = pq.read_table(settings.day_folder(root, DAY) / f"{name}.parquet").to_pylist()
    return rows


def reasons_for(settings: Settings) -> dict[str, list[Row]]:
    """Return match id -> reasons for its approval, strongest first."""
    path = settings.day_folder(settings.reasons, DAY) / "matches.parquet"
    found: dict[str, list[Row]] = {}
    for row in pq.read_table(path).to_pylist():
        if row["effect"] == "raises":
            found.setdefault(row["match_id"], []).append(row)
    return found


def mart(settings: Settings, name: str) -> list[Row]:
    path = settings.day_folder(settings.marts, DAY) / f"{name}.parquet"
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def with_marts(settings: Settings, **rows: list[Row]) -> Settings:
    """Publish the marts again with other rows in some of them, and the lake to fit."""
    tables = {
        f"{name}_table": pa.Table.from_pylist(rows.get(name) or mart(settings, name), schema)
        for name, schema in SCHEMAS.items()
    }
    write_marts(settings.home, DAY, **tables)
    write_lake_leads(settings, DAY)
    return settings


def contents(settings: Settings) -> list[str]:
    roots = (settings.matches, settings.offers, settings.unmatched, settings.reasons)
    return [read_manifest(settings.day_folder(root, DAY))["content_sha256"] for root in roots]


def test_matches_have_the_agreed_columns_and_sensible_values(matched_home):
    matches = pq.read_table(matched_home.day_folder(matched_home.matches, DAY) / "matches.parquet")
    assert matches.schema == match_day.SCHEMA
    assert matches.num_rows > 0
    tiers = {tier.tier for tier in policy.risk_tiers()}
    for row in matches.to_pylist():
        assert row["risk_tier"] in tiers
        assert row["reasons"]
        assert 0 < row["propensity"] <= 1
        assert not row["explored"] or row["propensity"] < 1
        assert row["policy_version"] == policy.version()
        assert row["price_of_quota"] >= 0


def test_matches_violate_no_limit(matched_home):
    matches = table(matched_home, "matches")
    leads = Counter((row["channel_id"], row["lead_id"]) for row in matches)
    shown = Counter((row["channel_id"], row["lead_id"], row["institution_id"]) for row in matches)
    products = Counter(row["product_id"] for row in matches)
    quotas = {row["product_id"]: row["daily_quota"] for row in mart(matched_home, "products")}
    assert max(leads.values()) <= 5
    assert set(shown.values()) == {1}
    assert all(count <= quotas[product] for product, count in products.items())


def test_offers_are_ranked_by_the_persons_own_benefit_and_never_by_the_fee(matched_home):
    benefits = {
        (row["lead_id"], row["product_id"]): row["person_benefit"]
        for row in table(matched_home, "pairs")
    }
    by_lead: dict[tuple[str, str], list[Row]] = {}
    for row in table(matched_home, "matches"):
        by_lead.setdefault((row["channel_id"], row["lead_id"]), []).append(row)
    assert any(len(rows) > 1 for rows in by_lead.values())
    for rows in by_lead.values():
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        own = [benefits[row["lead_id"], row["product_id"]] for row in rows]
        assert own == sorted(own, reverse=True)


@pytest.mark.parametrize(
    ("basis", "charged_when", "value"),
    keep(
        (0, 3),
        [
            ("share_of_amount", "upfront", 0.05),
            ("share_of_balance", "each_period", 0.005),
            ("fixed", "each_period", 25.0),
            ("fixed", "at_end", 600.0),
        ],
    ),
)
def test_a_low_rate_beside_fees_ranks_by_what_the_loan_costs(tmp_path, basis, charged_when, value):
    settings = write_day_before_matching(tmp_path, DAY, leads=1, products=5)
    request = {"segment": "consumer", "amount": 10_000.0, "term_months": 24, "age_years": 30}
    lead = mart(settings, "leads")[0] | request
    low, _, other, *_ = mart(settings, "products")
    alike = low | {"pd_min": 0.0, "pd_max": 0.9, "daily_budget": None, "term_max_months": 36}
    owner = {name: other[name] for name in ("institution_id", "product_id")}
    products = [alike | {"apr_min": 0.12, "apr_max": 0.12}]
    products.append(alike | owner | {"apr_min": 0.15, "apr_max": 0.15})
    ids = {row["product_id"] for row in products}
    fees = [fee for fee in mart(settings, "product_fees") if fee["product_id"] in ids]
    added = {"fee": "guarantee_fee", "basis": basis, "charged_when": charged_when, "value": value}
    own = next(fee for fee in fees if fee["product_id"] == low["product_id"])
    fees.append(own | added | {"currency": "CNY", "is_contingent": False})
    with_marts(settings, leads=[lead], products=products, product_fees=fees)
    run_matching(settings, DAY)
    offers = {row["rank"]: row for row in table(settings, "offers")}
    assert [offers[rank]["suggested_apr"] for rank in (1, 2)] == [0.15, 0.12]
    assert offers[1]["annual_cost"] < offers[2]["annual_cost"]


def test_match_ids_are_unique_and_do_not_depend_on_other_leads(matched_copy):
    before = {
        (row["lead_id"], row["product_id"]): row["match_id"]
        for row in table(matched_copy, "matches")
    }
    assert len(set(before.values())) == len(before)
    half = mart(matched_copy, "leads")[::2]
    run_matching(with_marts(matched_copy, leads=half), DAY)
    after = {
        (row["lead_id"], row["product_id"]): row["match_id"]
        for row in table(matched_copy, "matches")
    }
    both = before.keys() & after.keys()
    assert both
    assert all(before[key] == after[key] for key in both)


def test_offer_text_describes_the_match(matched_home):
    offers, matches = table(matched_home, "offers"), table(matched_home, "matches")
    reasons = reasons_for(matched_home)
    assert [row["match_id"] for row in offers] == [row["match_id"] for row in matches]
    for offer, made in zip(offers, matches, strict=True):
        assert f"{made['suggested_apr']:.2%} interest a year" in offer["words"]
        assert f"{offer['currency']} {offer['amount']:,.0f} over" in offer["words"]
        for reason in reasons[made["match_id"]]:
            assert reason["person_en"] in offer["words"]
            assert reason["person_zh"] in offer["words_zh"]
        assert f"{made['suggested_apr']:.2%}" in offer["words_zh"]


def test_offer_has_the_institution_name_of_the_day(matched_copy):
    named = {"institution_id": "bank-000", "name": "First Bank"}
    write_feed(matched_copy, "institutions", date(2026, 1, 1), [named | {"name": "Old Name"}])
    write_feed(matched_copy, "institutions", DAY, [named])
    write_feed(
        matched_copy, "institutions", DAY + timedelta(days=1), [named | {"name": "Next Name"}]
    )
    match_day.match(matched_copy, DAY)
    names = {
        row["institution_id"]: row["institution_name"] for row in table(matched_copy, "offers")
    }
    assert names["bank-000"] == "First Bank"
    assert names["bank-001"] == "bank-001"


def test_manifest_counts_every_lead_once(matched_home):
    manifest = read_manifest(matched_home.day_folder(matched_home.matches, DAY))
    counts = {name: manifest[name] for name in COUNTS}
    assert counts["received"] == sum(counts[name] for name in COUNTS[1:])
    assert counts["received"] == 60 + QUARANTINED + DUPLICATES
    assert counts["matched"] == len({row["lead_id"] for row in table(matched_home, "matches")})
    assert counts["unmatched"] == len(table(matched_home, "unmatched"))
    assert (counts["quarantined"], counts["duplicates"]) == (QUARANTINED, DUPLICATES)


def test_manifest_has_the_certificate_of_the_plan(matched_copy, monkeypatch):
    for is_exact in (False, True):
        if is_exact:
            lift_guarantees(monkeypatch)
            run_matching(matched_copy, DAY)
        manifest = read_manifest(matched_copy.day_folder(matched_copy.matches, DAY))
        total = sum(row["expected_value"] for row in table(matched_copy, "matches"))
        assert manifest["value"] == pytest.approx(total + manifest["exploration_cost"])
        assert manifest["value"] <= manifest["bound"]
        assert 0 <= manifest["gap"] < (1e-12 if is_exact else 0.02)


def test_manifest_has_the_surplus_of_the_matches_and_the_cost_of_their_leads(matched_home):
    manifest = read_manifest(matched_home.day_folder(matched_home.matches, DAY))
    pairs = {(row["lead_id"], row["product_id"]): row for row in table(matched_home, "pairs")}
    made = [pairs[row["lead_id"], row["product_id"]] for row in table(matched_home, "matches")]
    for name, column in (
        ("person_benefit", "person_benefit"),
        ("institution_margin", "institution_margin"),
        ("fees", "revenue"),
        ("approvals", "p_approve"),
    ):
        assert manifest[name] == pytest.approx(sum(row[column] for row in made), rel=1e-5)
    surplus = manifest["person_benefit"] + manifest["institution_margin"]
    assert manifest["surplus"] == pytest.approx(surplus, rel=1e-5)
    cost = sum(
        30.0 + 5 * int(row["channel_id"].removeprefix("channel-"))
        for row in mart(matched_home, "leads")
    )
    assert manifest["cost_of_leads"] == pytest.approx(cost)
    assert 0 <= manifest["steered_by_fee"] <= manifest["leads_with_a_choice"]
    assert manifest["cost_of_steering"] >= 0


def test_row_order_and_threads_do_not_change_a_byte(matched_copy):
    before = contents(matched_copy)
    with_marts(
        matched_copy,
        leads=mart(matched_copy, "leads")[::-1],
        products=mart(matched_copy, "products")[::-1],
    )
    run_matching(Settings(home=matched_copy.home, threads=1), DAY)
    assert contents(matched_copy) == before


def test_excluded_leads_keep_the_stage_and_detail_of_the_marts(tmp_path):
    settings = write_day_before_matching(tmp_path, DAY, leads=6)
    leads = mart(settings, "leads")
    exclusions = [
        ("identity", "phone_invalid"),
        ("suppressed", "do_not_contact"),
        ("consent", "withdrawn"),
        ("duplicate", "same_person"),
    ]
    for lead, (stage, detail) in zip(leads, exclusions, strict=False):
        lead |= {"exclusion_stage": stage, "exclusion_detail": detail}
    facts = run_matching(with_marts(settings, leads=leads), DAY)
    published = {
        row["lead_id"]: (row["stage"], row["detail"]) for row in table(settings, "unmatched")
    }
    for lead, expected in zip(leads[:3], exclusions, strict=False):
        assert published[lead["lead_id"]] == expected
    assert leads[3]["lead_id"] not in published
    assert (facts["suppressed"], facts["duplicates"]) == (1, 1 + DUPLICATES)


FITTING = {
    "segment": "consumer",
    "amount": 10_000.0,
    "term_months": 6,
    "age_years": 30,
    "bureau_score": None,
}
UNMATCHED: list[tuple[Row, Row, str, str]] = [
    ({"consent_scope": ["bank-999"]}, {}, "consent", "no_institution_in_scope"),
    ({"segment": "business"}, {}, "no_product", "segment"),
    ({"currency": "USD"}, {}, "no_product", "currency"),
    ({"amount": 1e9}, {}, "no_product", "amount"),
    ({"term_months": 600}, {}, "no_product", "term"),
    ({"age_years": 17}, {}, "no_product", "rules"),
    ({}, {"apr_min": 0.3, "apr_max": 0.3}, "price_cap", "apr_above_cap"),
    ({}, {"product_id": "silent"}, "no_product", "costs_not_stated"),
    ({}, {"pd_max": 0.0}, "risk_band", "pd_outside_band"),
    (
        {"amount": 1_000.0},
        {"price": 0.0, "apr_min": 0.24, "apr_max": 0.24},
        "low_value",
        "below_minimum",
    ),
    ({}, {"daily_quota": 0}, "quota", "quota_full"),
    ({}, {"daily_budget": 19.99}, "quota", "quota_full"),
    ({}, {"price_model": "cpa", "daily_budget": 0.01}, "quota", "budget"),
    ({"suppressed_institutions": ["bank-013"]}, {}, "suppressed", "every_institution"),
]
"""Changes of a lead and of the product of the only institution in its consent -> its end."""


def publish_unmatched(settings: Settings, changes: list[tuple[Row, Row]]) -> None:
    """Publish the marts with a lead for each of `changes`, and a product of its own institution."""
    base, *_ = mart(settings, "products")
    fees = [
        fee for fee in mart(settings, "product_fees") if fee["product_id"] == base["product_id"]
    ]
    rule = {"attribute": "age_years", "op": "ge", "value": "18"}
    rows: dict[str, list[Row]] = {
        name: [] for name in ("leads", "products", "product_fees", "product_rules")
    }
    for number, (lead, product) in enumerate(changes):
        bank = {"institution_id": f"bank-{number:03}"}
        own = bank | {"product_id": f"loan-{number:04}"}
        scope = {"consent_scope": [bank["institution_id"]]}
        rows["leads"].append(mart(settings, "leads")[number] | FITTING | scope | lead)
        rows["products"].append(base | {"pd_max": 0.5} | own | product)
        rows["product_fees"] += [fee | own for fee in fees]
        rows["product_rules"].append(own | rule)
    with_marts(settings, **rows)


def test_stage_and_detail_of_each_unmatched_lead(tmp_path):
    settings = write_day_before_matching(tmp_path, DAY, leads=len(UNMATCHED), products=2)
    publish_unmatched(settings, [(lead, product) for lead, product, *_ in UNMATCHED])
    facts = run_matching(settings, DAY)
    found = {row["lead_id"]: (row["stage"], row["detail"]) for row in table(settings, "unmatched")}
    ends = [found[row["lead_id"]] for row in mart(settings, "leads")]
    assert ends == [(stage, detail) for *_, stage, detail in UNMATCHED]
    assert facts["matches"] == 0
    assert (facts["suppressed"], facts["unmatched"]) == (1, len(UNMATCHED) - 1)


def test_the_same_leads_are_matched_without_the_changes(tmp_path):
    settings = write_day_before_matching(tmp_path, DAY, leads=len(UNMATCHED), products=2)
    publish_unmatched(settings, [({}, {})] * len(UNMATCHED))
    assert run_matching(settings, DAY)["matches"] == len(UNMATCHED)


def test_a_day_whose_only_product_is_paused_has_no_open_product(tmp_path):
    settings = write_day_before_matching(tmp_path, DAY, leads=1, products=2)
    publish_unmatched(settings, [({}, {"is_open": False, "closed_reason": "paused"})])
    run_matching(settings, DAY)
    (row,) = table(settings, "unmatched")
    assert (row["stage"], row["detail"]) == ("no_product", "no_open_product")


def share_phones(settings: Settings, *groups: list[Row]) -> None:
    """Publish the marts again so that the leads of each group have one phone."""
    shared = [
        {name: lead[name] for name in ("channel_id", "lead_id")}
        | {f"first_{name}": group[0][name] for name in ("channel_id", "lead_id")}
        for group in groups
        for lead in group[1:]
    ]
    with_marts(settings, shared_phones=shared)


def test_persons_with_one_phone_share_the_offers_of_one(matched_copy):
    leads = [lead for lead in mart(matched_copy, "leads") if lead["exclusion_stage"] is None]
    groups = [leads[:2], leads[2:5], leads[5:7]]
    phone = {lead["lead_id"]: number for number, group in enumerate(groups) for lead in group}
    before = Counter(
        (phone[m["lead_id"]], m["institution_id"])
        for m in table(matched_copy, "matches")
        if m["lead_id"] in phone
    )
    assert max(before.values()) > 1  # else the test shows nothing
    share_phones(matched_copy, *groups)
    run_matching(matched_copy, DAY)
    matches = [m for m in table(matched_copy, "matches") if m["lead_id"] in phone]
    pairs = Counter((phone[m["lead_id"]], m["institution_id"]) for m in matches)
    assert set(pairs.values()) == {1}
    offers = Counter(number for number, _ in pairs)
    assert max(offers.values()) <= policy.value().max_offers_per_lead


def test_an_unmatched_lead_says_that_another_person_of_its_phone_got_the_offers(tmp_path):
    settings = write_day_before_matching(tmp_path, DAY, leads=2, products=2)
    fitting = {"segment": "consumer", "amount": 10_000.0, "term_months": 6, "bureau_score": None}
    leads = [row | fitting for row in mart(settings, "leads")]
    open_one, paused = mart(settings, "products")
    with_marts(settings, leads=leads, products=[open_one | {"pd_max": 0.5}, paused])
    assert run_matching(settings, DAY)["matches"] == 2
    share_phones(settings, leads)
    assert run_matching(settings, DAY)["matches"] == 1
    (unmatched,) = table(settings, "unmatched")
    assert (unmatched["stage"], unmatched["detail"]) == ("quota", "shared_phone")


def test_same_lead_without_an_obstacle_is_matched(tmp_path):
    settings = write_day_before_matching(tmp_path, DAY, leads=1, products=2)
    fitting = {"segment": "consumer", "amount": 10_000.0, "term_months": 6}
    leads = [row | fitting | {"bureau_score": None} for row in mart(settings, "leads")]
    open_one, paused = mart(settings, "products")
    with_marts(settings, leads=leads, products=[open_one | {"pd_max": 0.5}, paused])
    assert run_matching(settings, DAY)["matches"] == 1


def test_budget_in_money_holds_and_the_gap_is_certified(matched_copy, monkeypatch):
    lift_guarantees(monkeypatch)
    run_matching(matched_copy, DAY)

    def spend() -> float:
        made = {(row["lead_id"], row["product_id"]) for row in table(matched_copy, "matches")}
        return sum(
            row["expected_spend"]
            for row in table(matched_copy, "pairs")
            if (row["lead_id"], row["product_id"]) in made and row["product_id"] == "loan-0001"
        )

    unlimited = spend()
    products = [
        row | ({"daily_budget": unlimited / 2} if row["product_id"] == "loan-0001" else {})
        for row in mart(matched_copy, "products")
    ]
    facts = run_matching(with_marts(matched_copy, products=products), DAY)
    assert 0 < spend() <= unlimited / 2
    assert 0 <= facts["gap"] < 0.05
    assert facts["value"] <= facts["bound"]


def test_day_without_leads_publishes_empty_tables(tmp_path):
    settings = write_day_before_matching(
        tmp_path, DAY, leads_table=SCHEMAS["leads"].empty_table(), products=4
    )
    facts = run_matching(settings, DAY)
    assert (facts["matches"], facts["matched"], facts["gap"]) == (0, 0, 0)
    assert facts["received"] == QUARANTINED + DUPLICATES
    assert table(settings, "matches") == table(settings, "offers") == []


def test_scoring_and_matching_again_changes_no_byte(matched_copy):
    before = contents(matched_copy)
    pairs.score(matched_copy, DAY)
    match_day.match(matched_copy, DAY)
    assert contents(matched_copy) == before


def test_pairs_of_other_marts_are_an_error(matched_copy):
    with_marts(matched_copy, leads=mart(matched_copy, "leads")[::2])
    with pytest.raises(InputMissing, match=rf"changed: marts/date={DAY}"):
        match_day.match(matched_copy, DAY)


def test_pairs_of_other_models_are_an_error(matched_copy):
    names = ("approval", "risk", "take_up")
    priors = {name: registry.ModelVersion(Prior(name, "another reason"), {}) for name in names}
    registry.save_set(matched_copy, DAY - timedelta(days=1), priors)
    with pytest.raises(InputMissing, match="changed: models"):
        match_day.match(matched_copy, DAY)


def hash_files(settings: Settings) -> dict[str, str]:
    """Return the SHA-256 of each published file of the matching."""
    return {
        f"{root.name}/{name}": facts["sha256"]
        for root in (settings.matches, settings.offers, settings.unmatched, settings.reasons)
        for name, facts in read_manifest(settings.day_folder(root, DAY))["files"].items()
    }


def test_portions_change_no_byte(matched_copy, monkeypatch):
    match_day.match(matched_copy, DAY)
    whole = hash_files(matched_copy)
    for module, name, rows in (
        (reason_tables, "PORTION_OF_MATCHES", 11),
        (reason_tables, "PORTION", 23),
        (build_problem, "PORTION", 23),
    ):
        monkeypatch.setattr(module, name, rows)
    assert match_day.match(matched_copy, DAY)["matches"] > 33
    assert len(table(matched_copy, "pairs")) > 69
    assert hash_files(matched_copy) == whole


def test_a_large_day_does_without_the_exact_plan_within_quotas(matched_copy, monkeypatch):
    exact = match_day.match(matched_copy, DAY)
    monkeypatch.setattr(build_problem, "EXACT_UP_TO", 0)
    monkeypatch.setattr(relaxation, "COLUMNS_FROM", 0)
    monkeypatch.setattr(relaxation, "SMALL", 0)
    large = match_day.match(matched_copy, DAY)
    assert large["bound"] >= exact["value"] - 1e-6
    assert 0.98 * exact["value"] <= large["value"] <= exact["bound"] + 1e-6
    assert {name: large[name] for name in COUNTS[:4]} == {name: exact[name] for name in COUNTS[:4]}
