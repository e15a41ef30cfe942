"""Effects of lenders: thin cells stay near the level above, and none is told its own label."""

import json

import numpy as np
import pyarrow as pa
import pytest

from models.errors import MissingColumns
from models.features.lender_effects import Cells, Effects, Words, learn, learned_words
from models.params import Level

KIND = Level(name="kind", of=("kind",), strength=10)
LENDER = Level(name="lender", of=("lender",), below="kind", strength=10)
PURPOSE = Level(name="purpose", of=("lender", "purpose"), below="lender", strength=10)
LEVELS = (KIND, LENDER, PURPOSE)


def rows(*cells: tuple[str, str, str, int, float]) -> tuple[pa.Table, np.ndarray]:
    """Return a table and labels of (kind, lender, purpose, rows, share that was approved)."""
    lines = [(k, v, p, i < n * share) for k, v, p, n, share in cells for i in range(n)]
    kinds, lenders, purposes, labels = zip(*lines, strict=True)
    table = pa.table({"kind": kinds, "lender": lenders, "purpose": purposes})
    return table, np.array(labels, dtype=float)


def effects(table: pa.Table, labels: np.ndarray, levels=LEVELS, margin=None) -> Effects:
    words = learned_words(table, levels, bands=4)
    margin = np.zeros(len(labels)) if margin is None else margin
    return learn(Cells.of(table, words, levels), words, margin, labels)


def told(known: Effects, kind: str | None, lender: str | None, purpose: str | None) -> list[float]:
    columns = {"kind": [kind], "lender": [lender], "purpose": [purpose]}
    table = pa.table({name: pa.array(value, pa.string()) for name, value in columns.items()})
    return known.columns(table)[0].tolist()


def test_a_lender_with_many_rows_is_told_what_it_did_and_one_with_few_hardly_anything():
    known = effects(*rows(("bank", "large", "car", 4000, 0.9), ("bank", "small", "car", 2, 1.0)))
    large, small = told(known, "bank", "large", "car"), told(known, "bank", "small", "car")
    assert sum(large) == pytest.approx(np.log(9), abs=0.02)  # log-odds of 90%
    assert 0 < small[1] < 0.2
    assert sum(small) == pytest.approx(sum(large), abs=0.4)  # near its kind, which it shares


def test_the_shift_is_the_most_probable_one_under_its_prior():
    known = effects(*rows(("bank", "one", "car", 30, 0.8)), levels=(KIND,))
    shift = told(known, "bank", None, None)[0]
    slope = 24 - 30 / (1 + np.exp(-shift)) - KIND.strength / 4 * shift
    assert slope == pytest.approx(0, abs=1e-6)


def test_what_the_margin_expects_is_no_effect():
    table, labels = rows(("bank", "one", "car", 1000, 0.8))
    known = effects(table, labels, margin=np.full(1000, np.log(4)))
    assert told(known, "bank", "one", "car") == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_new_lender_is_like_its_kind_and_a_new_purpose_like_its_lender():
    known = effects(*rows(("bank", "mild", "car", 500, 0.9), ("shop", "strict", "car", 500, 0.2)))
    kind, lender, purpose = told(known, "shop", "unheard-of", "car")
    assert (lender, purpose) == (0, 0)
    assert kind < -1
    seen = told(known, "shop", "strict", "car")
    assert told(known, "shop", "strict", "house") == [*seen[:2], 0]
    assert told(known, "shop", "strict", None) == [*seen[:2], 0]
    assert told(known, None, None, None) == [0, 0, 0]


def test_the_order_of_rows_changes_no_effect_and_the_registry_keeps_every_bit():
    chance = np.random.default_rng(3)
    table = pa.table({n: chance.choice(list("abcdef"), 900) for n in ("kind", "lender", "purpose")})
    labels = chance.integers(0, 2, 900).astype(float)
    known = effects(table, labels)
    order = chance.permutation(900)
    other = effects(table.take(order), labels[order])
    assert json.dumps(other.as_dict()) == json.dumps(known.as_dict())
    again = Effects.from_dict(json.loads(json.dumps(known.as_dict())))
    assert again.columns(table).tobytes() == known.columns(table).tobytes()


def test_numbers_count_by_bands_of_about_equal_count_and_unknown_ones_not_at_all():
    scores = pa.chunked_array([pa.array([*range(100), None], pa.int64())])
    words = Words.learned_from(scores, bands=4)
    assert np.bincount(words.places(scores)[:-1]).tolist() == [25, 25, 25, 25]
    assert words.places(scores)[-1] == -1
    asked = pa.chunked_array([pa.array([-1e9, 24.9, 25.0, 1e9])])
    assert words.places(asked).tolist() == [0, 0, 1, 3]


def test_a_table_without_a_column_of_a_level_is_refused():
    known = effects(*rows(("bank", "one", "car", 30, 0.8)))
    with pytest.raises(MissingColumns, match="lender, purpose"):
        known.columns(pa.table({"kind": ["bank"]}))
