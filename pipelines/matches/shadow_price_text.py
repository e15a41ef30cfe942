"""The shadow prices of a product as text for its institution: quota, budget and its own rules.

Read from the published files of the day alone, so the delivery and the report agree. Prices of
quota and budget are the value that the day's matches would have more, by the value policy; the cost
of a rule is what the institution's own result would gain. Money is in the base currency.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.translation import Text

Row = dict[str, Any]
Product = tuple[str, str]

PRICES = "prices.parquet"
"""Every limit of the day and its shadow price, beside the matches."""

RULE_COSTS = "rule_costs.parquet"
"""The cost of each hard rule of a product, beside the matches."""

GUARANTEE_TEXT = {
    "approval_rate": "an expected approval rate of at least {limit:.1%}, as of random leads",
    "cost_per_funded": "an expected fee of at most {limit:,.0f} {base} per funded loan",
    "cost_per_approval": "an expected fee of at most {limit:,.0f} {base} per approval",
}
"""Guarantee -> its text."""

NO_CENTS_FROM = 10
"""Amounts from this on are written without cents."""

RULE_TEXT = {
    "ge": "{what} of at least {first}",
    "le": "{what} of at most {first}",
    "between": "{what} from {first} to {last}",
    "in": "{what} among {all}",
    "not_in": "{what} other than {all}",
    "known": "known {what}",
}
"""Operator of a product's rule -> its text."""

TERM_TEXT = {
    "amount": "amounts from {amount_min:,.0f} to {amount_max:,.0f} {currency}",
    "term": "terms from {term_min_months} to {term_max_months} months",
    "risk_band": "a probability of default from {pd_min:.1%} to {pd_max:.1%}",
    "cost_disclosure": "catalogues without the fee lines that the law asks for",
}
"""Step of the funnel -> the text of the product's terms at this step."""


@dataclass(frozen=True)
class RulePrice:
    """The cost of one rule to its product a day."""

    rule: str
    good_leads: float
    """Leads that it alone excludes and that would be matched without it, within the quota."""
    value: float
    """What the lender's result (margin less fees) would gain."""


@dataclass(frozen=True)
class GuaranteePrice:
    """What the matches of one product are held to, and what that costs."""

    kind: str
    """approval_rate, cost_per_funded or cost_per_approval."""
    limit: float
    """Least rate, or highest cost in the base currency."""
    attained: float
    price: float
    """Value that missing it by one approval, or one unit of money, would add."""

    def describe(self, currency: str) -> str:
        """Return what the matches are held to, with costs in `currency`, the base currency."""
        return Text.fill(GUARANTEE_TEXT[self.kind], {"limit": self.limit, "base": currency})


@dataclass(frozen=True)
class ProductPrices:
    """The shadow prices of the limits of one product on a day."""

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
    """Floor of the policy, in leads a day; 0: none."""
    short: int
    """Leads by which the floor is missed."""
    price_of_floor: float
    """Of one lead less promised."""
    guarantees: tuple[GuaranteePrice, ...]
    """What its matches are held to, with a price: it keeps leads away."""
    rules: tuple[RulePrice, ...]
    """Its own rules that have a cost, the greatest first."""

    @property
    def sentences(self) -> list[str]:
        """Return the text for the institution, a sentence each."""
        return list(_write_sentences(self))


def load_product_prices(matches: Path, marts: Path) -> list[ProductPrices]:
    """Return the shadow prices of the day's open products, by institution and product.

    Args:
        matches: The published `matches/date=D`.
        marts: The published `marts/date=D`.
    """
    limits = _group_by_product(matches / PRICES)
    costs = _group_by_product(matches / RULE_COSTS)
    rules = _group_by_product(marts / "product_rules.parquet")
    terms = {key: row for key, (row,) in _group_by_product(marts / "products.parquet").items()}
    return [
        _build_prices(terms[key], rows, costs[key], rules[key])
        for key, rows in sorted(limits.items())
        if key in terms
    ]


def _group_by_product(path: Path) -> defaultdict[Product, list[Row]]:
    """Return the rows of a file by product; rows without a product are left out."""
    table = pq.read_table(path, partitioning=None)
    rows: defaultdict[Product, list[Row]] = defaultdict(list)
    for row in table.filter(pc.is_valid(table["product_id"])).to_pylist():
        rows[row["institution_id"], row["product_id"]].append(row)
    return rows


def _build_prices(
    terms: Row, limits: list[Row], costs: list[Row], rules: list[Row]
) -> ProductPrices:
    by_kind = {row["kind"]: row for row in limits if row["column"] is None}
    no_limit = {"limit": None, "used": 0.0, "short": 0.0, "price": 0.0}
    quota, budget, floor = (by_kind.get(kind, no_limit) for kind in ("quota", "budget", "floor"))
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
        guarantees=tuple(
            GuaranteePrice(kind, row["limit"], row["used"], round(row["price"], 4))
            for kind in GUARANTEE_TEXT
            if (row := by_kind.get(kind)) and row["price"] > 0
        ),
        rules=tuple(
            RulePrice(
                _describe_rule(row, terms, rules),
                round(row["good_leads"], 1),
                round(row["value"], 2),
            )
            for row in costs
            if row["value"] > 0
        ),
    )


def _describe_rule(cost: Row, terms: Row, rules: list[Row]) -> str:
    """Return the text of a rule, or of all rules on the same attribute together."""
    if cost["step"] in TERM_TEXT:
        band = {"pd_min": terms["pd_min"] or 0.0, "pd_max": terms["pd_max"] or 1.0}
        return TERM_TEXT[cost["step"]].format(**terms | band)
    code = policy.reason_codes().get(cost["attribute"], "")
    reason = policy.reason_by_code().get(code)
    what = reason.analyst.en if reason else cost["attribute"].replace("_", " ")
    return " and ".join(
        RULE_TEXT[rule["op"]].format(what=what, **_format_values(rule["value"]))
        for rule in rules
        if rule["attribute"] == cost["attribute"]
    )


def _format_values(text: str | None) -> dict[str, str]:
    values = [_format_number(value) for value in (text or "").split("|")]
    return {"first": values[0], "last": values[-1], "all": ", ".join(values)}


def _format_number(text: str) -> str:
    """Return a number with thousands separators, other text unchanged."""
    try:
        return f"{float(text):,.12g}"
    except ValueError:
        return text


def _write_sentences(prices: ProductPrices) -> Iterator[str]:
    base = policy.base_currency()
    if prices.price_of_quota > 0:
        yield f"One more lead a day would add {_format_money(prices.price_of_quota)} {base}."
    elif prices.matches < prices.quota:
        yield (
            f"Your quota of {prices.quota:,} leads a day is not used up ({prices.matches:,} "
            "matched): a larger quota would add nothing."
        )
    if prices.price_of_budget > 0:
        yield (
            f"One more {prices.currency} of your daily budget of "
            f"{_format_money(prices.budget or 0)} {prices.currency} would add "
            f"{_format_money(prices.price_of_budget)} {base}."
        )
    for guarantee in prices.guarantees:
        yield f"Your leads are held to {guarantee.describe(base)}; that keeps some away."
    if prices.short:
        yield (
            f"You were promised {prices.promised:,} leads a day; "
            f"{prices.promised - prices.short:,} is the most that your rules and the other limits "
            "of the day allow."
        )
    for cost in prices.rules:
        good = f"{cost.good_leads:,.0f} good lead" + ("" if round(cost.good_leads) == 1 else "s")
        yield (
            f"Your limit to {cost.rule} keeps {good} a day from you that would be matched within "
            f"your quota; your result after fees would be {_format_money(cost.value)} {base} "
            "higher."
        )


def _format_money(value: float) -> str:
    """Return an amount, with cents only if it is small."""
    return f"{value:,.0f}" if abs(value) >= NO_CENTS_FROM else f"{value:,.2f}"
