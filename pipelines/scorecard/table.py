"""The scorecard as a person reads it in a terminal."""

from collections.abc import Mapping

from expectations import policy
from pipelines.scorecard.figures import Figures

SHARES = {
    "approval_rate",
    "cost_share_of_yield",
    "default_rate",
    "institution_yield",
    "best_offer_share",
    "quota_use",
    "value_share_of_oracle",
}
"""Fractions, which people read in percent."""
HEADLINE = ("broadcast", "banyan")
WIDTH = 25
THOUSANDS_FROM = 100_000


def table(figures: Mapping[str, Figures]) -> str:
    """Return one line for each figure and a column for each policy, intervals beside."""
    names = [name for name in next(iter(figures.values())) if not name.endswith(("_low", "_high"))]
    money = policy.base_currency()
    head = f"{f'money in {money}':<24}" + "".join(
        f"{policy_name:>{WIDTH}}" for policy_name in figures
    )
    lines = [
        f"{name.replace('_', ' '):<24}"
        + "".join(f"{_cell(of_policy, name):>{WIDTH}}" for of_policy in figures.values())
        for name in names
    ]
    return "\n".join([head, *lines])


def headline(figures: Mapping[str, Figures]) -> str:
    """Return what acquisition cost a funded loan before Banyan and with it, in one line.

    Args:
        figures: With those of `broadcast` and `banyan`, by the truth.
    """
    name = "cost_share_of_yield"
    before, now = (_written(name, figures[policy_name][name]) for policy_name in HEADLINE)
    return f"acquisition cost per funded loan: broadcast {before} of yield, Banyan {now}"


def _cell(figures: Figures, name: str) -> str:
    low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
    interval = f" ({_written(name, low)}-{_written(name, high)})" if low is not None else ""
    return _written(name, figures[name]) + interval


def _written(name: str, number: float | None) -> str:
    if number is None:
        return "not known"
    if name in SHARES:
        return f"{number:.1%}"
    return f"{number / 1000:,.0f}k" if number >= THOUSANDS_FROM else f"{number:,.0f}"
