"""Why a product's quota was not filled: where leads fell away, and what was worth more."""

from typing import Any

import numpy as np

from expectations import policy
from pipelines.core.errors import InputMissing
from pipelines.explain.allocation_reasons import CHOSEN, WORDS, decision
from pipelines.explain.day import Explained, Row
from pipelines.pairs.eligibility.bitsets import count_products
from pipelines.pairs.eligibility.engine import build_requirements, find_eligible_pairs
from pipelines.pairs.near_misses import find_near_misses
from pipelines.pairs.scoring import score_leads


def explain_product(told: Explained, institution: str, product: str) -> dict[str, Any]:
    """Return how a product fared on the day.

    Returns:
        Its `daily_quota`, `daily_budget`, `matches`, `expected_spend` and `price_of_quota` (what
        one more lead a day would add); `funnel`: leads left after each step; `missed_by_one`:
        leads that one rule alone kept away; `decided`: of the scored leads, how many fell to
        what. A product that took no leads has `closed` instead.

    Raises:
        InputMissing: The day's catalogues have no such product.
    """
    key = {"institution": institution, "product": product}
    of_product = "institution_id = $institution and product_id = $product"
    closed = told.rows(f"select reason from closed_products where {of_product}", **key)
    if closed:
        return {"closed": closed[0]["reason"], "matches": 0, "funnel": [], "decided": []}
    terms = told.rows(f"from products where {of_product}", **key)
    if not terms:
        raise InputMissing(
            f"The catalogues of {told.day} have no product {institution}/{product}. Nothing was "
            f"explained. Those that they have are in marts/date={told.day}/products.parquet."
        )
    pairs = told.rows(_PAIRS, **key)
    decided = _decided(told, pairs, key)
    matched = [pair for pair in pairs if pair["rank"] is not None]
    return {
        "daily_quota": terms[0]["daily_quota"],
        "daily_budget": terms[0]["daily_budget"],
        "matches": len(matched),
        "expected_spend": round(sum(pair["expected_spend"] for pair in matched), 2),
        "price_of_quota": pairs[0]["price_of_quota"] if pairs else 0.0,
        **_funnel(told, key, len(pairs)),
        "decided": decided,
    }


_PAIRS = """
    select scored.*, coalesce(price_of_quota, 0) as price_of_quota, rank
    from scored
    left join prices using (institution_id, product_id)
    left join (
        select channel_id, lead_id, institution_id, product_id, rank from matches
    ) as ranked using (channel_id, lead_id, institution_id, product_id)
    where institution_id = $institution and product_id = $product
"""


def _decided(told: Explained, pairs: list[Row], key: Row) -> list[Row]:
    """Return of how many scored leads what decided, in the order of `WORDS`."""
    rivals: dict[tuple[str, str], list[Row]] = {}
    for match in told.rows(
        """
        select
            channel_id, lead_id, institution_id, product_id, expected_value,
            coalesce(price_of_quota, 0) as price_of_quota
        from scored
        semi join (
            from scored where institution_id = $institution and product_id = $product
        ) as of_product using (channel_id, lead_id)
        left join prices using (institution_id, product_id)
        where is_planned
        """,
        **key,
    ):
        rivals.setdefault((match["channel_id"], match["lead_id"]), []).append(match)
    most = policy.value().most_offers_per_lead
    found = [
        decision(pair, rivals.get((pair["channel_id"], pair["lead_id"]), []), most)
        for pair in pairs
    ]
    return [
        {"decision": name, "why": WORDS[name], "leads": found.count(name)}
        for name in WORDS
        if name in found or name == CHOSEN
    ]


def _funnel(told: Explained, key: Row, scored: int) -> dict[str, Any]:
    """Return how many leads were left after each step, and how many one rule alone kept away."""
    connection = told.connection
    score_leads(connection, told.model_set())
    connection.execute(
        "create or replace table products as select * replace (0::int as product_row) "
        "from products where institution_id = $institution and product_id = $product",
        key,
    )
    judged = find_eligible_pairs(connection, told.rules, told.day)
    left = [
        {"step": step, "leads": int(np.sum(counts))} for step, counts in judged.remaining.items()
    ]
    requirements = build_requirements(connection, told.rules, told.day)
    alone = np.zeros(len(requirements), np.int64)
    for _, missed in find_near_misses(connection, requirements, products=1):
        alone += [int(count_products(words).sum()) for words in missed]
    return {
        "funnel": [*left, {"step": "scored", "leads": scored}],
        "missed_by_one": [
            {"step": asked.step, "attribute": asked.attribute, "leads": int(leads)}
            for asked, leads in zip(requirements, alone, strict=True)
            if leads
        ],
    }
