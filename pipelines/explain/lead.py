"""Why a lead got these offers, or none: product by product."""

from typing import Any

from expectations import policy
from pipelines.core.errors import InputMissing
from pipelines.explain.allocation_reasons import WORDS, after_price, decision
from pipelines.explain.day import Explained, Row
from pipelines.pairs.eligibility.reference_rules import RuleCheck as Verdict
from pipelines.pairs.eligibility.reference_rules import check_pair as verdicts
from pipelines.pairs.scoring import score_leads

FIGURES = (
    "pd",
    "p_approve",
    "p_fund",
    "suggested_apr",
    "revenue",
    "person_benefit",
    "institution_margin",
    "expected_value",
    "price_of_quota",
    "propensity",
)
"""What is told of a scored pair; money in the base currency."""


def explain_lead(told: Explained, channel: str, lead: str) -> dict[str, Any]:
    """Return where a lead ended and, for every product, what decided.

    No value of the lead is told but its scores: a rule is told with its bound and the side of it
    on which the lead lies.

    Returns:
        `outcome` (matched, unmatched, suppressed, duplicate, quarantined), `stage` and `detail`
        where it has no match, `products`: for each its `decision`, `why`, `verdicts` and, where
        it was scored, `FIGURES`.

    Raises:
        InputMissing: The day knows no such lead.
    """
    key = {"channel": channel, "lead": lead}
    marts = told.rows("from mart_leads where channel_id = $channel and lead_id = $lead", **key)
    if not marts:
        return at_the_gate(told, channel, lead)
    matches = told.rows(
        "from matches where channel_id = $channel and lead_id = $lead order by rank", **key
    )
    found = _outcome(told, marts[0], is_matched=bool(matches), key=key)
    if marts[0]["exclusion_stage"] is None:
        found["products"] = _products(told, matches, key)
    return found


def at_the_gate(told: Explained, channel: str, lead: str) -> dict[str, Any]:
    """Return why a row of the day was set aside before it became a lead."""
    path = told.settings.day_folder(told.settings.quarantine / "leads", told.day)
    records = path / "quarantine.parquet"
    named = (
        told.rows(
            """
            select distinct file, line, "column", rule
            from read_parquet($records, hive_partitioning = false)
            where source = $channel and severity = 'critical'
            and regexp_matches(
                received, '(^|[^A-Za-z0-9_-])' || regexp_escape($lead) || '($|[^A-Za-z0-9_-])'
            )
            order by all
            """,
            records=str(records),
            channel=channel,
            lead=lead,
        )
        if records.exists()
        else []
    )
    if not named:
        raise InputMissing(
            f"{told.day} knows no lead {channel}/{lead}: it is neither among the leads of its "
            f"marts nor among the rows that were set aside. Nothing was explained. Look for it "
            f"in landing/leads/{channel}/, perhaps on another date."
        )
    is_copy = {record["rule"] for record in named} <= {"duplicate"}
    return {
        "outcome": "duplicate" if is_copy else "quarantined",
        "stage": named[0]["rule"],
        "detail": named[0]["column"] or "row",
        "records": named,
        "products": [],
    }


def _outcome(told: Explained, lead: Row, *, is_matched: bool, key: Row) -> dict[str, Any]:
    if is_matched:
        return {"outcome": "matched", "stage": None, "detail": None, "products": []}
    if lead["exclusion_stage"] == "duplicate":
        stands = f"{lead['canonical_channel_id']}/{lead['canonical_lead_id']}"
        return {
            "outcome": "duplicate",
            "stage": "duplicate",
            "detail": lead["exclusion_detail"],
            "same_as": stands,
            "products": [],
        }
    (why,) = told.rows(
        "select stage, detail from unmatched where channel_id = $channel and lead_id = $lead",
        **key,
    )
    outcome = "suppressed" if why["stage"] == "suppressed" else "unmatched"
    return {"outcome": outcome, **why, "products": []}


def _products(told: Explained, matches: list[Row], key: Row) -> list[Row]:
    """Return what decided at each product: matches by rank, then by how far the others came."""
    connection = told.connection
    connection.execute(
        "create or replace table leads as from leads where channel_id = $channel "
        "and lead_id = $lead",
        key,
    )
    score_leads(connection, told.model_set())
    (lead,) = told.rows("from leads")
    pairs = {
        (pair["institution_id"], pair["product_id"]): pair
        for pair in told.rows(
            "select scored.*, coalesce(price_of_quota, 0) as price_of_quota from scored "
            "left join prices using (institution_id, product_id) "
            "where channel_id = $channel and lead_id = $lead",
            **key,
        )
    }
    ranks = {(match["institution_id"], match["product_id"]): match["rank"] for match in matches}
    planned = [pair for pair in pairs.values() if pair["is_planned"]]
    earlier = _refused_for_earlier_offers(told)
    found = []
    for product in told.rows("from products order by product_row"):
        name = (product["institution_id"], product["product_id"])
        judged = verdicts(
            lead,
            product,
            told.stated_rules.get(name, []),
            every_institution=policy.consent(told.day).every_institution,
        ) + earlier.get(name, [])
        found.append(_told(product, judged, pairs.get(name), planned) | {"rank": ranks.get(name)})
    return sorted(found, key=_order) + _closed(told)


def _refused_for_earlier_offers(told: Explained) -> dict[tuple[str, str], list[Verdict]]:
    """Return what earlier matches of the person rule out."""
    rules = policy.pairs()
    rows = told.rows(
        "select institution_id, product_id, offered_on from earlier_offers "
        "semi join leads using (channel_id, lead_id)"
    )
    days = {
        (row["institution_id"], row["product_id"]): (told.day - row["offered_on"]).days
        for row in rows
    }
    found: dict[tuple[str, str], list[Verdict]] = {}
    for product in told.rows("select institution_id, product_id from products"):
        name = (product["institution_id"], product["product_id"])
        if days.get(name, rules.same_product_again_days) < rules.same_product_again_days:
            words = f"not shown within {rules.same_product_again_days} days"
            found[name] = [Verdict("contact_frequency", words, f"shown {days[name]} days ago")]
        for promise in rules.exclusive:
            since = [ago for other, ago in days.items() if other[0] == promise.institution_id]
            if (
                name[0] != promise.institution_id
                and min(since, default=promise.days) < promise.days
            ):
                words = f"promised to {promise.institution_id} for {promise.days} days"
                found.setdefault(name, []).append(Verdict("exclusive", words, "promised"))
    return found


def _told(product: Row, judged: list[Verdict], pair: Row | None, planned: list[Row]) -> Row:
    missed = [verdict for verdict in judged if not verdict.is_met]
    found: Row = {
        "institution_id": product["institution_id"],
        "product_id": product["product_id"],
        "verdicts": [{"step": v.step, "rule": v.rule, "answer": v.answer} for v in judged],
    }
    if missed:
        why = "; ".join(f"{verdict.rule}: {verdict.answer}" for verdict in missed)
        return found | {"decision": missed[0].step, "why": why}
    if pair is None:
        why = "less promising than the pairs that were scored on a day of too many pairs"
        return found | {"decision": "not_scored", "why": why}
    decided = decision(pair, planned, policy.value().most_offers_per_lead)
    figures = {name: pair[name] for name in FIGURES}
    worth = {"value_after_price": after_price(pair)}
    return found | {"decision": decided, "why": WORDS[decided]} | figures | worth


def _order(row: Row) -> tuple[float, bool, float, str, str]:
    return (
        row["rank"] or float("inf"),
        "expected_value" not in row,
        -row.get("value_after_price", 0.0),
        row["institution_id"],
        row["product_id"],
    )


def _closed(told: Explained) -> list[Row]:
    rows = told.rows("from closed_products order by institution_id, product_id")
    return [
        {
            "institution_id": row["institution_id"],
            "product_id": row["product_id"],
            "verdicts": [],
            "decision": "closed",
            "why": row["reason"],
            "rank": None,
        }
        for row in rows
    ]
