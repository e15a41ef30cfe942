"""From sums over leads to the figures of the scorecard, each with its interval.

The names are those of the contract. A figure is a sum over leads or a ratio of two, so one pass
over a resampled set of leads gives all of them. Money is in the base currency.
"""

import math
from collections.abc import Mapping

import numpy as np

from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import round_significant

SUMS = ("approved", "funded", "revenue")
RATIOS = {
    "approval_rate": ("approved", "shown"),
    "cost_per_funded": ("cost", "funded"),
    "cost_share_of_yield": ("cost", "interest"),
    "cost_share_of_loans": ("cost", "lent"),
    "default_rate": ("defaulted", "funded"),
    "institution_yield": ("kept", "lent"),
    "best_offer_share": ("best_shown", "has_best"),
    "value_share_of_oracle": ("value", "oracle_value"),
}
"""Figure -> the column that is summed, and the one whose sum divides it.

`cost` is what the channels were paid for the leads of the days, matched or not: traffic is paid
for whether it leads anywhere or not. `interest` is the yield of the funded loans in a year, amount
x apr, and `kept` what of it remains after that year's losses, amount x share lost for each loan
that fails; `lent` is the funded amount. `best_shown` counts leads that were shown the product worth
most, among those that have one (`has_best`). That interest is counted on the whole amount for a
whole year, whatever the term, is ours.
"""

RESAMPLES = 400
LOW, HIGH = 0.025, 0.975
SEED = 20_260_205
"""Of the bootstrap; any other would do, as long as it stays."""

Sums = Mapping[str, FloatArray]
"""One number for each lead, by name."""
Figures = dict[str, float | int | None]


def figures_of(by_policy: Mapping[str, Sums], leads: int, quota: int) -> dict[str, Figures]:
    """Return the figures of every policy; None is one that can't be known.

    Args:
        by_policy: The columns that `SUMS` and `RATIOS` name, and `shown`, each with a number for
            every lead. A figure whose column isn't there is None.
        leads: How many there are; resampled together with all that became of them, and in the
            same way for every policy.
        quota: Leads that all products together would have taken.
    """
    columns = {policy: list(sums) for policy, sums in by_policy.items()}
    stacked = np.stack([column for sums in by_policy.values() for column in sums.values()], axis=1)
    total = _totals(columns, stacked, np.ones(leads))
    random = np.random.default_rng(SEED)
    again: dict[str, list[dict[str, float]]] = {policy: [] for policy in by_policy}
    for _ in range(RESAMPLES if leads else 0):
        times = np.bincount(random.integers(0, leads, leads), minlength=leads).astype(np.float64)
        for policy, sums in _totals(columns, stacked, times).items():
            again[policy].append(_estimates(sums))
    return {
        policy: {"leads": leads, "shown": round(of_policy["shown"])}
        | _with_intervals(_estimates(of_policy), again[policy])
        | {"quota_use": _rounded(of_policy["shown"] / quota if quota else math.nan)}
        for policy, of_policy in total.items()
    }


def _totals(
    columns: Mapping[str, list[str]], stacked: FloatArray, times: FloatArray
) -> dict[str, dict[str, float]]:
    """Return the sum of every column of every policy, where each lead counts so many `times`.

    Args:
        columns: The names of each policy's columns.
        stacked: All those columns side by side, one row a lead.
        times: By lead.
    """
    # einsum adds up in one order; a matrix product's depends on its number of threads
    sums = iter(np.einsum("ij,i->j", stacked, times).tolist())
    return {policy: {name: next(sums) for name in names} for policy, names in columns.items()}


def _estimates(total: Mapping[str, float]) -> dict[str, float]:
    def ratio(above: str, below: str) -> float:
        known = above in total and total.get(below, 0) > 0
        return total[above] / total[below] if known else math.nan

    return {name: total[name] for name in SUMS} | {
        name: ratio(*columns) for name, columns in RATIOS.items()
    }


def _with_intervals(estimates: Mapping[str, float], again: list[dict[str, float]]) -> Figures:
    """Return each estimate with its `_low` and `_high`, where it is known."""
    figures: Figures = {}
    for name, estimate in estimates.items():
        figures[name] = _rounded(estimate)
        found = np.array([resample[name] for resample in again])
        found = found[~np.isnan(found)]
        known = not math.isnan(estimate) and found.size > 0
        low, high = np.quantile(found, [LOW, HIGH]) if known else (math.nan, math.nan)
        figures |= {f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}
    return figures


def _rounded(number: float) -> float | None:
    return None if math.isnan(number) else round_significant(number)
