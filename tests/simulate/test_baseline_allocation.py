"""Without a plan, each lead in turn takes what it likes best of what is left."""

import numpy as np

from pipelines.simulate.outcomes.baseline_allocation import hand_out, ranked


def test_the_lowest_lots_go_first_and_the_others_take_their_next_choice():
    rank = hand_out(
        lead=np.array([0, 0, 1, 1]),
        institution=np.array([0, 1, 0, 1]),
        product=np.array([0, 1, 0, 1]),
        liking=np.array([9.0, 1.0, 9.0, 1.0]),
        lot=np.array([0.5, 0.1, 0.2, 0.9]),
        quota=np.array([1, 5]),
        most_offers=1,
    )
    assert rank.tolist() == [0, 1, 1, 0]


def test_an_institution_is_shown_once_to_a_lead_by_its_best_liked_product():
    rank = hand_out(
        lead=np.array([0, 0, 0]),
        institution=np.array([0, 0, 1]),
        product=np.array([0, 1, 2]),
        liking=np.array([1.0, 3.0, 2.0]),
        lot=np.zeros(3),
        quota=np.array([5, 5, 5]),
        most_offers=5,
    )
    assert rank.tolist() == [0, 1, 2]


def test_every_limit_holds_and_nothing_more_could_be_shown():
    random = np.random.default_rng(3)
    lead, product = (axis.ravel() for axis in np.indices((200, 12)))
    keeps = random.random(lead.size) < 0.6
    lead, product = lead[keeps], product[keeps]
    institution, quota = product // 2, random.integers(0, 60, 12)
    rank = hand_out(
        lead, institution, product,
        random.random(lead.size), random.random(lead.size), quota, most_offers=3,
    )  # fmt: skip
    shown = rank > 0
    taken = np.bincount(product[shown], minlength=12)
    offers = np.bincount(lead[shown], minlength=200)
    met = set(zip(lead[shown].tolist(), institution[shown].tolist(), strict=True))
    assert (taken <= quota).all()
    assert offers.max() == 3
    assert len(met) == shown.sum()
    for of_lead, at, of_product in zip(lead, institution, product, strict=True):
        is_open = taken[of_product] < quota[of_product] and offers[of_lead] < 3
        assert not is_open or (of_lead, at) in met


def test_a_lead_ranks_its_offers_by_liking():
    rank = ranked(
        np.array([0, 0, 0, 1]), np.array([1.0, 5.0, 3.0, 2.0]), np.array([True, True, False, True])
    )
    assert rank.tolist() == [2, 1, 0, 1]


def test_no_pairs_are_no_offers():
    empty = np.zeros(0, np.int64)
    rank = hand_out(empty, empty, empty, empty * 1.0, empty * 1.0, np.array([4]), most_offers=5)
    assert rank.size == 0
