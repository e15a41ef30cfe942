"""Figures of several days taken together, of all their leads or of groups of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.core.arrays import BoolArray
from pipelines.evaluation.scorecard.figures import Figures, LeadColumns, compute_figures
from pipelines.evaluation.scorecard.lead_totals import DayTotals
from pipelines.evaluation.scorecard.lenders import count_figures, measure_service
from pipelines.evaluation.scorecard.policies import BROADCAST

LENDER_FIGURES = [
    f"{name}{end}"
    for name in ("lenders_worse_than_broadcast", "least_served_lender")
    for end in ("", "_low", "_high")
]
INCOME_GROUPS = ("lowest third", "middle third", "highest third")


def combine_days(days: Sequence[DayTotals]) -> dict[str, Figures]:
    """Return the figures of `days` taken together."""
    columns = _concatenate(days)
    leads = sum(day.leads.cost.size for day in days)
    figures = compute_figures(columns, leads, sum(day.quota for day in days))
    return {policy: values | _lender_figures(days, policy) for policy, values in figures.items()}


def figures_by_group(days: Sequence[DayTotals]) -> dict[str, dict[str, dict[str, Figures]]]:
    """Return the figures of groups of leads: title -> group -> policy -> figures.

    A group has no quota of its own, and lenders are compared over all leads only. The thirds divide
    the people whose income is known.
    """
    columns = _concatenate(days)
    found = {}
    for title, groups in _group_leads(days).items():
        found[title] = {
            name: compute_figures(_select(columns, is_member), int(is_member.sum()), 0)
            for name, is_member in groups.items()
            if is_member.any()
        }
    return found


def _group_leads(days: Sequence[DayTotals]) -> dict[str, dict[str, BoolArray]]:
    segment = np.concatenate([day.leads.segment for day in days])
    income = np.concatenate([day.leads.income for day in days])
    is_person = segment == "consumer"
    is_known = is_person & ~np.isnan(income)
    ends = np.quantile(income[is_known], [1 / 3, 2 / 3]) if is_known.any() else np.zeros(2)
    third = np.searchsorted(ends, np.nan_to_num(income), side="left")
    by_income = {name: is_known & (third == at) for at, name in enumerate(INCOME_GROUPS)}
    return {
        "Segment": {name: segment == name for name in ("consumer", "business")},
        "Income of people": by_income | {"not known": is_person & np.isnan(income)},
    }


def _concatenate(days: Sequence[DayTotals]) -> dict[str, LeadColumns]:
    """Return the columns of all days' leads, by policy."""
    return {
        policy: {
            name: np.concatenate([day.by_policy[policy][name] for day in days])
            for name in first_day
        }
        for policy, first_day in days[0].by_policy.items()
    }


def _select(columns: Mapping[str, LeadColumns], rows: BoolArray) -> dict[str, LeadColumns]:
    return {
        policy: {name: column[rows] for name, column in of_policy.items()}
        for policy, of_policy in columns.items()
    }


def _lender_figures(days: Sequence[DayTotals], policy: str) -> Figures:
    """Return the figures over lenders; None each if the truth is not known."""
    if policy not in days[0].offers:
        return dict.fromkeys(LENDER_FIGURES)
    return count_figures(measure_service(days, policy, BROADCAST))
