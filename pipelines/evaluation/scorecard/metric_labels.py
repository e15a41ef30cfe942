"""Name, format and definition of each figure, the same in the terminal's table and on the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from expectations import policy
from pipelines.evaluation.scorecard.figures import Figures

BEFORE, NOW = "broadcast", "banyan"

MetricFormat = Literal["count", "money", "share", "ratio"]


@dataclass(frozen=True)
class Metric:
    """Name, format and definition of one figure."""

    name: str
    format: MetricFormat
    definition: str


METRICS = {
    "leads": Metric("Leads", "count", "Leads loaded on these days, excluded ones included."),
    "shown": Metric("Offers shown", "count", "Pairs of a lead and a product."),
    "approved": Metric("Approved", "count", "Offers that a lender approves, in expectation."),
    "funded": Metric("Funded", "count", "Loans paid out; a lead takes at most one."),
    "approval_rate": Metric("Approval rate", "share", "Approved of shown."),
    "cost_per_funded": Metric(
        "Cost per funded loan",
        "money",
        "What the channels were paid for all leads, divided by funded loans.",
    ),
    "cost_share_of_yield": Metric(
        "Cost, share of yield", "share", "The same cost, divided by a year's interest of the loans."
    ),
    "cost_share_of_loans": Metric(
        "Cost, share of loans", "share", "The same cost, divided by the amount lent."
    ),
    "fee_share_of_yield": Metric(
        "Fees, share of yield",
        "share",
        "What institutions pay, divided by a year's interest of the loans.",
    ),
    "revenue": Metric("Revenue", "money", "Fees: what the institutions owe Banyan."),
    "surplus": Metric(
        "Surplus",
        "money",
        "Benefit of the persons and margin of the institutions before fees. A fee moves surplus "
        "from one side to the other, and the leads cost the same under every policy, so neither "
        "counts.",
    ),
    "default_rate": Metric(
        "Default rate", "share", "Loans 90 days overdue within a year, of funded."
    ),
    "institution_yield": Metric(
        "Yield after losses",
        "share",
        "A year's interest less losses by default, of the amount lent.",
    ),
    "surplus_share_of_oracle": Metric(
        "Surplus, share of oracle",
        "share",
        "True surplus of the offers, of that of the oracle's; each as its lead's only offer, so "
        "that the oracle's plan is the greatest there is.",
    ),
    "surplus_share_of_attainable": Metric(
        "Surplus, share of attainable",
        "share",
        "The same, of the best plan by all that columns can show: the true probabilities averaged "
        "over hidden traits and each week's mood of a lender. The lenders' own preferences count "
        "as known.",
    ),
    "lenders_worse_than_broadcast": Metric(
        "Lenders worse served",
        "count",
        "Lenders whose expected approval rate is below broadcast's on the same days beyond chance: "
        "a one-sided test clustered by lead, at 5% for all lenders together (Holm). Small numbers: "
        "at 0.1%, and at 5% for each lender alone.",
    ),
    "least_served_lender": Metric(
        "Least served lender",
        "ratio",
        "The least ratio of a lender's approval rate to broadcast's, of lenders with 20 offers or "
        "more under both. The least of many is low by chance too; the interval is that lender's.",
    ),
    "first_offer_is_persons_best": Metric(
        "First offer is the person's best",
        "share",
        "Matched leads whose first offer has the greatest true benefit to the person.",
    ),
    "hopeless_share": Metric(
        "Hopeless",
        "share",
        "Matched leads whose chance of any approval is below the policy's least odds.",
    ),
    "best_offer_share": Metric(
        "Best offer shown", "share", "Leads that were shown their product of the highest value."
    ),
    "quota_use": Metric("Quota use", "share", "Offers, of the quotas of all open products."),
    "value_share_of_oracle": Metric(
        "Value by weights, share of oracle",
        "share",
        "True value of the offers by the weights of the value policy, of that of the oracle's. "
        "With equal weights the same as the share of surplus; with a great weight of the fee it "
        "compares fees.",
    ),
}
"""Figure -> its name, format and definition, in reading order."""

POLICIES = {
    "banyan": "The matches as published.",
    "broadcast": "Random products among the eligible ones.",
    "rules": "The eligible product with the highest price first.",
    "oracle": "The plan of the greatest true surplus, under quotas, offers per lead and budgets: "
    "unknown in practice, an upper bound.",
}
"""Policy -> what it shows."""

UNKNOWN = "not known"
THOUSANDS_FROM = 100_000


def format_figure(name: str, number: float | None) -> str:
    """Return a figure as text: shares in percent, large numbers in thousands."""
    if number is None:
        return UNKNOWN
    if METRICS[name].format == "share":
        return f"{number:.1%}"
    if METRICS[name].format == "ratio":
        return f"{number:.2f}"
    return f"{number / 1000:,.0f}k" if number >= THOUSANDS_FROM else f"{number:,.0f}"


def format_interval(name: str, low: float | None, high: float | None) -> str:
    """Return the ends of an interval; nothing if the figure has none."""
    if low is None or high is None:
        return ""
    ends = format_figure(name, low), format_figure(name, high)
    return "-".join((ends[0].removesuffix("%"), ends[1]))


def format_table(figures: Mapping[str, Figures]) -> str:
    """Return one line for each figure and a column for each policy, intervals beside.

    Numbers and intervals are aligned; no column is wider than necessary.
    """
    names = [name for name in next(iter(figures.values())) if not name.endswith(("_low", "_high"))]
    columns = [[f"money in {policy.base_currency()}", *(name.replace("_", " ") for name in names)]]
    for policy_name, values in figures.items():
        numbers = [format_figure(name, values[name]) for name in names]
        intervals = [_interval_in_brackets(values, name) for name in names]
        width = max(map(len, numbers))
        cells = [
            f"{number:>{width}} {interval}".rstrip()
            for number, interval in zip(numbers, intervals, strict=True)
        ]
        columns.append([policy_name, *cells])
    lines = zip(*(_pad(column) for column in columns), strict=True)
    return "\n".join("  ".join(cells).rstrip() for cells in lines)


def format_headline(figures: Mapping[str, Figures]) -> str:
    """Return what a funded loan costs institutions, and what its leads cost, in one line.

    Args:
        figures: Of `broadcast` and `banyan`, by the truth.
    """

    def change(name: str) -> str:
        before, now = (format_figure(name, figures[way][name]) for way in (BEFORE, NOW))
        return f"broadcast {before} of yield, Banyan {now}"

    return (
        f"institutions pay per funded loan: {change('fee_share_of_yield')}; "
        f"its leads cost: {change('cost_share_of_yield')}"
    )


def _interval_in_brackets(figures: Figures, name: str) -> str:
    ends = format_interval(name, figures.get(f"{name}_low"), figures.get(f"{name}_high"))
    return f"({ends})" if ends else ""


def _pad(cells: list[str]) -> list[str]:
    width = max(map(len, cells))
    return [cell.ljust(width) for cell in cells]
