"""Loan maturity: the weights of right-censored loans, by the part of the horizon that was observed.

A sample of loans with a complete horizon is a year late; one that counts young loans as good learns
that nobody defaults. Here each loan weighs by what has been observed of it.

Discrete-time survival (Singer and Willett 1993, "It's about time", J. Educ. Stat. 18; Kvamme and
Borgan 2019, "Continuous and discrete-time survival prediction with neural networks"): the hazard of
a month on books is its defaults over the loans at risk, so a right-censored loan contributes its
observed months only. All loans together give the maturity curve F, the share of a horizon's
defaults that show by an age. Our assumption is that F is the same for every borrower. Then a loan
that defaults with probability p has shown it by age t with p F, and has not with 1 - p F. One row a
loan gives the same binary loss if a loan without default has the weight

    w = F (1 - p) / (1 - p F),    since then    p F / (p F + (1 - p F) w) = p

With the portfolio's default rate for the p in w this is one weight a row: exact for the portfolio
at any age and for every loan at maturity, where w = 1; before it, a loan far from the rate is
biased toward it.

A default shows before its date: most loans that are 30 days overdue reach 90. So F is the curve of
the first arrears of loans that default, and a loan in arrears counts in part as either class, by
the roll rate of such loans.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from expectations import policy
from models.features.columns import to_floats
from models.scoring.estimators import Prior
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

DEFAULT_DAYS = 90
"""Days overdue that define a default."""

CURED_AFTER_DAYS = 90
"""Days after which a loan in arrears that did not default counts as cured; ours."""

ARREARS = ("overdue_30_after", "overdue_60_after", "overdue_90_after")

LOAN_STATE = ("horizon_days", "observed_days", *ARREARS)
"""Columns of a loan's state, in days since funding: the horizon of defaults, the time on books that
was observed, and the first day on which it was so many days overdue (nan: never)."""

LoanState = dict[str, FloatArray]


@dataclass(frozen=True)
class MaturityCurve:
    """The timing of first arrears among loans that default within the horizon."""

    shown: FloatArray
    """Share by the end of each equal part of the horizon; rises to 1."""
    rate: float
    """Share of all loans that default within the horizon."""

    def share_shown(self, progress: FloatArray) -> FloatArray:
        """Return the share that has shown by a part of the horizon (0 to 1)."""
        ends = np.linspace(0, 1, len(self.shown) + 1)
        return np.asarray(np.interp(progress, ends, [0.0, *self.shown]))

    def weigh(self, progress: FloatArray) -> FloatArray:
        """Return the weight of a loan without arrears, by the observed part of the horizon."""
        shown = self.share_shown(progress)
        return np.asarray(shown * (1 - self.rate) / (1 - self.rate * shown))


@dataclass(frozen=True)
class Exposure:
    """The part of a probability's horizon that falls into an evaluation window, row by row."""

    begin: FloatArray
    """Share of the events that has shown when the window begins."""
    end: FloatArray
    """Share of the events that has shown when it ends."""

    def take(self, rows: IntArray) -> "Exposure":
        """Return the exposure of some rows, by their numbers."""
        return Exposure(self.begin[rows], self.end[rows])

    @property
    def mean(self) -> float:
        """The mean share of the events that shows within the window."""
        return float(np.mean(self.end - self.begin))

    def window_probability(self, probability: FloatArray) -> FloatArray:
        """Return the probability of the event in the window, given that it had not shown before.

        With probability p over the horizon, p F(t1) has shown when the window begins, so a share
        1 - p F(t1) is at risk, of which p (F(t2) - F(t1)) show the event in the window.
        """
        return probability * (self.end - self.begin) / (1 - probability * self.begin)


def label_loans(loans: pa.Table) -> pa.Table:
    """Return `loans` with `label` and `weight` in place of the columns of `LOAN_STATE`.

    A loan in arrears that may still default has two rows, its default first. The result depends on
    the table only, and no row is left out.
    """
    state = _read_state(loans)
    probability = estimate_default_probability(state)
    curve = fit_loan_curve(loans)
    weight = curve.weigh(np.minimum(state["observed_days"] / state["horizon_days"], 1))
    is_open = (probability > 0) & (probability < 1)
    rows = np.repeat(np.arange(loans.num_rows), np.where(is_open, 2, 1))
    is_default = (np.diff(rows, prepend=-1) != 0) & (probability[rows] > 0)
    share = np.where(
        is_default,
        probability[rows],
        np.where(is_open[rows], 1 - probability[rows], weight[rows]),
    )
    labelled = _replace_state(loans.take(pa.array(rows)), is_default.astype(np.float64))
    return labelled.append_column("weight", pa.array(share))


def select_loans_at_risk(
    loans: pa.Table, days: float, curve: MaturityCurve
) -> tuple[pa.Table, Exposure]:
    """Return the loans at risk in the last `days` of observation, and their outcomes in them.

    A loan is at risk if it had never been in arrears when the window began, or when it was funded
    in it, and its horizon was not over. That depends on no event in the window.

    Args:
        loans: In their state at the window's end, with the columns of `LOAN_STATE`.
        days: Length of the window.
        curve: The maturity curve that was known when the window began.

    Returns:
        The loans at risk, with `label` in place of the columns of `LOAN_STATE`: the probability of
        default of a loan that entered arrears in the window, else 0. And their exposure.
    """
    state = _read_state(loans)
    begin = np.maximum(state["observed_days"] - days, 0)
    first_arrears = _first_arrears(state)
    probability = estimate_default_probability(state)
    is_at_risk = (begin < state["horizon_days"]) & ~(first_arrears < begin)
    shown = (
        curve.share_shown(np.minimum(at / state["horizon_days"], 1)[is_at_risk])
        for at in (begin, state["observed_days"])
    )
    return _replace_state(loans, probability).filter(pa.array(is_at_risk)), Exposure(*shown)


def estimate_default_probability(state: LoanState) -> FloatArray:
    """Return the probability that each loan in arrears is in default by its horizon.

    1 for loans in default; 0 for loans that never entered arrears, cured, or entered them too late.
    """
    probability = np.zeros(len(state["observed_days"]))
    for days in (30, 60):
        began = state[f"overdue_{days}_after"]
        counts = began + DEFAULT_DAYS - days <= state["horizon_days"]
        is_censored = state["observed_days"] < state["horizon_days"]
        is_open = counts & is_censored & (state["observed_days"] - began < CURED_AFTER_DAYS)
        probability[is_open] = _roll_rate(state, counts & ~is_open, days)
    probability[state["overdue_90_after"] <= state["horizon_days"]] = 1.0
    return probability


def fit_loan_curve(loans: pa.Table) -> MaturityCurve:
    """Return the maturity curve of `loans` with the columns of `LOAN_STATE`.

    Without any loan it is the stated shape.
    """
    if not loans.num_rows:
        return MaturityCurve(np.array(policy.priors().defaulted_by), 0.0)
    state = _read_state(loans)
    stated = Prior("risk", "shape of a young portfolio").predict(loans, threads=1)
    return fit_curve(state, estimate_default_probability(state), float(np.mean(stated)))


def fit_curve(state: LoanState, probability: FloatArray, stated_rate: float) -> MaturityCurve:
    """Return the maturity curve of loans in a `state`, each with a `probability` of default.

    The stated hazards (expectations/policy/priors.yml) are scaled to the level of the portfolio,
    then each is combined with the observed one; the prior weighs `timing_counts_as` defaults.
    """
    prior = policy.priors().timing_counts_as
    shown, at_risk = _life_table(state, probability)
    stated = _stated_hazards(state, stated_rate)
    level = (shown.sum() + prior) / ((at_risk * stated).sum() + prior)
    ratio = (shown + prior) / (at_risk * stated * level + prior)
    survival = np.cumprod(1 - np.minimum(stated * level * ratio, 1 - 1e-6))
    return MaturityCurve((1 - survival) / (1 - survival[-1]), float(1 - survival[-1]))


def _read_state(loans: pa.Table) -> LoanState:
    return {name: to_floats(loans, name) for name in LOAN_STATE}


def _first_arrears(state: LoanState) -> FloatArray:
    """Return the first day in arrears of each loan; nan: never."""
    return np.asarray(np.fmin.reduce([state[name] for name in ARREARS]))


def _replace_state(loans: pa.Table, label: FloatArray) -> pa.Table:
    return loans.drop_columns(list(LOAN_STATE)).append_column("label", pa.array(label))


def _roll_rate(state: LoanState, resolved: BoolArray, days: int) -> float:
    """Return the share of the `resolved` loans in arrears of so many days that defaulted."""
    priors = policy.priors()
    defaulted = state["overdue_90_after"][resolved] <= state["horizon_days"][resolved]
    stated = priors.timing_counts_as * priors.roll_rates[days]
    return (float(defaulted.sum()) + stated) / (float(resolved.sum()) + priors.timing_counts_as)


def _life_table(state: LoanState, probability: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return first arrears of loans that default, and loans at risk, by part of the horizon."""
    parts = len(policy.priors().defaulted_by)
    length = state["horizon_days"] / parts
    first_arrears = _first_arrears(state)
    shows = probability > 0
    part = np.clip(first_arrears[shows] / length[shows], 0, parts - 1).astype(int)
    survived = np.where(shows, first_arrears, state["observed_days"]) / length
    shown = np.bincount(part, weights=probability[shows], minlength=parts)
    at_risk = [float(np.clip(survived - number, 0, 1).sum()) for number in range(parts)]
    return np.asarray(shown), np.array(at_risk)


def _stated_hazards(state: LoanState, rate: float) -> FloatArray:
    """Return the stated hazard of arrears by part of the horizon, for the default rate `rate`."""
    defaulted_by = np.array([0.0, *policy.priors().defaulted_by])
    ends = np.linspace(0, 1, len(defaulted_by))
    lead_time = (DEFAULT_DAYS - 30) / float(np.mean(state["horizon_days"]))
    shown = rate * np.interp(ends + lead_time, ends, defaulted_by)
    shown[0] = 0.0
    return np.asarray(np.diff(shown) / (1 - shown[:-1]))
