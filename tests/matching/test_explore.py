"""Trials: drawn with the probability that is logged, and within every limit whatever is drawn."""

import numpy as np
import pytest

from expectations import policy
from pipelines.matches.allocate import Candidates, allocate
from pipelines.matches.explore import Terms, Trials, draw_trials

MOST_OFFERS = 3
POLICY = policy.exploration().model_copy(update={"share": 0.2, "new_product_decisions": 0})


def instance(seed: int, leads: int = 400, products: int = 20) -> tuple[Candidates, Terms]:
    random = np.random.default_rng(seed)
    lead, product = np.nonzero(random.random((leads, products)) < 0.5)
    candidates = Candidates(
        lead=lead,
        institution=product // 2,
        product=product,
        value=1 + 100 * random.random(len(lead)),
        lottery=random.integers(0, 2**32, len(lead)),
    )
    terms = Terms(
        quota=random.integers(10, 60, products),
        budget_left=np.full(products, np.inf),
        decisions=np.zeros(products, np.int64),
        lot=random.integers(0, 2**32, products),
    )
    return candidates, terms


def trials_of(
    candidates: Candidates, terms: Terms, spend: float = 1.0, **changed: float
) -> tuple[Trials, np.ndarray]:
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    trials = draw_trials(
        candidates,
        plan.chosen,
        price=plan.price_of_quota,
        spend=np.full(len(candidates.lead), spend),
        terms=terms,
        most_offers=MOST_OFFERS,
        policy=POLICY.model_copy(update=changed),
    )
    made = plan.chosen.copy()
    made[trials.gave_way] = False
    made[trials.drawn] = True
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


def test_the_whole_menu_would_keep_the_limits_of_every_lead():
    candidates, terms = instance(1)
    trials, made = trials_of(candidates, terms)
    made[trials.menu] = True
    assert np.bincount(candidates.lead[made]).max() <= MOST_OFFERS


def test_pairs_are_drawn_as_often_as_their_propensity_says():
    candidates, terms = instance(3)
    random = np.random.default_rng(4)
    drawn, runs = np.zeros(len(candidates.lead)), 300
    for _ in range(runs):  # ties don't occur, so the lottery decides the draws alone
        lottery = random.integers(0, 2**32, len(candidates.lead))
        again = Candidates(**(vars(candidates) | {"lottery": lottery}))
        trials, _ = trials_of(again, terms)
        drawn[trials.drawn] += 1
    expected = np.zeros(len(candidates.lead))
    expected[trials.menu] = trials.propensity
    is_tried = (expected > 0) & (expected < 1)
    assert is_tried.sum() > 50
    deviation = np.sqrt(runs * expected * (1 - expected))[is_tried]
    away = (drawn - runs * expected)[is_tried] / deviation
    assert abs(away.mean()) < 4 / np.sqrt(is_tried.sum())
    assert 0.8 < away.std() < 1.2
    assert drawn[~is_tried].sum() == 0


def test_the_share_of_places_that_is_tried_out_is_the_policys():
    candidates, terms = instance(5, leads=2_000)
    drawn = [
        len(trials_of(candidates, Terms(**(vars(terms) | {"lot": lots})))[0].drawn)
        for lots in np.random.default_rng(6).integers(0, 2**32, (20, 20))
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
    assert (surplus[trials.menu] >= -0.1 * best[candidates.lead[trials.menu]]).all()


def test_a_product_without_money_left_tries_nothing_out():
    candidates, terms = instance(9)
    left = np.where(np.arange(20) == 0, 0.5, np.inf)
    trials, _ = trials_of(candidates, Terms(**(vars(terms) | {"budget_left": left})), spend=1.0)
    assert 0 not in candidates.product[trials.drawn]
    assert 0 not in candidates.product[trials.gave_way]
    assert len(trials.drawn) > 0


def test_a_share_of_nothing_changes_nothing():
    candidates, terms = instance(10)
    trials, made = trials_of(candidates, terms, share=0.0)
    plan = allocate(candidates, terms.quota, most_offers=MOST_OFFERS)
    assert len(trials.drawn) == 0
    assert (made == plan.chosen).all()


def test_the_order_of_rows_decides_nothing():
    candidates, terms = instance(11)
    order = np.random.default_rng(12).permutation(len(candidates.lead))
    _, made = trials_of(candidates, terms)
    _, again = trials_of(candidates.take(order), terms)
    assert (again == made[order]).all()
