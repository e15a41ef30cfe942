"""Why an eligible, scored pair was chosen or not: by price, by rival offers, by lot."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

ROUNDING = 1e-6
"""Differences of value below it, in the base currency, are none."""

CHOSEN = "chosen"
WORDS = {
    CHOSEN: "chosen",
    "drawn": "drawn by lot among pairs that are nearly as good, to learn how they fare",
    "gave_way": "planned, and gave its place to a pair that was drawn by lot",
    "low_value": "worth less than the smallest match that is made",
    "same_institution": "another product of the institution is worth more to the plan",
    "price_of_quota": "its places are worth at least as much with other leads",
    "better_offers": "other offers of the lead are worth more to the plan",
    "budget_or_tie": "kept out by the budget, a share or a floor, or equal to what was chosen",
}
"""Decision -> its words."""


def decision(pair: Row, planned: Sequence[Row], most_offers: int) -> str:
    """Return why a scored pair became a match or none.

    A place at a product costs its shadow price: what one more lead a day would add there. So a
    pair is worth its value less that price, and a lead takes the best few that are left.

    Args:
        pair: `institution_id`, `product_id`, `expected_value`, `is_worthwhile`, `price_of_quota`,
            and `is_made` where the lot decided.
        planned: What the plan chose for the lead, with the same columns.
        most_offers: Most matches of one lead.
    """
    by_lot = pair.get("is_made")
    if any(_key(pair) == _key(match) for match in planned):
        return "gave_way" if by_lot is False else CHOSEN
    return "drawn" if by_lot else _by_price(pair, planned, most_offers)


def _by_price(pair: Row, planned: Sequence[Row], most_offers: int) -> str:
    """Return why the plan made no match of the pair."""
    if not pair["is_worthwhile"]:
        return "low_value"
    worth = after_price(pair)
    rivals = [match for match in planned if match["institution_id"] == pair["institution_id"]]
    if rivals and worth <= after_price(rivals[0]) + ROUNDING:
        return "same_institution"
    if worth <= ROUNDING:
        return "price_of_quota"
    least = min((after_price(match) for match in planned), default=0.0)
    if len(planned) >= most_offers and worth <= least + ROUNDING:
        return "better_offers"
    return "budget_or_tie"


def after_price(pair: Row) -> float:
    """Return what a pair is worth to the plan, once its place is paid for."""
    return float(pair["expected_value"]) - float(pair["price_of_quota"])


def _key(pair: Row) -> tuple[Any, Any]:
    return pair["institution_id"], pair["product_id"]
