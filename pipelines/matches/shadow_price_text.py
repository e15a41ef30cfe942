"""The prices of a product in words for its institution: of its quota, its budget and its own rules.

Made from what the day published alone, so the delivery and the report say the same. Money is what
the day's matches would be worth more in all, by the value policy, in the base currency.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations import policy

Row = dict[str, Any]
Product = tuple[str, str]

PRICES = "prices.parquet"
"""Beside the matches of the day: every limit and its price."""

WHOLE_FROM = 10
"""Amounts from this on are told without cents."""

ASKED = {
    "ge": "{what} of at least {first}",
    "le": "{what} of at most {first}",
    "between": "{what} from {first} to {last}",
    "in": "{what} among {all}",
    "not_in": "{what} other than {all}",
    "known": "known {what}",
}
"""Operator of a product's rule -> what it asks, in words."""

OF_TERMS = {
    "amount": "amounts from {amount_min:,.0f} to {amount_max:,.0f} {currency}",
    "term": "terms from {term_min_months} to {term_max_months} months",
    "risk_band": "a probability of default from {pd_min:.1%} to {pd_max:.1%}",
}
"""Step of the funnel -> what the product's own terms ask there."""


@dataclass(frozen=True)
class RulePrice:
    """What one rule costs its product a day, to first order."""

    rule: str
    good_leads: float
    """Leads that it alone keeps away and that would be matched."""
    value: float
    """What they would add."""


@dataclass(frozen=True)
class ProductPrices:
    """What the limits of one product cost on a day."""

    institution_id: str
    product_id: str
    quota: int
    matches: int
    price_of_quota: float
    """Of one more lead a day."""
    currency: str
    budget: float | None
    spent: float
    """Expected, in `currency`, like the budget."""
    price_of_budget: float
    """Of one more unit of `currency` a day."""
    promised: int
    """Leads a day that policy promises it; 0: none."""
    short: int
    """Leads by which that promise is missed."""
    price_of_floor: float
    """Of one lead less promised."""
    rules: tuple[RulePrice, ...]
    """Its own rules that cost something, the dearest first."""

    @property
    def words(self) -> list[str]:
        """Return what its institution should know, a sentence each."""
        return list(_sentences(self))


def told_prices(matches: Path, marts: Path) -> list[ProductPrices]:
    """Return the prices of the day's open products, by institution and product.

    Args:
        matches: The published `matches/date=D`.
        marts: The published `marts/date=D`.
    """
    limits = _by_product(matches / PRICES)
    costs = _by_product(matches / "rule_prices.parquet")
    asked = _by_product(marts / "product_rules.parquet")
    terms = {name: row for name, (row,) in _by_product(marts / "products.parquet").items()}
    return [
        _prices(terms[name], rows, costs[name], asked[name])
        for name, rows in sorted(limits.items())
        if name in terms
    ]


def _by_product(path: Path) -> defaultdict[Product, list[Row]]:
    """Return the rows of a file by the product that they are of; of none: left out."""
    table = pq.read_table(path, partitioning=None)
    found: defaultdict[Product, list[Row]] = defaultdict(list)
    for row in table.filter(pc.is_valid(table["product_id"])).to_pylist():
        found[row["institution_id"], row["product_id"]].append(row)
    return found


def _prices(terms: Row, limits: list[Row], costs: list[Row], asked: list[Row]) -> ProductPrices:
    of_kind = {row["kind"]: row for row in limits if row["column"] is None}
    nothing = {"limit": None, "used": 0.0, "short": 0.0, "price": 0.0}
    quota, budget, floor = (of_kind.get(kind, nothing) for kind in ("quota", "budget", "floor"))
    return ProductPrices(
        institution_id=terms["institution_id"],
        product_id=terms["product_id"],
        quota=terms["daily_quota"],
        matches=int(quota["used"]),
        price_of_quota=round(quota["price"], 4),
        currency=terms["currency"],
        budget=budget["limit"],
        spent=round(budget["used"], 2),
        price_of_budget=round(budget["price"], 6),
        promised=int(floor["limit"] or 0),
        short=int(floor["short"]),
        price_of_floor=round(floor["price"], 4),
        rules=tuple(
            RulePrice(_rule(row, terms, asked), round(row["good_leads"], 1), round(row["value"], 2))
            for row in costs
            if row["value"] > 0
        ),
    )


def _rule(cost: Row, terms: Row, asked: list[Row]) -> str:
    """Return what is asked, in words: of the rules on one attribute all together."""
    if cost["step"] in OF_TERMS:
        band = {"pd_min": terms["pd_min"] or 0.0, "pd_max": terms["pd_max"] or 1.0}
        return OF_TERMS[cost["step"]].format(**terms | band)
    code = policy.reason_codes().get(cost["attribute"], "")
    reason = policy.reason_by_code().get(code)
    what = reason.analyst.en if reason else cost["attribute"].replace("_", " ")
    return " and ".join(
        ASKED[rule["op"]].format(what=what, **_values(rule["value"]))
        for rule in asked
        if rule["attribute"] == cost["attribute"]
    )


def _values(text: str | None) -> dict[str, str]:
    values = [_number(value) for value in (text or "").split("|")]
    return {"first": values[0], "last": values[-1], "all": ", ".join(values)}


def _number(text: str) -> str:
    """Return a number with thousands set off, anything else as it is."""
    try:
        return f"{float(text):,.12g}"
    except ValueError:
        return text


def _sentences(told: ProductPrices) -> Iterator[str]:
    base = policy.base_currency()
    if told.price_of_quota > 0:
        yield f"One more lead a day is worth {_money(told.price_of_quota)} {base}."
    elif told.matches < told.quota:
        yield (
            f"Your quota of {told.quota:,} leads a day is not used up ({told.matches:,} matched): "
            "a larger one would add nothing."
        )
    if told.price_of_budget > 0:
        yield (
            f"One more {told.currency} of your daily budget of {_money(told.budget or 0)} "
            f"{told.currency} is worth {_money(told.price_of_budget)} {base}."
        )
    if told.short:
        yield (
            f"You were promised {told.promised:,} leads a day; {told.promised - told.short:,} is "
            "the most that fit your rules and the other limits of the day."
        )
    for cost in told.rules:
        good = f"{cost.good_leads:,.0f} good lead" + ("" if round(cost.good_leads) == 1 else "s")
        worth = f"{_money(cost.value)} {base}"
        yield f"Your limit to {cost.rule} costs you {good} a day, worth {worth}."


def _money(value: float) -> str:
    """Return an amount as people say it: cents only where they matter."""
    return f"{value:,.0f}" if abs(value) >= WHOLE_FROM else f"{value:,.2f}"
