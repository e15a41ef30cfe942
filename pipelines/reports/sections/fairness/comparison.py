"""The comparison of groups of people, without and with controls, with intervals and tests.

Within a stratum of n people in the group and m in its reference, the difference of the two means
counts with the weight nm / (n + m) of Mantel and Haenszel. Its variance is that of all ways to
divide the stratum into n and m people: with the variance S² of the stratum's values, the weighted
difference has the variance S² nm / (n + m). For yes and no this is the test of Cochran, Mantel and
Haenszel (N. Mantel and W. Haenszel, Journal of the National Cancer Institute 22, 1959), with their
correction of one half; without controls there is one stratum. Student's t of as many degrees of
freedom as the strata leave makes small samples careful.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from scipy.stats import t as student

from expectations import policy
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import reject_by_holm, round_significant

YES_OR_NO = frozenset({"matched", "approved", "funded"})
"""Measures whose value is 0 or 1."""
RATIOS = YES_OR_NO | {"offers", "suggested_apr", "charged_apr", "odds", "approval_brier"}
"""Measures that cannot be negative, so that a ratio makes sense."""
HALF = 0.5
"""Mantel and Haenszel's correction of a count."""
GROUP = ("people", "total", "squares")
REFERENCE = ("reference_people", "reference_total", "reference_squares")
"""Columns of the group and of its reference."""


@dataclass(frozen=True)
class Estimate:
    """The difference and the ratio of a group and its reference, each with its 95% interval."""

    difference: float
    difference_low: float
    difference_high: float
    ratio: float | None
    """None where it means nothing: of errors, or of a reference of 0."""
    ratio_low: float | None
    ratio_high: float | None
    p_value: float
    """Chance of a difference as large if the two were treated alike."""


@dataclass(frozen=True)
class Comparison:
    """One measure of one group, beside the reference group of its attribute."""

    measure: str
    institution_id: str
    """Empty: of all lenders together."""
    attribute: str
    group: str
    reference: str
    people: int
    reference_people: int
    value: float
    """Mean of the group; of yes and no the share of yes."""
    reference_value: float
    plain: Estimate | None
    """Over all people; None of the reference itself."""
    controlled: Estimate | None
    """Among people alike in the controls; None if no stratum has people of both groups."""
    compared: float | None
    """Share of the group's people with somebody of the reference in their stratum."""
    is_beyond: bool = False
    """Beyond chance over all comparisons of lenders, and beyond the limit of the verdict."""

    @property
    def is_reference(self) -> bool:
        """Return whether this is the group that others are compared with."""
        return self.group == self.reference


@dataclass(frozen=True)
class _Sums:
    """Sums over the strata of each comparison, one entry each."""

    weight: FloatArray
    weighted: FloatArray
    weighted_reference: FloatArray
    variance: FloatArray
    """Of the weighted difference."""
    group_variance: FloatArray
    reference_variance: FloatArray
    freedom: FloatArray
    people: FloatArray
    """Of the group in strata with people of the reference."""


def compare_groups(cells: pa.Table, min_group: int) -> tuple[list[Comparison], list[Comparison]]:
    """Return the comparisons over all lenders, and the ones of each lender.

    A group, or its reference, of fewer than `min_group` people is left out.

    Args:
        cells: Rows of `sql/compared.sql`, in its order: first the cell over all strata of a group,
            then its strata.
        min_group: Least people of a group that is shown.
    """
    columns = {name: cells[name].to_numpy(zero_copy_only=False) for name in cells.column_names}
    is_controlled = columns["is_controlled"].astype(np.bool_)
    number = np.cumsum(~is_controlled) - 1
    plain = _estimate(columns, ~is_controlled, number)
    controlled = _estimate(columns, is_controlled, number)
    heads = np.flatnonzero(~is_controlled)
    comparisons = [
        _comparison(columns, int(head), plain[at][0], *controlled[at])
        for at, head in enumerate(heads)
        if min(columns["people"][head], columns["reference_people"][head]) >= min_group
    ]
    by_lender = [row for row in comparisons if row.institution_id and not row.is_reference]
    return [row for row in comparisons if not row.institution_id], by_lender


def reject_chance(rows: Sequence[Comparison], rules: Mapping[str, str]) -> list[Comparison]:
    """Return the testable comparisons of lenders, marked if beyond chance and limit.

    Chance is judged over all of them by Holm's method (S. Holm, Scandinavian Journal of Statistics
    6, 1979). Marked ones come first, then the least likely by chance.

    Args:
        rows: Comparisons of lenders.
        rules: Measure -> the rule of the verdict that has its limits.
    """
    tested = [row for row in rows if row.controlled is not None]
    p_values = np.array([row.controlled.p_value for row in tested if row.controlled], np.float64)
    limits = {name: policy.verdict_rules()[rule].limits for name, rule in rules.items()}
    by_measure = {
        name: reject_by_holm(p_values, float(stated["chance"])) for name, stated in limits.items()
    }
    marked = [
        replace(row, is_beyond=bool(by_measure[row.measure][at]) and _is_far(row, limits))
        for at, row in enumerate(tested)
    ]
    return sorted(marked, key=_by_evidence)


def _by_evidence(row: Comparison) -> tuple[bool, float, str, str, str, str]:
    p_value = row.controlled.p_value if row.controlled else 1.0
    return (
        *(not row.is_beyond, p_value),
        *(row.institution_id, row.measure, row.attribute, row.group),
    )


def _is_far(row: Comparison, limits: Mapping[str, Mapping[str, float]]) -> bool:
    """Return whether a comparison is beyond the limit of its rule, whichever side is worse off."""
    stated, found = limits[row.measure], row.controlled
    if found is None:
        return False
    if row.measure in YES_OR_NO:
        ratio = found.ratio or 0.0
        return min(ratio, 1 / ratio if ratio else 0.0) < stated["min_ratio"]
    return abs(found.difference) >= stated["min_difference"]


def _estimate(
    columns: Mapping[str, FloatArray], chosen: BoolArray, number: IntArray
) -> list[tuple[Estimate | None, float | None]]:
    """Return for each comparison the estimate over its chosen cells, and the people compared."""
    sums = _add_strata(columns, chosen, number)
    heads = np.flatnonzero(~columns["is_controlled"].astype(np.bool_))
    measures, people = columns["measure"][heads], columns["people"][heads]
    is_binary = np.isin(measures, sorted(YES_OR_NO))
    with np.errstate(divide="ignore", invalid="ignore"):
        group = sums.weighted / sums.weight
        reference = sums.weighted_reference / sums.weight
        distance = np.abs(sums.weighted - sums.weighted_reference)
        tested = np.maximum(distance - np.where(is_binary, HALF, 0.0), 0.0)
        statistic = np.where(sums.variance > 0, tested / np.sqrt(sums.variance), 0.0)
        freedom = np.maximum(sums.freedom, 1)
        p_value = np.minimum(2 * student.sf(statistic, freedom), 1.0)
        reach = student.ppf(0.975, freedom)
        half_width = reach * np.sqrt(sums.variance) / sums.weight
        ratio = group / reference
        log_width = reach * np.sqrt(
            sums.group_variance / sums.weighted**2
            + sums.reference_variance / sums.weighted_reference**2
        )
    found: list[tuple[Estimate | None, float | None]] = []
    for at, measure in enumerate(measures):
        if not sums.weight[at] > 0:
            found.append((None, None))
            continue
        has_ratio = measure in RATIOS and np.isfinite(ratio[at]) and np.isfinite(log_width[at])
        difference = group[at] - reference[at]
        estimate = Estimate(
            difference=_round(difference),
            difference_low=_round(difference - half_width[at]),
            difference_high=_round(difference + half_width[at]),
            ratio=_round(ratio[at]) if has_ratio else None,
            ratio_low=_round(ratio[at] * np.exp(-log_width[at])) if has_ratio else None,
            ratio_high=_round(ratio[at] * np.exp(log_width[at])) if has_ratio else None,
            p_value=_round(p_value[at]),
        )
        found.append((estimate, _round(sums.people[at] / people[at])))
    return found


def _add_strata(columns: Mapping[str, FloatArray], chosen: BoolArray, number: IntArray) -> _Sums:
    """Return the sums of each comparison over its chosen cells with people of both groups."""
    is_other = columns["group_name"] != columns["reference"]
    use = chosen & is_other & (columns["reference_people"] > 0)
    n, total, squares = (columns[name][use].astype(np.float64) for name in GROUP)
    m, reference_total, reference_squares = (
        columns[name][use].astype(np.float64) for name in REFERENCE
    )
    both = n + m
    weight = n * m / both
    spread = squares + reference_squares - (total + reference_total) ** 2 / both
    variance = np.maximum(spread, 0.0) / np.maximum(both - 1, 1)
    size = int(number[-1]) + 1 if len(number) else 0

    def add(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(number[use], values, minlength=size), np.float64)

    return _Sums(
        weight=add(weight),
        weighted=add(weight * total / n),
        weighted_reference=add(weight * reference_total / m),
        variance=add(weight * variance),
        group_variance=add(weight**2 * variance / n),
        reference_variance=add(weight**2 * variance / m),
        freedom=add(both - 1) - 1,
        people=add(n),
    )


def _comparison(
    columns: Mapping[str, FloatArray],
    head: int,
    plain: Estimate | None,
    controlled: Estimate | None,
    compared: float | None,
) -> Comparison:
    people, others = int(columns["people"][head]), int(columns["reference_people"][head])
    return Comparison(
        measure=str(columns["measure"][head]),
        institution_id=str(columns["institution_id"][head]),
        attribute=str(columns["attribute"][head]),
        group=str(columns["group_name"][head]),
        reference=str(columns["reference"][head]),
        people=people,
        reference_people=others,
        value=_round(columns["total"][head] / people),
        reference_value=_round(columns["reference_total"][head] / others),
        plain=plain,
        controlled=controlled,
        compared=compared,
    )


def _round(value: float) -> float:
    return round_significant(float(value))
