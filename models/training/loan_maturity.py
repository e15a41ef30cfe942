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
from models.features.encoder import numbers
from models.scoring.estimators import Prior
from pipelines.core.arrays import FloatArray, IntArray

DEFAULT = 90
"""Days behind that are a default."""

RESOLVED_AFTER = 90
"""Days after which a loan that fell behind and did not default has caught up; ours."""

STATE = ("horizon", "seen", "behind_30", "behind_60", "behind_90")
"""Columns that say how a loan stands, in days since it was funded: how long defaults count, how
long it has been watched, and when it first was so far behind (nan: it was not)."""

State = dict[str, FloatArray]


@dataclass(frozen=True)
class Curve:
    """When arrears show, of loans that default within the horizon."""

    shown: FloatArray
    """Share by the end of each equal part of the horizon; rises to 1."""
    rate: float
    """Share of all loans that default within the horizon."""

    def shown_by(self, progress: FloatArray) -> FloatArray:
        """Return the share that has shown by a part of the horizon (0 to 1)."""
        ends = np.linspace(0, 1, len(self.shown) + 1)
        return np.asarray(np.interp(progress, ends, [0.0, *self.shown]))

    def weight(self, progress: FloatArray) -> FloatArray:
        """Return what a loan without arrears weighs, by the part of the horizon seen (0 to 1)."""
        shown = self.shown_by(progress)
        return np.asarray(shown * (1 - self.rate) / (1 - self.rate * shown))


@dataclass(frozen=True)
class Exposure:
    """How much of what a probability is about could show in a stretch of time, row by row."""

    begin: FloatArray
    """Share that has shown when the stretch begins."""
    end: FloatArray
    """Share that has shown when it ends."""

    def take(self, rows: IntArray) -> "Exposure":
        """Return that of some rows, by their numbers."""
        return Exposure(self.begin[rows], self.end[rows])

    @property
    def mean(self) -> float:
        """The share that shows within the stretch, on average."""
        return float(np.mean(self.end - self.begin))

    def chance(self, probability: FloatArray) -> FloatArray:
        """Return the chance that it shows within the stretch, as it had not when that began.

        Of all that happens with probability p, p F has shown by t, and 1 - p F of the rows have
        shown nothing. Of those p (F(t2) - F(t1)) show by t2.
        """
        return probability * (self.end - self.begin) / (1 - probability * self.begin)


def weighed(loans: pa.Table) -> pa.Table:
    """Return `loans` with `label` and `weight` in place of the columns of `STATE`.

    A loan that is behind and may still default has two rows, the one of its default first. All
    depends on the table alone, and no row is left out.
    """
    state = _state(loans)
    likely = likely_to_default(state)
    weight = curve_of(loans).weight(np.minimum(state["seen"] / state["horizon"], 1))
    is_behind = (likely > 0) & (likely < 1)
    rows = np.repeat(np.arange(loans.num_rows), np.where(is_behind, 2, 1))
    is_bad = (np.diff(rows, prepend=-1) != 0) & (likely[rows] > 0)
    share = np.where(
        is_bad, likely[rows], np.where(is_behind[rows], 1 - likely[rows], weight[rows])
    )
    return _labelled(loans.take(pa.array(rows)), is_bad.astype(np.float64)).append_column(
        "weight", pa.array(share)
    )


def newly_shown(loans: pa.Table, days: float, known: Curve) -> tuple[pa.Table, Exposure]:
    """Return what the last `days` of being watched have shown of the loans at risk in them.

    At risk are loans that had never been behind when the stretch began, or when they did, and whose
    horizon was not over. Who is one depends on nothing that happened within the stretch.

    Args:
        loans: As they stand at its end, with the columns of `STATE`.
        days: Length of the stretch.
        known: When arrears show, as it was known when the stretch began.

    Returns:
        The loans at risk, with `label` in place of the columns of `STATE`: how likely a loan that
        fell behind within the stretch is to default, 0 of all others. And what could show.
    """
    state = _state(loans)
    begin = np.maximum(state["seen"] - days, 0)
    began = _first_behind(state)
    likely = likely_to_default(state)
    is_at_risk = (begin < state["horizon"]) & ~(began < begin)
    shown = (
        known.shown_by(np.minimum(at / state["horizon"], 1)[is_at_risk])
        for at in (begin, state["seen"])
    )
    return _labelled(loans, likely).filter(pa.array(is_at_risk)), Exposure(*shown)


def _state(loans: pa.Table) -> State:
    return {name: numbers(loans, name) for name in STATE}


def _first_behind(state: State) -> FloatArray:
    """Return when each loan was first behind; nan: it was not."""
    return np.asarray(np.fmin.reduce([state[f"behind_{days}"] for days in (30, 60, 90)]))


def _labelled(loans: pa.Table, label: FloatArray) -> pa.Table:
    return loans.drop_columns(list(STATE)).append_column("label", pa.array(label))


def likely_to_default(state: State) -> FloatArray:
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


def curve_of(loans: pa.Table) -> Curve:
    """Return when arrears show, from `loans` with the columns of `STATE`.

    Without any it is the stated shape.
    """
    if not loans.num_rows:
        return Curve(np.array(policy.priors().defaulted_by), 0.0)
    state = _state(loans)
    stated = Prior("risk", "shape of a young book").predict(loans, threads=1)
    return curve(state, likely_to_default(state), float(np.mean(stated)))


def curve(state: State, likely: FloatArray, stated_rate: float) -> Curve:
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


def _life_table(state: State, likely: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return, for each part of the horizon, the arrears that showed in it and the loans at risk."""
    parts = len(policy.priors().defaulted_by)
    length = state["horizon"] / parts
    began = _first_behind(state)
    shows = likely > 0
    part = np.clip(began[shows] / length[shows], 0, parts - 1).astype(int)
    lived = np.where(shows, began, state["seen"]) / length
    shown = np.bincount(part, weights=likely[shows], minlength=parts)
    at_risk = [float(np.clip(lived - number, 0, 1).sum()) for number in range(parts)]
    return np.asarray(shown), np.array(at_risk)


def _stated_hazards(state: State, rate: float) -> FloatArray:
    """Return the stated hazard of arrears in each part, for a book of which `rate` defaults."""
    by = np.array([0.0, *policy.priors().defaulted_by])
    ends = np.linspace(0, 1, len(by))
    sooner = (DEFAULT - 30) / float(np.mean(state["horizon"]))
    shown = rate * np.interp(ends + sooner, ends, by)
    shown[0] = 0.0
    return np.asarray(np.diff(shown) / (1 - shown[:-1]))
