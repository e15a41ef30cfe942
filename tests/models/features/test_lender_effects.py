"""Lender effects: small groups shrink toward their parent."""

import json

import numpy as np
import pyarrow as pa
import pytest

from models.errors import MissingColumns
from models.features import lender_effects
from models.features.lender_effects import (
    LenderEffects,
    LenderGroups,
    Vocabulary,
    fit_lender_effects,
    fit_vocabularies,
)
from models.params import EffectLevel

KIND = EffectLevel(name="kind", columns=("kind",), prior_rows=10)
LENDER = EffectLevel(name="lender", columns=("lender",), parent="kind", prior_rows=10)
PURPOSE = EffectLevel(name="purpose", columns=("lender", "purpose"), parent="lender", prior_rows=10)
LEVELS = (KIND, LENDER, PURPOSE)


def make_rows(*groups: tuple[str, str, str, int, float]) -> tuple[pa.Table, np.ndarray]:
    """Return a table and labels of (kind, lender, purpose, rows, share that was approved)."""
    lines = [(k, v, p, i < n * share) for k, v, p, n, share in groups for i in range(n)]
    kinds, lenders, purposes, labels = zip(*lines, strict=True)
    table = pa.table({"kind": kinds, "lender": lenders, "purpose": purposes})
    return table, np.array(labels, dtype=float)


def fit(table: pa.Table, labels: np.ndarray, levels=LEVELS, margin=None) -> LenderEffects:
    vocabularies = fit_vocabularies(table, levels, bins=4)
    margin = np.zeros(len(labels)) if margin is None else margin
    return fit_lender_effects(
        LenderGroups.from_table(table, vocabularies, levels), vocabularies, margin, labels
    )


def encode_one(
    fitted: LenderEffects, kind: str | None, lender: str | None, purpose: str | None
) -> list[float]:
    columns = {"kind": [kind], "lender": [lender], "purpose": [purpose]}
    table = pa.table({name: pa.array(value, pa.string()) for name, value in columns.items()})
    return fitted.encode(table)[0].tolist()


def test_many_rows_determine_an_effect_and_few_rows_shrink_to_the_parent():
    fitted = fit(*make_rows(("bank", "large", "car", 4000, 0.9), ("bank", "small", "car", 2, 1.0)))
    large = encode_one(fitted, "bank", "large", "car")
    small = encode_one(fitted, "bank", "small", "car")
    assert sum(large) == pytest.approx(np.log(9), abs=0.02)  # log-odds of 90%
    assert 0 < small[1] < 0.2
    assert sum(small) == pytest.approx(sum(large), abs=0.4)  # near its kind, which it shares


def test_effect_maximizes_the_posterior():
    fitted = fit(*make_rows(("bank", "one", "car", 30, 0.8)), levels=(KIND,))
    effect = encode_one(fitted, "bank", None, None)[0]
    slope = 24 - 30 / (1 + np.exp(-effect)) - KIND.prior_rows / 4 * effect
    assert slope == pytest.approx(0, abs=1e-6)


def test_labels_that_match_the_base_margin_have_no_effect():
    table, labels = make_rows(("bank", "one", "car", 1000, 0.8))
    fitted = fit(table, labels, margin=np.full(1000, np.log(4)))
    assert encode_one(fitted, "bank", "one", "car") == pytest.approx([0, 0, 0], abs=1e-6)


def test_unseen_group_has_the_effect_of_its_parent():
    fitted = fit(*make_rows(("bank", "mild", "car", 500, 0.9), ("shop", "strict", "car", 500, 0.2)))
    kind, lender, purpose = encode_one(fitted, "shop", "unheard-of", "car")
    assert (lender, purpose) == (0, 0)
    assert kind < -1
    seen = encode_one(fitted, "shop", "strict", "car")
    assert encode_one(fitted, "shop", "strict", "house") == [*seen[:2], 0]
    assert encode_one(fitted, "shop", "strict", None) == [*seen[:2], 0]
    assert encode_one(fitted, None, None, None) == [0, 0, 0]


def test_many_codes_are_searched_with_the_same_effects(monkeypatch):
    table, labels = make_rows(
        ("bank", "a", "car", 40, 0.5), ("bank", "b", "home", 60, 0.1), ("shop", "c", "car", 30, 0.9)
    )
    looked_up = fit(table, labels)
    assert looked_up.encode(table).any(axis=0).all()
    monkeypatch.setattr(lender_effects, "MOST_CODES", 0)
    searched = fit(table, labels)
    assert searched.encode(table).tolist() == looked_up.encode(table).tolist()
    for unseen in (("bank", "new", "car"), ("new", "a", "car"), ("shop", "a", "home")):
        assert encode_one(searched, *unseen) == encode_one(looked_up, *unseen)


def test_effects_do_not_depend_on_row_order_and_survive_the_registry():
    chance = np.random.default_rng(3)
    table = pa.table({n: chance.choice(list("abcdef"), 900) for n in ("kind", "lender", "purpose")})
    labels = chance.integers(0, 2, 900).astype(float)
    fitted = fit(table, labels)
    order = chance.permutation(900)
    other = fit(table.take(order), labels[order])
    assert json.dumps(other.as_dict()) == json.dumps(fitted.as_dict())
    again = LenderEffects.from_dict(json.loads(json.dumps(fitted.as_dict())))
    assert again.encode(table).tobytes() == fitted.encode(table).tobytes()


def test_numbers_are_binned_by_quantiles():
    scores = pa.chunked_array([pa.array([*range(100), None], pa.int64())])
    vocabulary = Vocabulary.fit(scores, bins=4)
    assert np.bincount(vocabulary.encode(scores)[:-1]).tolist() == [25, 25, 25, 25]
    assert vocabulary.encode(scores)[-1] == -1
    values = pa.chunked_array([pa.array([-1e9, 24.9, 25.0, 1e9])])
    assert vocabulary.encode(values).tolist() == [0, 0, 1, 3]


def test_missing_column_of_a_level_is_an_error():
    fitted = fit(*make_rows(("bank", "one", "car", 30, 0.8)))
    with pytest.raises(MissingColumns, match="lender, purpose"):
        fitted.encode(pa.table({"kind": ["bank"]}))
