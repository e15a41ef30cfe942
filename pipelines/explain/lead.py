"""Explain a lead: why it got its offers or none, product by product."""

from collections.abc import Sequence
from typing import Any

from expectations import policy
from pipelines.core.errors import InputMissing
from pipelines.explain.consent import explain_consent
from pipelines.explain.published_day import PublishedDay, Row
from pipelines.pairs.eligibility.reference_rules import (
    RuleCheck,
    check_earlier_offers,
    check_pair,
)
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
"""Columns of a scored pair that an explanation states; money in the base currency."""

CHOSEN = "chosen"
DECISIONS = {
    CHOSEN: "chosen",
    "explored": "drawn at random for exploration, among pairs of nearly the same value",
    "displaced": "planned, and displaced by a pair that was drawn for exploration",
    "low_odds": "an approval is less likely than an offer must be",
    "low_value": "below the minimum value of a match",
    "same_institution": "another product of the institution has a higher value to the plan",
    "prices": "its value is not above the shadow prices of what it uses: other leads use it",
    "better_offers": "other offers of the lead have a higher value to the plan",
    "other_limit": "excluded by a guarantee, a share, a floor or a shared phone, or tied",
}
"""Decision about a scored pair -> its description."""

TOLERANCE = 1e-6
"""Smaller differences of value, in the base currency, are ties."""


def explain_lead(published: PublishedDay, channel: str, lead: str) -> dict[str, Any]:
    """Return the outcome of a lead and the decision at every product.

    An explanation states no value of the lead but its scores and the terms of its offers: a rule
    is stated with its bound and the side on which the lead lies.

    Returns:
        `outcome` (matched, unmatched, suppressed, duplicate, quarantined), `stage` and `detail` of
        a lead without a match, `consent` (version, time, scope and texts of the register),
        `contradictions` of a business's figures (kinds, no figure), `words` (offers with their
        whole cost, else reasons, as the person is shown them), and `products`:
        for each its `decision`, `why`, `checks` and, if it was scored, `FIGURES` and
        `value_after_price`.

    Raises:
        InputMissing: The day has no such lead.
    """
    key = {"channel": channel, "lead": lead}
    rows = published.query("from mart_leads where channel_id = $channel and lead_id = $lead", **key)
    if not rows:
        return _explain_quarantine(published, channel, lead)
    matches = published.query(
        "from matches where channel_id = $channel and lead_id = $lead order by rank", **key
    )
    explanation = _explain_outcome(published, rows[0], matches, key)
    explanation["consent"] = explain_consent(
        published.connection, published.settings, published.day, channel, lead
    )
    explanation["contradictions"] = _load_contradictions(published, key)
    explanation["words"] = _load_words(published, key)
    if rows[0]["exclusion_stage"] is None:
        explanation["products"] = _explain_products(published, matches, key)
    return explanation


def _load_contradictions(published: PublishedDay, key: Row) -> list[str]:
    """Return how the figures of a business contradict each other; the mart came with 0.2.0."""
    marts = published.settings.day_folder(published.settings.marts, published.day)
    file = marts / "lead_contradictions.parquet"
    if not file.is_file():
        return []
    rows = published.query_file("contradictions", file=str(file), **key)
    return [row["contradiction"] for row in rows]


def _load_words(published: PublishedDay, key: Row) -> list[Row]:
    """Return what the person is shown, in each language: the offers, else the reasons.

    Reasons are of the product that was closest to a match; some stages have none.
    """
    settings, day = published.settings, published.day
    offers = settings.day_folder(settings.offers, day) / "offers.parquet"
    reasons = settings.day_folder(settings.reasons, day) / "unmatched.parquet"
    words: list[Row] = []
    if offers.is_file():
        words = published.query_file("offer_words", file=str(offers), **key)
    if not words and reasons.is_file():
        words = published.query_file("person_words", file=str(reasons), **key)
    return words


def explain_decision(pair: Row, planned: Sequence[Row], max_offers: int) -> str:
    """Return the decision about a scored pair, a key of `DECISIONS`.

    The shadow price of a limit is what one more unit of it would add. So the plan compares pairs by
    their value less the prices of all that they use, and a lead takes the best few.

    Args:
        pair: `institution_id`, `product_id`, `expected_value`, `is_likely_enough`, `is_worthwhile`,
            `net_value`, and `is_made` if it was in the exploration draw.
        planned: The pairs that the plan chose for the lead, with the same columns.
        max_offers: Most matches of one lead.
    """
    is_drawn = pair.get("is_made")
    if any(_product(pair) == _product(match) for match in planned):
        return "displaced" if is_drawn is False else CHOSEN
    return "explored" if is_drawn else _explain_rejection(pair, planned, max_offers)


def _explain_rejection(pair: Row, planned: Sequence[Row], max_offers: int) -> str:
    """Return why the plan did not choose the pair."""
    if not pair["is_likely_enough"]:
        return "low_odds"
    if not pair["is_worthwhile"]:
        return "low_value"
    net_value = pair["net_value"]
    rivals = [match for match in planned if match["institution_id"] == pair["institution_id"]]
    if rivals and net_value <= rivals[0]["net_value"] + TOLERANCE:
        return "same_institution"
    if net_value <= TOLERANCE:
        return "prices"
    least = min((match["net_value"] for match in planned), default=0.0)
    if len(planned) >= max_offers and net_value <= least + TOLERANCE:
        return "better_offers"
    return "other_limit"


def _product(row: Row) -> tuple[str, str]:
    return row["institution_id"], row["product_id"]


def _explain_quarantine(published: PublishedDay, channel: str, lead: str) -> dict[str, Any]:
    """Return why a row of the day was quarantined before it became a lead."""
    folder = published.settings.day_folder(published.settings.quarantine / "leads", published.day)
    file = folder / "quarantine.parquet"
    records: list[Row] = []
    if file.exists():
        records = published.query_file(
            "quarantined_rows", records=str(file), channel=channel, lead=lead
        )
    if not records:
        raise InputMissing(
            f"{published.day} has no lead {channel}/{lead}: it is neither among the leads of its "
            f"marts nor among the quarantined rows. Nothing was explained. Look for it in "
            f"landing/leads/{channel}/, perhaps on another date."
        )
    is_copy = {record["rule"] for record in records} <= {"duplicate"}
    return {
        "outcome": "duplicate" if is_copy else "quarantined",
        "stage": records[0]["rule"],
        "detail": records[0]["column"] or "row",
        "records": records,
        "products": [],
    }


def _explain_outcome(
    published: PublishedDay, lead: Row, matches: list[Row], key: Row
) -> dict[str, Any]:
    if matches:
        return {"outcome": "matched", "stage": None, "detail": None, "products": []}
    if lead["exclusion_stage"] == "duplicate":
        return {
            "outcome": "duplicate",
            "stage": "duplicate",
            "detail": lead["exclusion_detail"],
            "canonical_lead": f"{lead['canonical_channel_id']}/{lead['canonical_lead_id']}",
            "products": [],
        }
    (unmatched,) = published.query(
        "select stage, detail from unmatched where channel_id = $channel and lead_id = $lead",
        **key,
    )
    outcome = "suppressed" if unmatched["stage"] == "suppressed" else "unmatched"
    return {"outcome": outcome, **unmatched, "products": []}


def _explain_products(published: PublishedDay, matches: list[Row], key: Row) -> list[Row]:
    """Return the decision at each product: matches by rank, then the others by net value."""
    published.connection.execute(
        "create or replace table leads as from leads where channel_id = $channel "
        "and lead_id = $lead",
        key,
    )
    score_leads(published.connection, published.load_models())
    (lead,) = published.query("from leads")
    pairs = {_product(pair): pair for pair in published.query_file("lead_pairs", **key)}
    ranks = {_product(match): match["rank"] for match in matches}
    planned = [pair for pair in pairs.values() if pair["is_planned"]]
    products = published.query("from products order by product_row")
    earlier = published.query(
        "select institution_id, product_id, offered_on from earlier_offers "
        "semi join leads using (channel_id, lead_id)"
    )
    failed = check_earlier_offers(
        published.day,
        {_product(row): row["offered_on"] for row in earlier},
        [_product(product) for product in products],
        policy.pairs(),
    )
    rows = []
    for product in products:
        name = _product(product)
        checks = check_pair(
            lead,
            product,
            published.stated_rules.get(name, []),
            every_institution=policy.consent(published.day).every_institution,
        )
        checks += failed.get(name, [])
        row = _explain_pair(product, checks, pairs.get(name), planned)
        rows.append(row | {"rank": ranks.get(name)})
    return sorted(rows, key=_order) + _list_closed(published)


def _explain_pair(
    product: Row, checks: list[RuleCheck], pair: Row | None, planned: list[Row]
) -> Row:
    failed = [check for check in checks if not check.is_met]
    row: Row = {
        "institution_id": product["institution_id"],
        "product_id": product["product_id"],
        "checks": [
            {"step": check.step, "rule": check.rule, "answer": check.answer} for check in checks
        ],
    }
    if failed:
        why = "; ".join(f"{check.words}: {check.answer}" for check in failed)
        return row | {"decision": failed[0].step, "why": why}
    if pair is None:
        why = "not among the promising pairs that the prefilter of a large day keeps"
        return row | {"decision": "not_scored", "why": why}
    decision = explain_decision(pair, planned, policy.value().max_offers_per_lead)
    figures = {name: pair[name] for name in FIGURES}
    figures["value_after_price"] = pair["net_value"]
    return row | {"decision": decision, "why": DECISIONS[decision]} | figures


def _order(row: Row) -> tuple[float, bool, float, str, str]:
    return (
        row["rank"] or float("inf"),
        "expected_value" not in row,
        -row.get("value_after_price", 0.0),
        row["institution_id"],
        row["product_id"],
    )


def _list_closed(published: PublishedDay) -> list[Row]:
    rows = published.query("from closed_products order by institution_id, product_id")
    return [
        {
            "institution_id": row["institution_id"],
            "product_id": row["product_id"],
            "checks": [],
            "decision": "closed",
            "why": row["reason"],
            "rank": None,
        }
        for row in rows
    ]
