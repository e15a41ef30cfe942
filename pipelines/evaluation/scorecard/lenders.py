"""Service of each lender: its expected approval rate against broadcast's on the same days.

The leads of the days are one sample of the leads that might have come, so two policies that serve a
lender equally well differ by chance. The test: for each lender, the difference of the two rates
over its standard error, with Student's t of as many degrees of freedom as the smaller number of
offers less 1, one-sided. The standard error is the linearised one of a difference of two ratios,
clustered by lead, but at least that of as many random draws from the broadcast's offers: a handful
of similar offers would else look certain. Over all lenders the p-values are corrected by Holm's
method (Holm 1979), so that any lender is counted by mere chance in 5% of scorecards at most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import Z_95, reject_by_holm
from pipelines.evaluation.scorecard.figures import Figures, round_known
from pipelines.evaluation.scorecard.lead_totals import DayTotals

LEVEL, NEAR_CERTAIN = 0.05, 0.001
"""Chance that a scorecard counts any lender that is served as well as by broadcast; and the same
for the lower end of the count."""
MIN_OFFERS = 20
"""Offers under either policy from which a lender's ratio can be the least one."""

MIN_SAMPLE = 2
"""Offers without which no standard error exists."""


@dataclass(frozen=True)
class LenderService:
    """What one lender gets from a policy and from a broadcast of the same leads."""

    name: str
    offers: int
    approved: float
    funded: float
    fees: float
    cost: float
    """Share of the leads' cost."""
    interest: float
    offers_before: int
    """Under broadcast, as are all names with this ending."""
    rate_before: float | None
    fee_per_funded_before: float | None
    ratio: float | None
    """Approval rate over broadcast's; None if either is not known."""
    low: float | None
    high: float | None
    """95% interval of the ratio."""
    p_value: float
    """Chance of a difference so low or lower if the lender is served as well as by broadcast."""
    is_worse: bool
    """Served worse than by broadcast, beyond chance."""

    @property
    def rate(self) -> float | None:
        """Return the approval rate of its offers."""
        return self.approved / self.offers if self.offers else None

    @property
    def fee_per_funded(self) -> float | None:
        """Return what it pays for a funded loan."""
        return self.fees / self.funded if self.funded > 0 else None

    @property
    def fee_share(self) -> float | None:
        """Return the fees as a share of the yield."""
        return self.fees / self.interest if self.interest > 0 else None

    @property
    def is_measured(self) -> bool:
        """Return whether the ratio rests on enough offers."""
        return self.ratio is not None and min(self.offers, self.offers_before) >= MIN_OFFERS


@dataclass(frozen=True)
class _Totals:
    """Offers of one policy over some days: columns by lender, and by offer."""

    offers: FloatArray
    approved: FloatArray
    funded: FloatArray
    fees: FloatArray
    cost: FloatArray
    interest: FloatArray
    lender: IntArray
    lead: IntArray
    p_approve: FloatArray

    @property
    def rate(self) -> FloatArray:
        return np.asarray(self.approved / np.maximum(self.offers, 1))

    def residuals(self, scale: FloatArray) -> FloatArray:
        """Return what each offer adds to the error of its lender's rate, times the scale."""
        weight = (scale / np.maximum(self.offers, 1))[self.lender]
        return np.asarray((self.p_approve - self.rate[self.lender]) * weight)

    def variance(self) -> FloatArray:
        """Return the variance of the probabilities of each lender's offers."""
        square = (self.p_approve - self.rate[self.lender]) ** 2
        total = np.bincount(self.lender, square, minlength=self.offers.size)
        return np.asarray(total / np.maximum(self.offers - 1, 1))


def measure_service(days: Sequence[DayTotals], policy: str, before: str) -> list[LenderService]:
    """Return the service of every lender by name, also of one without offers.

    Args:
        days: Each by the truth.
        policy: Whose offers are measured.
        before: The policy they are compared with: broadcast.
    """
    names = sorted({name for day in days for name in day.lenders})
    now, then = (_total(days, way, names) for way in (policy, before))
    ratio, low, high = _ratios(now, then)
    p_value = _p_values(now, then)
    is_worse = reject_by_holm(p_value, LEVEL)

    def known(values: FloatArray, at: int) -> float | None:
        return None if math.isnan(values[at]) else float(values[at])

    with np.errstate(divide="ignore", invalid="ignore"):
        rate_before = np.where(then.offers > 0, then.rate, np.nan)
        fee_before = np.where(then.funded > 0, then.fees / then.funded, np.nan)
    return [
        LenderService(
            name=name,
            offers=int(now.offers[at]),
            approved=float(now.approved[at]),
            funded=float(now.funded[at]),
            fees=float(now.fees[at]),
            cost=float(now.cost[at]),
            interest=float(now.interest[at]),
            offers_before=int(then.offers[at]),
            rate_before=known(rate_before, at),
            fee_per_funded_before=known(fee_before, at),
            ratio=known(ratio, at),
            low=known(low, at),
            high=known(high, at),
            p_value=float(p_value[at]),
            is_worse=bool(is_worse[at]),
        )
        for at, name in enumerate(names)
    ]


def find_least_served(lenders: Sequence[LenderService]) -> LenderService | None:
    """Return the lender of the least ratio among all with `MIN_OFFERS` offers; None if none."""
    measured = [lender for lender in lenders if lender.is_measured]
    return min(measured, key=lambda lender: (lender.ratio or 0, lender.name), default=None)


def count_figures(lenders: Sequence[LenderService]) -> Figures:
    """Return `lenders_worse_than_broadcast` and `least_served_lender`, each with both ends.

    The count's low end are lenders for which chance is near-certainly not the reason, its high end
    the lenders that would count if each were the only one tested. The interval of the least ratio
    is that lender's own.
    """
    p_value = np.array([lender.p_value for lender in lenders])
    least = find_least_served(lenders)
    return {
        "lenders_worse_than_broadcast": int(reject_by_holm(p_value, LEVEL).sum()),
        "lenders_worse_than_broadcast_low": int(reject_by_holm(p_value, NEAR_CERTAIN).sum()),
        "lenders_worse_than_broadcast_high": int((p_value <= LEVEL).sum()),
        "least_served_lender": round_known(least.ratio if least else None),
        "least_served_lender_low": round_known(least.low if least else None),
        "least_served_lender_high": round_known(least.high if least else None),
    }


def _total(days: Sequence[DayTotals], policy: str, names: Sequence[str]) -> _Totals:
    offers = [day.offers[policy] for day in days]
    first = np.cumsum([0, *(day.leads.cost.size for day in days)])
    institution = np.concatenate([day.institution_id for day in offers])
    lender = np.searchsorted(np.array(names, np.str_), institution)

    def column(name: str) -> FloatArray:
        return np.concatenate([getattr(day, name) for day in offers])

    def total(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(lender, values, minlength=len(names)), np.float64)

    p_approve = column("approved")
    sums = {name: total(column(name)) for name in ("funded", "cost", "interest")}
    return _Totals(
        offers=total(np.ones(lender.size)),
        approved=total(p_approve),
        fees=total(column("revenue")),
        lender=np.asarray(lender, np.int64),
        lead=np.concatenate([day.lead + at for day, at in zip(offers, first, strict=False)]),
        p_approve=p_approve,
        **sums,
    )


def _clustered_variance(now: _Totals, then: _Totals, scales: Sequence[FloatArray]) -> FloatArray:
    """Return the variance of each lender's difference of scaled rates, clustered by lead."""
    lender, lead = (np.concatenate([getattr(way, name) for way in (now, then)])
                    for name in ("lender", "lead"))  # fmt: skip
    residual = np.concatenate([now.residuals(scales[0]), -then.residuals(scales[1])])
    keys, key = np.unique(np.stack([lender, lead]), axis=1, return_inverse=True)
    by_key = np.bincount(key.reshape(-1), residual, minlength=keys.shape[1])
    offers = np.minimum(now.offers, then.offers)
    correction = offers / np.maximum(offers - 1, 1)
    total = np.bincount(keys[0], by_key**2, minlength=offers.size)
    return np.asarray(total * correction, np.float64)


def _p_values(now: _Totals, then: _Totals) -> FloatArray:
    """Return the one-sided p-value of each lender; 1 where it can't be computed."""
    ones = np.ones(now.offers.size)
    least = then.variance() / np.maximum(now.offers, 1)
    error = np.sqrt(np.maximum(_clustered_variance(now, then, (ones, ones)), least))
    difference = now.rate - then.rate
    smaller = np.minimum(now.offers, then.offers)
    is_testable = (smaller >= MIN_SAMPLE) & (difference < 0) & (error > 0)
    p_value = np.ones(error.size)
    statistic = difference[is_testable] / error[is_testable]
    p_value[is_testable] = student.cdf(statistic, smaller[is_testable] - 1)
    return p_value


def _ratios(now: _Totals, then: _Totals) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the ratio of the rates and the ends of its 95% interval; NaN where not known."""
    is_known = (now.approved > 0) & (then.approved > 0)
    rates = [np.where(is_known, way.rate, 1.0) for way in (now, then)]
    variance = _clustered_variance(now, then, [1 / rate for rate in rates])
    ratio = np.where(is_known, rates[0] / rates[1], np.nan)
    spread = np.exp(Z_95 * np.sqrt(variance))
    has_interval = np.minimum(now.offers, then.offers) >= MIN_SAMPLE
    spread = np.where(has_interval, spread, np.nan)
    return ratio, ratio / spread, ratio * spread
