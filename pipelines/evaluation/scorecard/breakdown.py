"""Acquisition cost as a share of yield, apart by channel and by institution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.evaluation.scorecard.figures import HIGH, LOW, RESAMPLES, SEED
from pipelines.evaluation.scorecard.lead_totals import DaySums


@dataclass(frozen=True)
class Part:
    """What one channel or institution cost and brought, and the cost's share of the yield."""

    name: str
    count: int
    """Leads of a channel, offers of an institution."""
    funded: float
    cost: float
    interest: float
    low: float | None
    high: float | None
    """95% of the resamples of the leads; None where nothing was funded, or nothing resampled."""

    @property
    def share(self) -> float | None:
        """Return the cost's share of the yield."""
        return self.cost / self.interest if self.interest > 0 else None


@dataclass(frozen=True)
class _Rows:
    """Columns of one length: to whom each row belongs, and to which lead of all days."""

    name: NDArray[np.str_]
    lead: IntArray
    cost: FloatArray
    funded: FloatArray
    interest: FloatArray


def by_channel(days: Sequence[DaySums], policy: str, *, resamples: int = RESAMPLES) -> list[Part]:
    """Return the channels by name; a channel's cost is that of its leads."""
    sums = [day.by_policy[policy] for day in days]
    leads = sum(day.leads.cost.size for day in days)
    rows = _Rows(
        name=np.concatenate([day.leads.channel_id for day in days]),
        lead=np.arange(leads),
        cost=np.concatenate([of_day["cost"] for of_day in sums]),
        funded=np.concatenate([of_day["funded"] for of_day in sums]),
        interest=np.concatenate([of_day["interest"] for of_day in sums]),
    )
    return _parts(rows, leads, resamples)


def by_institution(
    days: Sequence[DaySums], policy: str, *, resamples: int = RESAMPLES
) -> list[Part]:
    """Return the institutions by name; each bears a part of the cost of the leads that it sees."""
    offers = [day.offers[policy] for day in days]
    sizes = [day.leads.cost.size for day in days]
    first = np.cumsum([0, *sizes[:-1]])
    rows = _Rows(
        name=np.concatenate([of_day.institution_id for of_day in offers]),
        lead=np.concatenate([of_day.lead + at for of_day, at in zip(offers, first, strict=True)]),
        cost=np.concatenate([of_day.cost for of_day in offers]),
        funded=np.concatenate([of_day.funded for of_day in offers]),
        interest=np.concatenate([of_day.interest for of_day in offers]),
    )
    return _parts(rows, sum(sizes), resamples)


def _parts(rows: _Rows, leads: int, resamples: int) -> list[Part]:
    names, part = np.unique(rows.name, return_inverse=True)

    def summed(column: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(part, column, minlength=names.size), np.float64)

    cost, interest, funded = (summed(of) for of in (rows.cost, rows.interest, rows.funded))
    count = np.bincount(part, minlength=names.size)
    random = np.random.default_rng(SEED)
    again = np.full((resamples, names.size), np.nan)
    for resample in again:
        times = np.bincount(random.integers(0, max(leads, 1), leads), minlength=leads)[rows.lead]
        below = summed(rows.interest * times)
        np.divide(summed(rows.cost * times), below, out=resample, where=below > 0)
    found = [again[~np.isnan(again[:, number]), number] for number in range(names.size)]
    ends = [np.quantile(of, [LOW, HIGH]).tolist() if of.size else [None, None] for of in found]
    return [
        Part(
            name=str(name),
            count=int(count[at]),
            funded=float(funded[at]),
            cost=float(cost[at]),
            interest=float(interest[at]),
            low=ends[at][0],
            high=ends[at][1],
        )
        for at, name in enumerate(names)
    ]
