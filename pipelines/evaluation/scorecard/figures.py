"""From totals by lead to the figures of the scorecard, each with a bootstrap interval over leads.

The names are fixed by the command's JSON. A figure is a sum over leads or a ratio of two sums, so
one pass over a resample gives all of them. Money is in the base currency.
"""

import math
from collections.abc import Mapping

import numpy as np

from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import round_significant

SUMS = ("approved", "funded", "revenue", "surplus")
RATIOS = {
    "approval_rate": ("approved", "shown"),
    "cost_per_funded": ("cost", "funded"),
    "cost_share_of_yield": ("cost", "interest"),
    "cost_share_of_loans": ("cost", "lent"),
    "fee_share_of_yield": ("revenue", "interest"),
    "default_rate": ("defaulted", "funded"),
    "institution_yield": ("net_interest", "lent"),
    "best_offer_share": ("best_shown", "has_best"),
    "value_share_of_oracle": ("value", "oracle_value"),
    "surplus_share_of_oracle": ("only_surplus", "oracle_surplus"),
    "surplus_share_of_attainable": ("only_surplus", "attainable_surplus"),
    "first_offer_is_persons_best": ("first_is_best", "matched"),
    "hopeless_share": ("hopeless", "matched"),
}
"""Figure -> numerator and denominator, both summed over leads.

`cost` is what the channels were paid for all leads of the days, matched or not: traffic is paid for
either way. `interest` is the yield of the funded loans in a year, amount x apr, and `net_interest`
the same less that year's losses, amount x share lost for each loan that defaults; `lent` is the
funded amount. `best_shown` counts leads that were shown the product with their highest value, among
the leads that have one (`has_best`). `only_surplus` and the bounds it is compared with take each
pair as its lead's only offer; `surplus` follows from the offers as shown. Interest is counted on
the whole amount for a whole year, whichever the term: a convention of this project.
"""

RESAMPLES = 400
LOW, HIGH = 0.025, 0.975
SEED = 20_260_205
"""Seed of the bootstrap; it is fixed so that intervals are reproducible."""

LeadColumns = Mapping[str, FloatArray]
"""Name -> one number for each lead."""
Figures = dict[str, float | int | None]


def compute_figures(
    by_policy: Mapping[str, LeadColumns], leads: int, quota: int
) -> dict[str, Figures]:
    """Return the figures of every policy; None is a figure that is not known.

    Args:
        by_policy: The columns that `SUMS` and `RATIOS` name, and `shown`, each with a number for
            every lead. A figure without its column is None.
        leads: Number of leads. A resample draws whole leads, the same ones for every policy.
        quota: Sum of the quotas of all open products.
    """
    names = {policy: list(columns) for policy, columns in by_policy.items()}
    stacked = np.stack(
        [column for columns in by_policy.values() for column in columns.values()], axis=1
    )
    totals = _sum_columns(names, stacked, np.ones(leads))
    random = np.random.default_rng(SEED)
    resampled: dict[str, list[dict[str, float]]] = {policy: [] for policy in by_policy}
    for _ in range(RESAMPLES if leads else 0):
        draws = np.bincount(random.integers(0, leads, leads), minlength=leads).astype(np.float64)
        for policy, sums in _sum_columns(names, stacked, draws).items():
            resampled[policy].append(_estimates(sums))
    return {
        policy: {"leads": leads, "shown": round(sums["shown"])}
        | _with_intervals(_estimates(sums), resampled[policy])
        | {"quota_use": round_known(sums["shown"] / quota if quota else math.nan)}
        for policy, sums in totals.items()
    }


def _sum_columns(
    names: Mapping[str, list[str]], stacked: FloatArray, draws: FloatArray
) -> dict[str, dict[str, float]]:
    """Return the sum of every column of every policy.

    Args:
        names: The names of each policy's columns.
        stacked: The columns of all policies side by side, one row a lead.
        draws: Number of times that each lead is drawn.
    """
    # einsum adds up in one order; a matrix product's depends on its number of threads
    sums = iter(np.einsum("ij,i->j", stacked, draws).tolist())
    return {policy: {name: next(sums) for name in columns} for policy, columns in names.items()}


def _estimates(sums: Mapping[str, float]) -> dict[str, float]:
    def ratio(numerator: str, denominator: str) -> float:
        known = numerator in sums and sums.get(denominator, 0) > 0
        return sums[numerator] / sums[denominator] if known else math.nan

    return {name: sums.get(name, math.nan) for name in SUMS} | {
        name: ratio(*columns) for name, columns in RATIOS.items()
    }


def _with_intervals(estimates: Mapping[str, float], resampled: list[dict[str, float]]) -> Figures:
    """Return each estimate with its `_low` and `_high`, None if it is not known."""
    figures: Figures = {}
    for name, estimate in estimates.items():
        figures[name] = round_known(estimate)
        values = np.array([resample[name] for resample in resampled])
        values = values[~np.isnan(values)]
        known = not math.isnan(estimate) and values.size > 0
        low, high = np.quantile(values, [LOW, HIGH]) if known else (math.nan, math.nan)
        figures |= {f"{name}_low": round_known(low), f"{name}_high": round_known(high)}
    return figures


def round_known(number: float | None) -> float | None:
    """Return the number with the digits that are published; None if it is not known."""
    return None if number is None or math.isnan(number) else round_significant(number)
