"""Exploration: pairs are drawn with the stated propensity, and any draw is within every limit."""

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
from pipelines.matches.exploration import (
    KEY_RANGE,
    ExplorationDraw,
    ProductTerms,
    compute_surplus,
    draw_exploration,
)

MAX_OFFERS = 3
PRODUCTS = 20
POLICY = policy.exploration().model_copy(update={"share": 0.2, "new_product_decisions": 0})


def instance(
    seed: int, leads: int = 400, products: int = PRODUCTS
) -> tuple[PairColumns, ProductTerms]:
    random = np.random.default_rng(seed)
    lead, product = np.nonzero(random.random((leads, products)) < 0.5)
    pairs = PairColumns(
        lead=lead,
        institution=product // 2,
        product=product,
        value=1 + 100 * random.random(len(lead)),
        tie_break_key=random.integers(0, KEY_RANGE, len(lead)),
    )
    terms = ProductTerms(
        quota=random.integers(10, 60, products),
        decisions=np.zeros(products, np.int64),
        rounding_key=random.integers(0, KEY_RANGE, products),
    )
    return pairs, terms


def draw_for(
    pairs: PairColumns, terms: ProductTerms, limits: tuple[Limit, ...] = (), **changed: float
) -> tuple[ExplorationDraw, np.ndarray]:
    plan = allocate(pairs, terms.quota, max_offers=MAX_OFFERS, limits=limits)
    draw = draw_exploration(
        pairs,
        plan.chosen,
        surplus=compute_surplus(pairs, limits, plan.prices),
        terms=terms,
        limits=limits,
        max_offers=MAX_OFFERS,
        policy=POLICY.model_copy(update=changed),
    )
    made = plan.chosen.copy()
    made[draw.row] = draw.is_made
    return draw, made


@pytest.mark.parametrize("seed", range(10))
def test_any_draw_satisfies_quotas_offers_and_one_product_an_institution(seed):
    pairs, terms = instance(seed)
    draw, made = draw_for(pairs, terms)
    assert len(draw.drawn) > 0
    assert (np.bincount(pairs.product[made], minlength=20) <= terms.quota).all()
    assert np.bincount(pairs.lead[made]).max() <= MAX_OFFERS
    visits = pairs.lead[made] * 100 + pairs.institution[made]
    assert len(np.unique(visits)) == len(visits)


def limits_with_little_slack(
    pairs: PairColumns, terms: ProductTerms, seed: int
) -> tuple[Limit, ...]:
    """Return limits of every kind of which the plan leaves little or nothing."""
    random = np.random.default_rng([seed, 1])
    plan = allocate(pairs, terms.quota, max_offers=MAX_OFFERS)
    product, channel = pairs.product, pairs.lead % 4
    spend = 100 * random.random(len(product))
    limits = (
        build_budget_limit(product, spend, terms.quota * 1.0),
        build_share_limit("pacing", product, channel, 4, share=1.0, quota=terms.quota),
        build_share_limit("exposure", product // 5, channel, 4, share=1.0, quota=terms.quota[:4]),
        build_floor_limit("institution", pairs.institution, np.ones(PRODUCTS // 2, np.int64)),
    )
    used = [limit.total_use(np.flatnonzero(plan.chosen)) for limit in limits]
    slack = [
        random.integers(0, most, len(u)) for most, u in zip((40_000, 6, 20, 1), used, strict=True)
    ]
    return tuple(
        replace(limit, upper=u + left) for limit, u, left in zip(limits, used, slack, strict=True)
    )


@pytest.mark.parametrize("seed", range(40))
def test_any_draw_satisfies_budgets_shares_and_floors(seed):
    pairs, terms = instance(seed)
    limits = limits_with_little_slack(pairs, terms, seed)
    plan = allocate(pairs, terms.quota, max_offers=MAX_OFFERS)
    draw = draw_exploration(
        pairs,
        plan.chosen,
        surplus=compute_surplus(pairs, limits, plan.prices),
        terms=terms,
        limits=limits,
        max_offers=MAX_OFFERS,
        policy=POLICY,
    )
    made = plan.chosen.copy()
    made[draw.row] = draw.is_made
    rows = np.flatnonzero(made)
    assert len(draw.drawn) >= 1
    assert (np.bincount(pairs.product[rows], minlength=PRODUCTS) <= terms.quota).all()
    assert [limit.count_violations(rows) for limit in limits] == [0] * len(limits)
    before, after = (limits[-1].total_use(some) for some in (np.flatnonzero(plan.chosen), rows))
    assert (after <= before).all()


@pytest.mark.parametrize("seed", range(10))
def test_draw_displaces_no_lead_of_a_group_with_a_floor(seed):
    pairs, terms = instance(seed)
    group = pairs.lead % 4
    plan = allocate(pairs, terms.quota, max_offers=MAX_OFFERS)
    planned = np.bincount(group[plan.chosen], minlength=4)
    floor = build_floor_limit("exposure_region", group, np.where(np.arange(4) < 2, planned, 0))
    draw, made = draw_for(pairs, terms, (floor,))
    assert floor.is_satisfied(np.flatnonzero(made))
    assert len(draw.drawn) >= 1
    assert not np.isin(group[draw.displaced], (0, 1)).any()
    assert (np.bincount(pairs.product[made], minlength=PRODUCTS) <= terms.quota).all()


def test_whole_menu_satisfies_the_offers_of_every_lead():
    pairs, terms = instance(1)
    draw, made = draw_for(pairs, terms)
    made[draw.row] = True
    assert np.bincount(pairs.lead[made]).max() <= MAX_OFFERS


def test_pairs_are_matched_as_often_as_their_propensity():
    pairs, terms = instance(3)
    random = np.random.default_rng(4)
    runs = 1_000
    plan = allocate(pairs, terms.quota, max_offers=MAX_OFFERS)
    made, propensity = np.zeros(len(pairs.lead)), plan.chosen.astype(np.float64)
    for _ in range(runs):  # without ties, the keys decide the draws alone
        again = PairColumns(
            **(vars(pairs) | {"tie_break_key": random.integers(0, KEY_RANGE, len(pairs.lead))})
        )
        keys = random.integers(0, KEY_RANGE, PRODUCTS)
        draw = draw_exploration(
            again,
            plan.chosen,
            surplus=compute_surplus(pairs, (), plan.prices),
            terms=ProductTerms(terms.quota, terms.decisions, keys),
            max_offers=MAX_OFFERS,
            policy=POLICY,
        )
        is_made = plan.chosen.copy()
        is_made[draw.row] = draw.is_made
        made += is_made
        propensity[draw.row] = draw.propensity
    is_open = (propensity > 0) & (propensity < 1)
    for part in (is_open & plan.chosen, is_open & ~plan.chosen):
        assert part.sum() >= 10
        deviation = np.sqrt(runs * propensity * (1 - propensity))[part]
        away = (made - runs * propensity)[part] / deviation
        assert abs(away).max() < 4.5
        assert (away**2).sum() == pytest.approx(part.sum(), abs=5 * np.sqrt(2 * part.sum()))
    assert (made[~is_open] == runs * propensity[~is_open]).all()


def test_propensities_sum_to_the_quota():
    pairs, terms = instance(4)
    plan = allocate(pairs, terms.quota, max_offers=MAX_OFFERS)
    draw, _ = draw_for(pairs, terms)
    expected = np.bincount(pairs.product[plan.chosen], minlength=PRODUCTS).astype(float)
    assert (expected == terms.quota).sum() > 10
    np.add.at(expected, pairs.product[draw.row], draw.propensity - draw.is_planned)
    full = expected[np.bincount(pairs.product[plan.chosen]) == terms.quota]
    assert full == pytest.approx(terms.quota[terms.quota == np.round(expected)], abs=1e-9)


def test_propensity_is_at_min_the_share_of_a_full_menu():
    pairs, terms = instance(2, leads=3_000)
    draw, _ = draw_for(pairs, terms, max_candidates_per_draw=7)
    drawn = draw.propensity[~draw.is_planned]
    assert len(drawn) > 100
    assert (drawn >= 1 / 7 - 1e-9).all()
    assert (drawn <= 0.5).all()


def test_explored_share_of_the_quota_is_that_of_the_policy():
    pairs, terms = instance(5, leads=2_000)
    drawn = [
        len(draw_for(pairs, ProductTerms(**(vars(terms) | {"rounding_key": keys})))[0].drawn)
        for keys in np.random.default_rng(6).integers(0, KEY_RANGE, (20, 20))
    ]
    assert np.mean(drawn) == pytest.approx(POLICY.share * terms.quota.sum(), rel=0.03)


def test_new_products_are_explored_more_often():
    pairs, terms = instance(7, leads=2_000)
    decisions = np.where(np.arange(20) < 10, 0, 100)
    terms = ProductTerms(**(vars(terms) | {"decisions": decisions}))
    draw, _ = draw_for(pairs, terms, new_product_decisions=50, share=0.1)
    share = np.bincount(pairs.product[draw.drawn], minlength=20) / terms.quota
    assert share[:10].mean() == pytest.approx(3 * share[10:].mean(), rel=0.3)


def test_only_near_best_pairs_are_drawn():
    pairs, terms = instance(8)
    plan = allocate(pairs, terms.quota, max_offers=MAX_OFFERS)
    draw, _ = draw_for(pairs, terms, near_best=0.1)
    best = np.zeros(400)
    np.maximum.at(best, pairs.lead, pairs.value)
    surplus = pairs.value - plan.price_of_quota[pairs.product]
    menu = draw.row[~draw.is_planned]
    assert len(menu) > 10
    assert (surplus[menu] >= -0.1 * best[pairs.lead[menu]]).all()


def test_product_without_remaining_budget_explores_nothing():
    pairs, terms = instance(9)
    spend = np.ones(len(pairs.lead))
    money = build_budget_limit(
        pairs.product, spend, np.where(np.arange(20) == 0, terms.quota[0], np.nan)
    )
    draw, _ = draw_for(pairs, terms, (money,))
    assert 0 not in pairs.product[draw.row]
    assert len(draw.drawn) > 0


def test_share_of_zero_draws_nothing():
    pairs, terms = instance(10)
    draw, made = draw_for(pairs, terms, share=0.0)
    plan = allocate(pairs, terms.quota, max_offers=MAX_OFFERS)
    assert len(draw.row) == 0
    assert (made == plan.chosen).all()


def test_row_order_does_not_change_the_draw():
    pairs, terms = instance(11)
    order = np.random.default_rng(12).permutation(len(pairs.lead))
    draw, made = draw_for(pairs, terms)
    again, made_again = draw_for(pairs.take(order), terms)
    assert (made_again == made[order]).all()
    propensity, propensity_again = np.full((2, len(order)), np.nan)
    propensity[draw.row], propensity_again[again.row] = draw.propensity, again.propensity
    assert np.array_equal(propensity_again, propensity[order], equal_nan=True)
