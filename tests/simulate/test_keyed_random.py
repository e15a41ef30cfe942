"""Chance depends on the seed and the address, and on nothing else."""

import numpy as np
import pytest

from pipelines.simulate.keyed_random import Chance, exp, logistic


def test_the_same_address_has_the_same_chance_alone_and_among_others():
    chance = Chance(1)
    many = chance.uniform("topic", np.arange(1000), 5)
    assert chance.uniform("topic", 123, 5)[0] == many[123]
    assert np.array_equal(chance.uniform("topic", np.arange(1000)[::-1], 5), many[::-1])


@pytest.mark.parametrize(
    "other",
    [
        lambda where: Chance(2).uniform("topic", where, 5),
        lambda where: Chance(1).uniform("subject", where, 5),
        lambda where: Chance(1).uniform("topic", where, 6),
        lambda where: Chance(1).uniform("topic", 5, where),
    ],
)
def test_seed_topic_and_address_each_change_everything(other):
    where = np.arange(2000)
    one = Chance(1).uniform("topic", where, 5)
    assert abs(np.corrcoef(one, other(where))[0, 1]) < 0.1


def test_known_values_hold_on_every_machine():
    chance = Chance(1)
    assert chance.bits("topic", [0, 1], 2).tolist() == [718855277687565312, 5165280070394707806]
    assert chance.normal("topic", [0, 1], 2).tolist() == [-1.762845, -0.582822]


def test_uniform_normal_and_choice_have_their_distributions():
    chance, where = Chance(3), np.arange(100_000)
    uniform, normal = chance.uniform("u", where), chance.normal("n", where)
    assert 0 <= uniform.min() < uniform.max() < 1
    assert np.histogram(uniform, 10)[0] == pytest.approx(10_000, rel=0.05)
    assert [normal.mean(), normal.std()] == pytest.approx([0, 1], abs=0.01)
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.01
    counts = np.bincount(chance.choice("c", [1, 0, 3], where))
    assert counts / where.size == pytest.approx([0.25, 0, 0.75], abs=0.01)
    assert set(chance.below("b", 3, where).tolist()) == {0, 1, 2}


def test_exponentials_are_rounded():
    assert exp([0.0, 1.0]).tolist() == [1.0, 2.718282]
    assert logistic([0.0, 1.0]).tolist() == [0.5, 0.731058579]
