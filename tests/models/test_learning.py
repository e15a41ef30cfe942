"""What a training row is told of its lender never holds its own label."""

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from models import learning
from models.features import of_a_new_lender
from models.learning import Examples, Lesson, learn
from models.params import params

FEATURES = params().features_of("approval")


@pytest.fixture(scope="module")
def labelled(pairs) -> pa.Table:
    """1,500 pairs with a label that their institution decides half of."""
    some = pairs.slice(0, 1500)
    chance = np.random.default_rng(5)
    lenders = some["institution_id"].to_pylist()
    leaning = {name: chance.normal() for name in sorted(set(lenders))}
    odds = np.array([leaning[name] for name in lenders]) + chance.normal(size=len(lenders))
    return some.append_column("label", pa.array((odds > 0).astype(float)))


def effects_of(lesson: Lesson) -> np.ndarray:
    return lesson.matrix[:, lesson.examples.encoder.indexes(lesson.examples.encoder.effect_names)]


def with_label(table: pa.Table, row: int) -> pa.Table:
    """Return `table` with the label of one row turned around."""
    labels = table["label"].to_numpy().copy()
    labels[row] = 1 - labels[row]
    return table.set_column(table.column_names.index("label"), "label", pa.array(labels))


def test_a_row_is_told_the_same_whatever_its_own_label_is(labelled):
    everything = np.ones(labelled.num_rows, dtype=bool)
    before = Lesson.of(Examples.of(labelled, FEATURES), everything)
    for row in (0, 700):
        after = Lesson.of(Examples.of(with_label(labelled, row), FEATURES), everything)
        same_fold = before.examples.folds == before.examples.folds[row]
        assert effects_of(after)[row].tobytes() == effects_of(before)[row].tobytes()
        # Others of its lender are told of it, in the folds that may know.
        assert not np.array_equal(effects_of(after)[~same_fold], effects_of(before)[~same_fold])


def test_rows_that_are_not_learned_from_tell_nothing(labelled):
    early = np.arange(labelled.num_rows) < 1000
    before = Lesson.of(Examples.of(labelled, FEATURES), early)
    after = Lesson.of(Examples.of(with_label(labelled, 1200), FEATURES), early)
    assert after.matrix.tobytes() == before.matrix.tobytes()
    assert after.effects.as_dict() == before.effects.as_dict()


def test_a_row_to_come_is_told_what_the_model_tells_when_it_scores(labelled):
    early = np.arange(labelled.num_rows) < 1000
    lesson = Lesson.of(Examples.of(labelled, FEATURES), early)
    scoring = learn(lesson, 3).encoder.matrix(labelled.slice(1000))
    assert scoring.tobytes() == lesson.matrix[1000:].tobytes()
    assert np.abs(effects_of(lesson)[1000:]).max() > 0.3


def test_lenders_that_decide_show_in_the_model_and_a_new_one_does_not(labelled):
    everything = np.ones(labelled.num_rows, dtype=bool)
    model = learn(Lesson.of(Examples.of(labelled, FEATURES), everything), 20)
    known, new = (model.raw(rows, threads=1) for rows in (labelled, of_a_new_lender(labelled)))
    happened = labelled["label"].to_numpy()
    assert np.mean((known - happened) ** 2) < np.mean((new - happened) ** 2) - 0.02
    assert known.std() > new.std()
    assert new.mean() == pytest.approx(happened.mean(), abs=0.1)


def test_the_members_differ_and_are_all_there(labelled, monkeypatch):
    two = params().model_copy(update={"members": 2})
    monkeypatch.setattr(learning, "params", lambda: two)
    everything = np.ones(labelled.num_rows, dtype=bool)
    model = learn(Lesson.of(Examples.of(labelled, FEATURES), everything), 5)
    booster = lightgbm.Booster(model_str=model.trees)
    assert booster.num_trees() == 10
    table = model.encoder.matrix(labelled)
    first, second = (booster.predict(table, start_iteration=at, num_iteration=5) for at in (0, 5))
    assert not np.array_equal(first, second)
