"""What loans still running already say: how much each weighs, by how far it has come.

A sample of loans whose horizon is over waits for a year; one that takes young loans for sound
learns that nobody defaults. Here each loan counts for as much as has been seen of it.

Discrete-time survival (Singer and Willett 1993, "It's about time", J. Educ. Stat. 18; Kvamme and
Borgan 2019, "Continuous and discrete-time survival prediction with neural networks"): the hazard of
a month on books is its defaults over the loans that lived to see it, so that running loans give
their months and nothing more. All loans together give the curve F, the share of a horizon's
defaults that have shown by a month. That F is the same for every borrower is our assumption. Then
a loan that defaults with probability p has shown it by month t with p F, and has not with 1 - p F.
One row a loan tells a binary loss p in both cases if the second kind weighs

    w = F (1 - p) / (1 - p F),    since then    p F / (p F + (1 - p F) w) = p

With the rate of the whole book for the p in w this is one weight a row: exact for the book at any
age and for every loan at maturity, where w = 1; before it, a loan far from the rate is drawn to it.

A default shows before it is one: most loans 30 days behind go on to 90. So F is the curve of the
first arrears of loans that default, and a loan that is behind now counts in part as either, by the
share of such loans that went on (the roll rate).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from expectations import policy
from models.estimators import Prior
from models.features import Numbers, numbers

DEFAULT = 90
"""Days behind that are a default."""

RESOLVED_AFTER = 90
"""Days after which a loan that fell behind and did not default has caught up; ours."""

STATE = ("horizon", "seen", "behind_30", "behind_60", "behind_90")
"""Columns that say how a loan stands, in days since it was funded: how long defaults count, how
long it has been watched, and when it first was so far behind (nan: it was not)."""

State = dict[str, Numbers]


@dataclass(frozen=True)
class Curve:
    """When arrears show, of loans that default within the horizon."""

    shown: Numbers
    """Share by the end of each equal part of the horizon; rises to 1."""
    rate: float
    """Share of all loans that default within the horizon."""

    def weight(self, progress: Numbers) -> Numbers:
        """Return what a loan without arrears weighs, by the part of the horizon seen (0 to 1)."""
        ends = np.linspace(0, 1, len(self.shown) + 1)
        shown = np.interp(progress, ends, [0.0, *self.shown])
        return np.asarray(shown * (1 - self.rate) / (1 - self.rate * shown))


def weighed(loans: pa.Table) -> pa.Table:
    """Return `loans` with `label` and `weight` in place of the columns of `STATE`.

    A loan that is behind and may still default has two rows, the one of its default first. All
    depends on the table alone, and no row is left out.
    """
    state = {name: numbers(loans, name) for name in STATE}
    if not loans.num_rows:
        return _with(loans, np.empty(0), np.empty(0))
    likely = likely_to_default(state)
    stated = Prior("risk", "shape of a young book").predict(loans, threads=1)
    weight = curve(state, likely, float(np.mean(stated))).weight(
        np.minimum(state["seen"] / state["horizon"], 1)
    )
    is_behind = (likely > 0) & (likely < 1)
    rows = np.repeat(np.arange(loans.num_rows), np.where(is_behind, 2, 1))
    is_bad = (np.diff(rows, prepend=-1) != 0) & (likely[rows] > 0)
    share = np.where(
        is_bad, likely[rows], np.where(is_behind[rows], 1 - likely[rows], weight[rows])
    )
    return _with(loans.take(pa.array(rows)), is_bad.astype(np.float64), share)


def _with(loans: pa.Table, label: Numbers, weight: Numbers) -> pa.Table:
    told = loans.drop_columns(list(STATE)).append_column("label", pa.array(label))
    return told.append_column("weight", pa.array(weight))


def likely_to_default(state: State) -> Numbers:
    """Return how likely each loan is in default by its horizon, of those that fell behind.

    1 for those that are; 0 for those that never fell behind, caught up, or fell behind too late.
    """
    likely = np.zeros(len(state["seen"]))
    for days in (30, 60):
        begun = state[f"behind_{days}"]
        counts = begun + DEFAULT - days <= state["horizon"]
        is_running = state["seen"] < state["horizon"]
        is_open = counts & is_running & (state["seen"] - begun < RESOLVED_AFTER)
        likely[is_open] = _roll_rate(state, counts & ~is_open, days)
    likely[state["behind_90"] <= state["horizon"]] = 1.0
    return likely


def curve(state: State, likely: Numbers, stated_rate: float) -> Curve:
    """Return when arrears show, from loans in every `state`, each `likely` to default.

    The stated hazards (expectations/policy/priors.yml) are scaled to the level of the book, then
    each is drawn to what was seen of it; they weigh as much as `timing_counts_as` defaults.
    """
    weighs = policy.priors().timing_counts_as
    shown, at_risk = _life_table(state, likely)
    stated = _stated_hazards(state, stated_rate)
    level = (shown.sum() + weighs) / ((at_risk * stated).sum() + weighs)
    seen = (shown + weighs) / (at_risk * stated * level + weighs)
    lives = np.cumprod(1 - np.minimum(stated * level * seen, 1 - 1e-6))
    return Curve((1 - lives) / (1 - lives[-1]), float(1 - lives[-1]))


def _roll_rate(state: State, resolved: np.ndarray, days: int) -> float:
    """Return the share of the `resolved` loans once so many `days` behind that defaulted."""
    priors = policy.priors()
    went_on = float((state["behind_90"][resolved] <= state["horizon"][resolved]).sum())
    stated = priors.timing_counts_as * priors.roll_rates[days]
    return (went_on + stated) / (float(resolved.sum()) + priors.timing_counts_as)


def _life_table(state: State, likely: Numbers) -> tuple[Numbers, Numbers]:
    """Return, for each part of the horizon, the arrears that showed in it and the loans at risk."""
    parts = len(policy.priors().defaulted_by)
    length = state["horizon"] / parts
    began = np.fmin.reduce([state[f"behind_{days}"] for days in (30, 60, 90)])
    shows = likely > 0
    part = np.clip(began[shows] / length[shows], 0, parts - 1).astype(int)
    lived = np.where(shows, began, state["seen"]) / length
    shown = np.bincount(part, weights=likely[shows], minlength=parts)
    at_risk = [float(np.clip(lived - number, 0, 1).sum()) for number in range(parts)]
    return np.asarray(shown), np.array(at_risk)


def _stated_hazards(state: State, rate: float) -> Numbers:
    """Return the stated hazard of arrears in each part, for a book of which `rate` defaults."""
    by = np.array([0.0, *policy.priors().defaulted_by])
    ends = np.linspace(0, 1, len(by))
    sooner = (DEFAULT - 30) / float(np.mean(state["horizon"]))
    shown = rate * np.interp(ends + sooner, ends, by)
    shown[0] = 0.0
    return np.asarray(np.diff(shown) / (1 - shown[:-1]))
