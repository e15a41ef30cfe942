"""Allocation in rounds keeps the limits of a plan and leaves no possible offer unmade."""

import numpy as np

from pipelines.simulate.outcomes.broadcast import allocate_in_rounds, rank_offers


def test_the_lowest_tie_break_keys_come_first_and_other_leads_take_their_next_choice():
    rank = allocate_in_rounds(
        lead=np.array([0, 0, 1, 1]),
        institution=np.array([0, 1, 0, 1]),
        product=np.array([0, 1, 0, 1]),
        preference=np.array([9.0, 1.0, 9.0, 1.0]),
        tie_break=np.array([0.5, 0.1, 0.2, 0.9]),
        quota=np.array([1, 5]),
        max_offers=1,
    )
    assert rank.tolist() == [0, 1, 1, 0]


def test_an_institution_is_shown_once_to_a_lead_by_its_max_preferred_product():
    rank = allocate_in_rounds(
        lead=np.array([0, 0, 0]),
        institution=np.array([0, 0, 1]),
        product=np.array([0, 1, 2]),
        preference=np.array([1.0, 3.0, 2.0]),
        tie_break=np.zeros(3),
        quota=np.array([5, 5, 5]),
        max_offers=5,
    )
    assert rank.tolist() == [0, 1, 2]


def test_every_limit_holds_and_no_further_pair_could_be_shown():
    random = np.random.default_rng(3)
    lead, product = (axis.ravel() for axis in np.indices((200, 12)))
    is_pair = random.random(lead.size) < 0.6
    lead, product = lead[is_pair], product[is_pair]
    institution, quota = product // 2, random.integers(0, 60, 12)
    rank = allocate_in_rounds(
        lead, institution, product,
        random.random(lead.size), random.random(lead.size), quota, max_offers=3,
    )  # fmt: skip
    shown = rank > 0
    used = np.bincount(product[shown], minlength=12)
    offers = np.bincount(lead[shown], minlength=200)
    shown_to = set(zip(lead[shown].tolist(), institution[shown].tolist(), strict=True))
    assert (used <= quota).all()
    assert offers.max() == 3
    assert len(shown_to) == shown.sum()
    for of_lead, at, of_product in zip(lead, institution, product, strict=True):
        is_open = used[of_product] < quota[of_product] and offers[of_lead] < 3
        assert not is_open or (of_lead, at) in shown_to


def test_a_lead_ranks_its_offers_by_preference():
    rank = rank_offers(
        np.array([0, 0, 0, 1]), np.array([1.0, 5.0, 3.0, 2.0]), np.array([True, True, False, True])
    )
    assert rank.tolist() == [2, 1, 0, 1]


def test_no_pairs_give_no_offers():
    empty = np.zeros(0, np.int64)
    floats = empty * 1.0
    rank = allocate_in_rounds(empty, empty, empty, floats, floats, np.array([4]), max_offers=5)
    assert rank.size == 0
