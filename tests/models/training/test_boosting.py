"""What a training row is told of its lender never holds its own label."""

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from models.features.encoder import of_a_new_lender
from models.params import params
from models.training import boosting
from models.training.boosting import Examples, Lesson, Size, learn, size
from pipelines.core.statistics import sigmoid

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


def trees_at_once(trees: int) -> Size:
    return Size("trees_at_once", (trees,))


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
        folds = before.examples.folds(0)
        same_fold = folds == folds[row]
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
    scoring = learn(lesson, trees_at_once(3)).encoder.matrix(labelled.slice(1000))
    assert scoring.tobytes() == lesson.matrix[1000:].tobytes()
    assert np.abs(effects_of(lesson)[1000:]).max() > 0.3


def test_lenders_that_decide_show_in_the_model_and_a_new_one_does_not(labelled):
    everything = np.ones(labelled.num_rows, dtype=bool)
    model = learn(Lesson.of(Examples.of(labelled, FEATURES), everything), trees_at_once(20))
    known, new = (model.raw(rows, threads=1) for rows in (labelled, of_a_new_lender(labelled)))
    happened = labelled["label"].to_numpy()
    assert np.mean((known - happened) ** 2) < np.mean((new - happened) ** 2) - 0.02
    assert known.std() > new.std()
    assert new.mean() == pytest.approx(happened.mean(), abs=0.1)


def test_the_members_differ_and_are_all_there(labelled, monkeypatch):
    of_two = (
        params().shapes["trees_at_once"].model_copy(update={"members": ({}, {"num_leaves": 7})})
    )
    two = params().model_copy(update={"shapes": {"trees_at_once": of_two}})
    monkeypatch.setattr(boosting, "params", lambda: two)
    everything = np.ones(labelled.num_rows, dtype=bool)
    lesson = Lesson.of(Examples.of(labelled, FEATURES), everything)
    model = learn(lesson, trees_at_once(5))
    booster = lightgbm.Booster(model_str=model.trees)
    assert booster.num_trees() == 10
    table = model.encoder.matrix(labelled)
    first, second = (booster.predict(table, start_iteration=at, num_iteration=5) for at in (0, 5))
    assert not np.array_equal(first, second)
    leaves = booster.trees_to_dataframe().query("left_child.isna()").groupby("tree_index").size()
    assert leaves[:5].max() > 7 >= leaves[5:].max()
    # What a row is told of its lender is drawn anew, and its own label is not in that either.
    told = [lesson.of_member(number)[:, boosting._columns(lesson.examples)] for number in (0, 1)]
    assert not np.array_equal(*told)


def test_a_member_has_the_trees_of_each_stage_one_after_the_other(labelled):
    everything = np.ones(labelled.num_rows, dtype=bool)
    lesson = Lesson.of(Examples.of(labelled, FEATURES), everything)
    model = learn(lesson, Size("curves_first", (6, 4)))
    leaves = lightgbm.Booster(model_str=model.trees).trees_to_dataframe()
    of_tree = leaves[leaves["left_child"].isna()].groupby("tree_index").size()
    assert list(of_tree[:6]) == [2] * 6
    assert of_tree[6:].min() > 2
    assert len(of_tree) == 10
    # A later stage starts from where the one before it ends, not from nothing.
    curves = learn(lesson, Size("curves_first", (6, 1))).trees
    of_curves = lightgbm.Booster(model_str=curves).predict(lesson.matrix, num_iteration=6)
    of_both = lightgbm.Booster(model_str=model.trees).predict(lesson.matrix, num_iteration=6)
    assert np.array_equal(of_curves, of_both)


def told_by(table: pa.Table, odds: np.ndarray) -> pa.Table:
    """Return `table` with a label of these log-odds."""
    likely = sigmoid(odds)
    label = np.random.default_rng(11).uniform(size=table.num_rows) < likely
    return table.append_column("label", pa.array(label.astype(float)))


def standard(table: pa.Table, name: str) -> np.ndarray:
    values = table[name].to_numpy().astype(float)
    return (values - np.nanmean(values)) / np.nanstd(values)


def test_the_shape_follows_what_is_in_the_rows(pairs, monkeypatch):
    curves, trees = params().shapes["curves_first"], params().shapes["trees_at_once"]
    curves_alone = curves.model_copy(update={"stages": curves.stages[:1]})
    shapes = {"curves": curves_alone, "trees": trees}
    of_these = params().model_copy(update={"shapes": shapes})
    monkeypatch.setattr(boosting, "params", lambda: of_these)
    score, burden = (np.nan_to_num(standard(pairs, n)) for n in ("bureau_score", "debt_monthly"))
    early = np.arange(pairs.num_rows) < pairs.num_rows * 2 // 3
    sums = told_by(pairs, 2 * score - 2 * burden)
    crossed = told_by(pairs, 6 * np.sign(score * burden))
    chosen = [
        size(Lesson.of(Examples.of(table, FEATURES), early), ~early).shape
        for table in (sums, crossed)
    ]
    assert chosen == ["curves", "trees"]


def test_only_stages_that_grow_have_more_trees_for_more_rows():
    assert Size("curves_first", (40, 10)).grown(1.5) == Size("curves_first", (40, 15))
    assert Size("trees_at_once", (1,)).grown(0.1).trees == (1,)
