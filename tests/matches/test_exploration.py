"""Trials: drawn with the probability that is logged, and within every limit whatever is drawn."""

from dataclasses import replace

import numpy as np
import pytest

from expectations import policy
from pipelines.allocation.allocate import allocate
from pipelines.allocation.problem import (
    Limit,
    PairColumns,
    build_budget_limit,
    build_floor_limit,
    build_share_limit,
)
from pipelines.matches.exploration import LOTS, Terms, Trials, after_prices, draw_trials

MOST_OFFERS = 3
PRODUCTS = 20
POLICY = policy.exploration().model_copy(update={"share": 0.2, "new_product_decisions": 0})


def instance(seed: int, leads: int = 400, products: int = PRODUCTS) -> tuple[PairColumns, Terms]:
    random = np.random.default_rng(seed)
    lead, product = np.nonzero(random.random((leads, products)) < 0.5)
    candidates = PairColumns(
        lead=lead,
        institution=product // 2,
        product=product,
        value=1 + 100 * random.random(len(lead)),
        tie_break_key=random.integers(0, LOTS, len(lead)),
    )
    terms = Terms(
        quota=random.integers(10, 60, products),
        decisions=np.zeros(products, np.int64),
        lot=random.integers(0, LOTS, products),
    )
    return candidates, terms


def trials_of(
    candidates: PairColumns, terms: Terms, limits: tuple[Limit, ...] = (), **changed: float
) -> tuple[Trials, np.ndarray]:
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS, limits=limits)
    trials = draw_trials(
        candidates,
        plan.chosen,
        surplus=after_prices(candidates, limits, plan.prices),
        terms=terms,
        limits=limits,
        most_offers=MOST_OFFERS,
        policy=POLICY.model_copy(update=changed),
    )
    made = plan.chosen.copy()
    made[trials.row] = trials.is_made
    return trials, made


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_drawn_keeps_quotas_offers_and_one_product_an_institution(seed):
    candidates, terms = instance(seed)
    trials, made = trials_of(candidates, terms)
    assert len(trials.drawn) > 0
    assert (np.bincount(candidates.product[made], minlength=20) <= terms.quota).all()
    assert np.bincount(candidates.lead[made]).max() <= MOST_OFFERS
    visits = candidates.lead[made] * 100 + candidates.institution[made]
    assert len(np.unique(visits)) == len(visits)


def with_little_room(candidates: PairColumns, terms: Terms, seed: int) -> tuple[Limit, ...]:
    """Return limits of every kind, of which the plan of quotas leaves a little or nothing."""
    random = np.random.default_rng([seed, 1])
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    product, channel = candidates.product, candidates.lead % 4
    spend = 100 * random.random(len(product))
    limits = (
        build_budget_limit(product, spend, terms.quota * 1.0),
        build_share_limit("pacing", product, channel, 4, share=1.0, quota=terms.quota),
        build_share_limit("exposure", product // 5, channel, 4, share=1.0, quota=terms.quota[:4]),
        build_floor_limit("institution", candidates.institution, np.ones(PRODUCTS // 2, np.int64)),
    )
    used = [limit.total_use(np.flatnonzero(plan.chosen)) for limit in limits]
    room = [
        random.integers(0, most, len(u)) for most, u in zip((40_000, 6, 20, 1), used, strict=True)
    ]
    return tuple(
        replace(limit, upper=u + left) for limit, u, left in zip(limits, used, room, strict=True)
    )


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_drawn_keeps_budgets_shares_and_floors(seed):
    candidates, terms = instance(seed)
    limits = with_little_room(candidates, terms, seed)
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    trials = draw_trials(
        candidates,
        plan.chosen,
        surplus=after_prices(candidates, limits, plan.prices),
        terms=terms,
        limits=limits,
        most_offers=MOST_OFFERS,
        policy=POLICY,
    )
    made = plan.chosen.copy()
    made[trials.row] = trials.is_made
    rows = np.flatnonzero(made)
    assert len(trials.drawn) >= 1
    assert (np.bincount(candidates.product[rows], minlength=PRODUCTS) <= terms.quota).all()
    assert [limit.count_violations(rows) for limit in limits] == [0] * len(limits)
    before, after = (limits[-1].total_use(some) for some in (np.flatnonzero(plan.chosen), rows))
    assert (after <= before).all()


@pytest.mark.parametrize("seed", range(10))
def test_what_is_drawn_takes_nothing_from_a_group_that_was_promised_leads(seed):
    candidates, terms = instance(seed)
    group = candidates.lead % 4
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    planned = np.bincount(group[plan.chosen], minlength=4)
    promised = build_floor_limit("exposure_region", group, np.where(np.arange(4) < 2, planned, 0))
    trials, made = trials_of(candidates, terms, (promised,))
    assert promised.is_satisfied(np.flatnonzero(made))
    # Nobody of these two groups gives way, though others do.
    assert len(trials.drawn) >= 1
    assert not np.isin(group[trials.gave_way], (0, 1)).any()
    assert (np.bincount(candidates.product[made], minlength=PRODUCTS) <= terms.quota).all()


def test_the_whole_menu_would_keep_the_limits_of_every_lead():
    candidates, terms = instance(1)
    trials, made = trials_of(candidates, terms)
    made[trials.row] = True
    assert np.bincount(candidates.lead[made]).max() <= MOST_OFFERS


def test_pairs_are_made_as_often_as_their_propensity_says():
    candidates, terms = instance(3)
    random = np.random.default_rng(4)
    runs = 1_000
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    made, propensity = np.zeros(len(candidates.lead)), plan.chosen.astype(np.float64)
    for _ in range(runs):  # ties don't occur, so the lottery decides the draws alone
        again = PairColumns(
            **(vars(candidates) | {"tie_break_key": random.integers(0, LOTS, len(candidates.lead))})
        )
        lots = random.integers(0, LOTS, PRODUCTS)
        trials = draw_trials(
            again,
            plan.chosen,
            surplus=after_prices(candidates, (), plan.prices),
            terms=Terms(terms.quota, terms.decisions, lots),
            most_offers=MOST_OFFERS,
            policy=POLICY,
        )
        is_made = plan.chosen.copy()
        is_made[trials.row] = trials.is_made
        made += is_made
        propensity[trials.row] = trials.propensity
    is_open = (propensity > 0) & (propensity < 1)
    for part in (is_open & plan.chosen, is_open & ~plan.chosen):
        assert part.sum() >= 10
        deviation = np.sqrt(runs * propensity * (1 - propensity))[part]
        away = (made - runs * propensity)[part] / deviation
        assert abs(away).max() < 4.5
        assert (away**2).sum() == pytest.approx(part.sum(), abs=5 * np.sqrt(2 * part.sum()))
    assert (made[~is_open] == runs * propensity[~is_open]).all()


def test_propensities_add_up_to_the_places_that_are_there():
    candidates, terms = instance(4)
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    trials, _ = trials_of(candidates, terms)
    expected = np.bincount(candidates.product[plan.chosen], minlength=PRODUCTS).astype(float)
    assert (expected == terms.quota).sum() > 10
    np.add.at(expected, candidates.product[trials.row], trials.propensity - trials.is_planned)
    full = expected[np.bincount(candidates.product[plan.chosen]) == terms.quota]
    assert full == pytest.approx(terms.quota[terms.quota == np.round(expected)], abs=1e-9)


def test_no_pair_is_drawn_with_less_than_its_part_of_those_who_wait_for_a_place():
    candidates, terms = instance(2, leads=3_000)
    trials, _ = trials_of(candidates, terms, most_waiting_per_place=7)
    drawn = trials.propensity[~trials.is_planned]
    assert len(drawn) > 100
    assert (drawn >= 1 / 7 - 1e-9).all()
    assert (drawn <= 0.5).all()


def test_the_share_of_places_that_is_tried_out_is_the_policys():
    candidates, terms = instance(5, leads=2_000)
    drawn = [
        len(trials_of(candidates, Terms(**(vars(terms) | {"lot": lots})))[0].drawn)
        for lots in np.random.default_rng(6).integers(0, LOTS, (20, 20))
    ]
    assert np.mean(drawn) == pytest.approx(POLICY.share * terms.quota.sum(), rel=0.03)


def test_a_new_product_is_tried_out_more_often():
    candidates, terms = instance(7, leads=2_000)
    decisions = np.where(np.arange(20) < 10, 0, 100)
    terms = Terms(**(vars(terms) | {"decisions": decisions}))
    trials, _ = trials_of(candidates, terms, new_product_decisions=50, share=0.1)
    share = np.bincount(candidates.product[trials.drawn], minlength=20) / terms.quota
    assert share[:10].mean() == pytest.approx(3 * share[10:].mean(), rel=0.3)


def test_only_near_best_pairs_are_tried_out():
    candidates, terms = instance(8)
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    trials, _ = trials_of(candidates, terms, near_best=0.1)
    best = np.zeros(400)
    np.maximum.at(best, candidates.lead, candidates.value)
    surplus = candidates.value - plan.price_of_quota[candidates.product]
    menu = trials.row[~trials.is_planned]
    assert len(menu) > 10
    assert (surplus[menu] >= -0.1 * best[candidates.lead[menu]]).all()


def test_a_product_without_money_left_tries_nothing_out():
    candidates, terms = instance(9)
    spend = np.ones(len(candidates.lead))
    money = build_budget_limit(
        candidates.product, spend, np.where(np.arange(20) == 0, terms.quota[0], np.nan)
    )
    trials, _ = trials_of(candidates, terms, (money,))
    assert 0 not in candidates.product[trials.row]
    assert len(trials.drawn) > 0


def test_a_share_of_nothing_changes_nothing():
    candidates, terms = instance(10)
    trials, made = trials_of(candidates, terms, share=0.0)
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    assert len(trials.row) == 0
    assert (made == plan.chosen).all()


def test_the_order_of_rows_decides_nothing():
    candidates, terms = instance(11)
    order = np.random.default_rng(12).permutation(len(candidates.lead))
    trials, made = trials_of(candidates, terms)
    again, made_again = trials_of(candidates.take(order), terms)
    assert (made_again == made[order]).all()
    chance, chance_again = np.full((2, len(order)), np.nan)
    chance[trials.row], chance_again[again.row] = trials.propensity, again.propensity
    assert np.array_equal(chance_again, chance[order], equal_nan=True)
