"""What each figure is called, how it is written, and what it means: the same in table and page."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["count", "money", "share"]


@dataclass(frozen=True)
class Figure:
    """How people read one figure of the contract."""

    name: str
    kind: Kind
    meaning: str


FIGURES = {
    "leads": Figure(
        "Leads", "count", "That the channels sent on these days, also those set aside."
    ),
    "shown": Figure("Offers shown", "count", "Pairs of a lead and a product."),
    "approved": Figure(
        "Approved", "count", "Offers that a lender agrees to, as the truth expects."
    ),
    "funded": Figure("Funded", "count", "Loans paid out; a lead takes one at most."),
    "approval_rate": Figure("Approval rate", "share", "Approved of shown."),
    "cost_per_funded": Figure(
        "Cost per funded loan",
        "money",
        "What the channels were paid for all leads, over the loans.",
    ),
    "cost_share_of_yield": Figure(
        "Cost, share of yield", "share", "The same cost over a year's interest of the loans."
    ),
    "cost_share_of_loans": Figure(
        "Cost, share of loans", "share", "The same cost over the amount lent."
    ),
    "revenue": Figure("Revenue", "money", "What the institutions owe Banyan."),
    "default_rate": Figure(
        "Default rate", "share", "Loans 90 days overdue within a year, of funded."
    ),
    "institution_yield": Figure(
        "Yield after losses",
        "share",
        "A year's interest less what defaults lose, of the amount lent.",
    ),
    "best_offer_share": Figure(
        "Best offer shown", "share", "Leads that were shown the product worth most for them."
    ),
    "quota_use": Figure("Quota use", "share", "Offers over what all open products would take."),
    "value_share_of_oracle": Figure(
        "Value, share of oracle", "share", "True value of the offers, over that of the best plan."
    ),
}
"""Figure of the contract -> its words, in the order in which they are read."""

POLICIES = {
    "banyan": "The matches as published.",
    "broadcast": "Products at random among those that a lead may be shown.",
    "rules": "Of those, the product with the highest price first.",
    "oracle": "The best plan by the true probabilities; nobody can know it, nothing can beat it.",
}
"""Policy -> what it shows."""

UNKNOWN = "not known"
THOUSANDS_FROM = 100_000


def written(name: str, number: float | None) -> str:
    """Return a figure as people read it: shares in percent, large numbers in thousands."""
    if number is None:
        return UNKNOWN
    if FIGURES[name].kind == "share":
        return f"{number:.1%}"
    return f"{number / 1000:,.0f}k" if number >= THOUSANDS_FROM else f"{number:,.0f}"


def interval(name: str, low: float | None, high: float | None) -> str:
    """Return the ends of an interval; nothing where a figure has none."""
    if low is None or high is None:
        return ""
    ends = written(name, low), written(name, high)
    return "-".join((ends[0].removesuffix("%"), ends[1]))
