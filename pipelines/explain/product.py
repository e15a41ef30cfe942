"""Explain a product: where its leads were excluded, and which pairs had a higher value."""

from typing import Any

import numpy as np

from expectations import policy
from pipelines.core.errors import InputMissing
from pipelines.explain.lead import CHOSEN, DECISIONS, explain_decision
from pipelines.explain.published_day import PublishedDay, Row
from pipelines.pairs.eligibility.bitsets import count_products
from pipelines.pairs.eligibility.engine import build_requirements, find_eligible_pairs
from pipelines.pairs.near_misses import find_near_misses
from pipelines.pairs.scoring import score_leads


def explain_product(published: PublishedDay, institution: str, product: str) -> dict[str, Any]:
    """Return how a product filled its quota.

    Returns:
        Its `daily_quota`, `daily_budget`, `matches`, `expected_spend` and `price_of_quota` (what
        one more lead a day would add); `funnel`: leads left after each step; `near_misses`: leads
        that one rule alone excludes; `decisions`: number of scored leads by decision. A product
        that took no leads has `closed` instead.

    Raises:
        InputMissing: The day's catalogue has no such product.
    """
    key = {"institution": institution, "product": product}
    is_product = "institution_id = $institution and product_id = $product"
    closed = published.query(f"select reason from closed_products where {is_product}", **key)
    if closed:
        return {"closed": closed[0]["reason"], "matches": 0, "funnel": [], "decisions": []}
    terms = published.query(f"from products where {is_product}", **key)
    if not terms:
        raise InputMissing(
            f"The catalogue of {published.day} has no product {institution}/{product}. Nothing was "
            f"explained. Its products are in marts/date={published.day}/products.parquet."
        )
    pairs = published.query_file("product_pairs", **key)
    decisions = _count_decisions(published, pairs, key)
    matched = [pair for pair in pairs if pair["rank"] is not None]
    return {
        "daily_quota": terms[0]["daily_quota"],
        "daily_budget": terms[0]["daily_budget"],
        "matches": len(matched),
        "expected_spend": round(sum(pair["expected_spend"] for pair in matched), 2),
        "price_of_quota": pairs[0]["price_of_quota"] if pairs else 0.0,
        **_count_leads(published, key, len(pairs)),
        "decisions": decisions,
    }


def _count_decisions(published: PublishedDay, pairs: list[Row], key: Row) -> list[Row]:
    """Return the number of scored leads by decision, in the order of `DECISIONS`."""
    planned: dict[tuple[str, str], list[Row]] = {}
    for match in published.query_file("planned_rivals", **key):
        planned.setdefault((match["channel_id"], match["lead_id"]), []).append(match)
    max_offers = policy.value().max_offers_per_lead
    decisions = [
        explain_decision(pair, planned.get((pair["channel_id"], pair["lead_id"]), []), max_offers)
        for pair in pairs
    ]
    return [
        {"decision": name, "why": DECISIONS[name], "leads": decisions.count(name)}
        for name in DECISIONS
        if name in decisions or name == CHOSEN
    ]


def _count_leads(published: PublishedDay, key: Row, scored: int) -> dict[str, Any]:
    """Return the leads left after each step, and the leads that one rule alone excludes."""
    connection = published.connection
    score_leads(connection, published.load_models())
    connection.execute(
        "create or replace table products as select * replace (0::int as product_row) "
        "from products where institution_id = $institution and product_id = $product",
        key,
    )
    eligibility = find_eligible_pairs(connection, published.rules, published.day)
    funnel = [
        {"step": step, "leads": int(np.sum(counts))}
        for step, counts in eligibility.remaining.items()
    ]
    requirements = build_requirements(connection, published.rules, published.day)
    missed = np.zeros(len(requirements), np.int64)
    for _, bitsets in find_near_misses(connection, requirements, products=1):
        missed += [int(count_products(products).sum()) for products in bitsets]
    return {
        "funnel": [*funnel, {"step": "scored", "leads": scored}],
        "near_misses": [
            {"step": requirement.step, "attribute": requirement.attribute, "leads": int(leads)}
            for requirement, leads in zip(requirements, missed, strict=True)
            if leads
        ],
    }
