"""Logs of simulated days: what each pair would truly bring, and as many draws of a log as asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from expectations import policy
from models import train
from pipelines.database import connect
from pipelines.ingest import ingest
from pipelines.matches.allocate import Candidates, Plan, allocate
from pipelines.matches.candidates import Integers, Numbers
from pipelines.matches.explore import LOTS, Terms, after_prices, draw_trials
from pipelines.matches.match import match
from pipelines.offpolicy.estimate import Log, Truths
from pipelines.pairs.score import score
from pipelines.scorecard.market import DayMarket, load_market
from pipelines.scorecard.truth import TruthOfDay, valued
from pipelines.settings import Settings
from pipelines.simulate import Plan as MarketPlan
from pipelines.simulate import simulate
from pipelines.simulate.answers import Shown
from pipelines.simulate.truth import world_of
from pipelines.transform.build import transform

START = date(2025, 3, 3)
CHANNELS = 20
PARTS = ("revenue", "person_benefit", "institution_margin")


@dataclass(frozen=True)
class Day:
    """A matched day and its truth; columns of one length, one row a scored pair."""

    candidates: Candidates
    parts: Mapping[str, Numbers]
    """`PARTS` of the value, as the models expect them."""
    chance: tuple[Numbers, Numbers]
    """By the truth: of approval, and of funding given approval."""
    worth: tuple[Numbers, Numbers, Numbers]
    """What the pair brings if it is declined, approved and not taken, or funded."""
    terms: Terms
    plan: Plan

    @property
    def true_value(self) -> Numbers:
        """Return what each pair brings on average."""
        (approve, fund), (declined, approved, funded) = self.chance, self.worth
        return declined + approve * (approved - declined) + approve * fund * (funded - approved)

    def planned_by(self, value: Numbers) -> Truths:
        """Return the pairs of the plan that values pairs so."""
        value = np.round(value, 4)
        rows = np.flatnonzero(value > 0)
        candidates = replace(self.candidates, value=value).take(rows)
        plan = allocate(candidates, self.terms.quota, most_offers=_most_offers())
        planned = np.zeros(len(value), np.bool_)
        planned[rows[plan.chosen]] = True
        return planned


def days(home: Settings, history: int, matched: int, size: tuple[int, int], seed: int) -> list[Day]:
    """Return matched days that follow days of broadcast.

    Args:
        home: An empty home.
        history: Days of broadcast, from which models learn.
        matched: Days after them.
        size: Leads a day, institutions.
        seed: Another seed is another market.
    """
    simulate(home, MarketPlan(START, history + matched, *size, CHANNELS, seed))
    first = START + timedelta(days=history)
    found = []
    for on in (first + timedelta(days=number) for number in range(matched)):
        for step in (ingest, transform, train.ensure, score, match):
            step(home, on)
        found.append(day_of(home, on))
    return found


def day_of(home: Settings, on: date) -> Day:
    """Return a simulated day that is matched, with its truth."""
    with connect(home) as connection:
        market = load_market(connection, home, on)
        file = home.of_day(home.pairs, on) / "pairs.parquet"
        found = connection.execute(_PAIRS, {"pairs": str(file)}).fetchnumpy()
        lead, product = (np.asarray(found[name], np.int64) for name in ("lead_row", "product_row"))
        rows = _places(market, lead, product)
        truth = TruthOfDay(market, world_of(home)).alone()
        every = np.arange(market.lead.size)
        declined, approved, funded = (
            valued(connection, market, every, _if(truth, *outcome))[1][rows]
            for outcome in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
        )
    numbers = {name: np.asarray(found[name], np.float64) for name in ("expected_value", *PARTS)}
    candidates = Candidates(
        lead=lead,
        institution=market.institution[product],
        product=product,
        value=numbers.pop("expected_value"),
        lottery=np.random.default_rng(on.toordinal()).integers(0, LOTS, len(lead)),
    )
    decisions = market.products["product_decisions"].fill_null(0).to_numpy()
    nothing = np.zeros(len(market.quota), np.int64)
    return Day(
        candidates=candidates,
        parts=numbers,
        chance=(truth.p_approve[rows], truth.p_fund[rows]),
        worth=(declined, approved, funded),
        terms=Terms(market.quota, np.asarray(decisions, np.int64), nothing),
        plan=allocate(candidates, market.quota, most_offers=_most_offers()),
    )


_PAIRS = f"""
    select lead_row, product_row, expected_value, {", ".join(PARTS)}
    from read_parquet($pairs, hive_partitioning = false)
    join leads using (channel_id, lead_id)
    join products using (institution_id, product_id)
    where expected_value > 0
    order by lead_row, product_row
"""


def _places(market: DayMarket, lead: Integers, product: Integers) -> Integers:
    """Return where each scored pair stands among all that may be shown."""
    products = len(market.quota)
    return np.asarray(
        np.searchsorted(market.lead * products + market.product, lead * products + product),
        np.int64,
    )


def _if(truth: Shown, approved: float, funded: float) -> Shown:
    size = truth.lead.size
    return replace(truth, p_approve=np.full(size, approved), p_fund=np.full(size, funded))


def drawn(some: Sequence[Day], random: np.random.Generator) -> Log:
    """Return one log of the days: trials and outcomes, drawn anew."""
    return Log.together([_drawn(day, random) for day in some])


def _drawn(day: Day, random: np.random.Generator) -> Log:
    pairs = len(day.candidates.lead)
    trials = draw_trials(
        replace(day.candidates, lottery=random.integers(0, LOTS, pairs)),
        day.plan.chosen,
        surplus=after_prices(day.candidates, (), day.plan.prices),
        terms=replace(day.terms, lot=random.integers(0, LOTS, len(day.terms.quota))),
        most_offers=_most_offers(),
        policy=policy.exploration(),
    )
    propensity, is_made = day.plan.chosen.astype(np.float64), day.plan.chosen.copy()
    propensity[trials.row], is_made[trials.row] = trials.propensity, trials.is_made
    approved = random.random(pairs) < day.chance[0]
    funded = approved & (random.random(pairs) < day.chance[1])
    reward = np.where(funded, day.worth[2], np.where(approved, day.worth[1], day.worth[0]))
    return Log(day.candidates.lead, propensity, is_made, reward, day.candidates.value)


def _most_offers() -> int:
    return policy.value().most_offers_per_lead
