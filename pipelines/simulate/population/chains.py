"""Supply chains: the buyers of each firm, firms that fail, and what a failure does to its sellers.

Three published findings give the sizes; docs/world.md has the derivation of each figure.

- Arata (2018), RIETI Discussion Paper 18-E-040, a million Japanese firms: if half of its customers
  fail, a firm's own probability of failure about triples, and the effect dies after the first hop.
- Fujiwara (2008), Advances in Complex Systems 11(5): nearly 20% of bankruptcies are due to a link.
- Berloco and others (2021), PLOS ONE 16(4) e0250115: firms that are paid late pay late in turn, and
  features of the network add almost 20 points of recall to a model of imminent default.

No feed contains the switch `Contagion`, and nothing but the simulated world reads it."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.keyed_random import KeyedRandom, rounded_sigmoid
from pipelines.simulate.world import Contagion

HALF, SPELL = 6, 9
"""Months in which a firm fails at most once; months for which its sellers feel a failure."""
FAILURE_LOG_ODDS = -3.4
"""Of a firm of average stability in half a year: so about 7% of firms are in a failure, and a
fifth of the defaults are due to a buyer's failure."""
FRAILTY = 1.0
"""Log-odds of failure lost with each standard deviation of stability."""
RESEMBLANCE = 0.8
"""Log-odds of default lost with each standard deviation of the main buyer's stability: firms of one
chain resemble each other, so a buyer's tells as much as the firm's own does."""
LOSS_OF_ALL_BUYERS = 2.2
"""Log-odds of default when every buyer has failed: twice ln 3, for half of them triple it."""
OWN_FAILURE = 1.0
"""Log-odds of default of a firm that is in a failure itself."""
MEAN_LOG_ODDS = (0.1, 0.75, 0.85)
"""Log-odds taken from every firm, by hops, so that firms default as often as without chains."""
SECOND_HOP = 0.5
"""Strength of the second hop, of that of the first."""
LATE_AFTER_FAILURE = 2.0
"""Log-odds of paying late of a firm that has failed."""
LATE_WHEN_UNPAID = 0.5
"""Share of the lateness of its buyers, in log-odds, that a firm passes on to its sellers."""
SECTOR_LATE, SECTOR_FAILURES = 0.3, 0.5
"""Log-odds of paying late and of failing, for each standard deviation of a sector's state."""
SECTOR_QUARTERS = 4
"""Quarters over which a sector's state is averaged, so that it lasts about a year."""
SINGLE_BUYER_SHARE = 0.35
"""Share of firms that have one buyer; the others have a second one too."""
INDUSTRY_WEIGHTS = (6.0, 22, 9, 30, 7, 9, 6, 4, 3, 4)


@dataclass(frozen=True)
class Buyers:
    """The buyers of some firms: each array has one row a firm, main and second buyer."""

    number: IntArray
    share: FloatArray
    """Share of the firm's sales; a row adds up to 1."""


def find_buyers(random: KeyedRandom, firms: int, number: IntArray) -> Buyers:
    """Return the buyers of the firms of these numbers; a few large firms buy from many.

    Args:
        random: Random numbers of the world.
        firms: Number of firms in the world.
        number: Numbers of the selling firms.
    """
    main, second = (
        np.floor(np.round(random.uniform(topic, number) ** 3, 9) * firms).astype(np.int64)
        for topic in ("buys from", "also buys from")
    )
    has_one = (random.uniform("has one buyer", number) < SINGLE_BUYER_SHARE) | (second == main)
    first_share = np.where(has_one, 1.0, 0.5 + 0.4 * random.uniform("main share", number))
    share = np.stack([first_share, 1 - first_share], axis=1)
    return Buyers(np.stack([main, second], axis=1), share)


def firm_stability(random: KeyedRandom, number: IntArray) -> FloatArray:
    """Return the reliability of each firm's payments; standard normal."""
    return random.normal("firm stability", number)


def firm_industries(random: KeyedRandom, number: IntArray) -> IntArray:
    """Return the position of each firm's industry."""
    return random.choice("industry", INDUSTRY_WEIGHTS, number)


def month_number(day: date) -> int:
    """Return the months since the year 0."""
    return day.year * 12 + day.month


class Chains:
    """The states of the firms of one world, and how they travel up its chains."""

    def __init__(self, random: KeyedRandom, firms: int, contagion: Contagion):
        """Hold what every state is a function of; `firms` is the number of firms in the world."""
        self._random, self._firms = random, firms
        self._hops = {Contagion.NONE: 0, Contagion.HOP1: 1, Contagion.HOP2: 2}[contagion]

    def buyers(self, number: IntArray) -> Buyers:
        """Return the buyers of each firm; see `find_buyers`."""
        return find_buyers(self._random, self._firms, number)

    def sector_state(self, industry: IntArray, month: int) -> FloatArray:
        """Return how badly each industry does in a month, standard normal; 0 without contagion."""
        if not self._hops:
            return np.zeros(industry.shape)
        quarters = [
            self._random.normal("sector", industry, month // 3 - back)
            for back in range(SECTOR_QUARTERS)
        ]
        return np.asarray(np.round(sum(quarters) / SECTOR_QUARTERS**0.5, 6), np.float64)

    def is_failing(self, number: IntArray, month: int) -> BoolArray:
        """Return which firms have failed within the last `SPELL` months."""
        failing = np.zeros(number.shape, np.bool_)
        stability = firm_stability(self._random, number)
        industry = firm_industries(self._random, number)
        for back in range(1 + -(-SPELL // HALF)):
            half = month // HALF - back
            log_odds = FAILURE_LOG_ODDS - FRAILTY * stability
            log_odds += SECTOR_FAILURES * self.sector_state(industry, half * HALF)
            fails = self._random.uniform("fails in half", number, half) < rounded_sigmoid(log_odds)
            since = (
                month - half * HALF - self._random.integers("fails in month", HALF, number, half)
            )
            failing |= fails & (since >= 0) & (since < SPELL)
        return failing

    def failed_sales(self, number: IntArray, month: int) -> FloatArray:
        """Return the share of each firm's sales that hangs on failing buyers, by hops.

        The buyers' own exposure counts at half of its strength with two hops; 0 without contagion.
        """
        return self._from_buyers(number, month, self._hops)

    def _from_buyers(self, number: IntArray, month: int, hops: int) -> FloatArray:
        if not hops:
            return np.zeros(number.shape)
        buyers = self.buyers(number)
        flat, position = np.unique(buyers.number, return_inverse=True)
        state = self.is_failing(flat, month).astype(np.float64)
        state = state + SECOND_HOP * self._from_buyers(flat, month, hops - 1)
        felt = (buyers.share * state[position].reshape(buyers.share.shape)).sum(axis=1)
        return np.asarray(np.round(felt, 9), np.float64)

    def default_log_odds(self, number: IntArray, month: int) -> FloatArray:
        """Return what the chain, the sector and an own failure add to the log-odds of default."""
        own = OWN_FAILURE * self.is_failing(number, month) - MEAN_LOG_ODDS[self._hops]
        if not self._hops:
            return np.asarray(own, np.float64)
        main = self.buyers(number).number[:, 0]
        return np.asarray(
            own
            + LOSS_OF_ALL_BUYERS * self.failed_sales(number, month)
            - RESEMBLANCE * firm_stability(self._random, main)
            + SECTOR_FAILURES * self.sector_state(firm_industries(self._random, number), month),
            np.float64,
        )

    def late_log_odds(self, number: IntArray, month: int) -> FloatArray:
        """Return the log-odds with which each firm pays late, without the month's noise."""
        return self._lateness(number, month, self._hops) - 1.6

    def _lateness(self, number: IntArray, month: int, hops: int) -> FloatArray:
        own = -0.9 * firm_stability(self._random, number)
        own = own + LATE_AFTER_FAILURE * self.is_failing(number, month)
        own = own + SECTOR_LATE * self.sector_state(firm_industries(self._random, number), month)
        if not hops:
            return np.asarray(own, np.float64)
        buyers = self.buyers(number)
        flat, position = np.unique(buyers.number, return_inverse=True)
        of_buyers = self._lateness(flat, month, hops - 1)
        passed = buyers.share * of_buyers[position].reshape(buyers.share.shape)
        return np.asarray(np.round(own + LATE_WHEN_UNPAID * passed.sum(axis=1), 6), np.float64)
