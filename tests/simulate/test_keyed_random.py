"""A random number depends on the seed, the topic and the address, and on nothing else."""

import numpy as np
import pytest

from pipelines.simulate.keyed_random import (
    HASHED_NAMES,
    KeyedRandom,
    rounded_exp,
    rounded_sigmoid,
)


def test_an_address_has_the_same_number_computed_alone_and_among_others():
    random = KeyedRandom(1)
    many = random.uniform("topic", np.arange(1000), 5)
    assert random.uniform("topic", 123, 5)[0] == many[123]
    assert np.array_equal(random.uniform("topic", np.arange(1000)[::-1], 5), many[::-1])


@pytest.mark.parametrize(
    "other",
    [
        lambda where: KeyedRandom(2).uniform("topic", where, 5),
        lambda where: KeyedRandom(1).uniform("subject", where, 5),
        lambda where: KeyedRandom(1).uniform("topic", where, 6),
        lambda where: KeyedRandom(1).uniform("topic", 5, where),
    ],
)
def test_seed_topic_and_address_each_change_every_number(other):
    where = np.arange(2000)
    one = KeyedRandom(1).uniform("topic", where, 5)
    assert abs(np.corrcoef(one, other(where))[0, 1]) < 0.1


def test_known_values_hold_on_every_machine():
    random = KeyedRandom(1)
    assert random.bits("topic", [0, 1], 2).tolist() == [718855277687565312, 5165280070394707806]
    assert random.normal("topic", [0, 1], 2).tolist() == [-1.762845, -0.582822]


def test_a_renamed_topic_keeps_its_numbers():
    random = KeyedRandom(1)
    for topic, name in HASHED_NAMES.items():
        assert random.bits(topic, 3) == random.bits(name, 3)
    assert len(set(HASHED_NAMES.values())) == len(HASHED_NAMES)


def test_uniform_normal_and_choice_have_their_distributions():
    random, where = KeyedRandom(3), np.arange(100_000)
    uniform, normal = random.uniform("u", where), random.normal("n", where)
    assert 0 <= uniform.min() < uniform.max() < 1
    assert np.histogram(uniform, 10)[0] == pytest.approx(10_000, rel=0.05)
    assert [normal.mean(), normal.std()] == pytest.approx([0, 1], abs=0.01)
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.01
    counts = np.bincount(random.choice("c", [1, 0, 3], where))
    assert counts / where.size == pytest.approx([0.25, 0, 0.75], abs=0.01)
    assert set(random.integers("b", 3, where).tolist()) == {0, 1, 2}


def test_exponentials_are_rounded():
    assert rounded_exp([0.0, 1.0]).tolist() == [1.0, 2.718282]
    assert rounded_sigmoid([0.0, 1.0]).tolist() == [0.5, 0.731058579]
