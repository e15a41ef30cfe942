"""Lender effects of a training row never use its own label; ensembles have members and stages."""

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from models.features.encoder import mask_lender
from models.params import params
from models.training import boosting
from models.training.boosting import (
    EnsembleSize,
    Examples,
    TrainingSet,
    select_size,
    train_ensemble,
)
from pipelines.core.statistics import sigmoid

FEATURES = params().model_features("approval")


@pytest.fixture(scope="module")
def labelled(pairs) -> pa.Table:
    """1,500 pairs with a label that depends on their institution by half."""
    some = pairs.slice(0, 1500)
    chance = np.random.default_rng(5)
    lenders = some["institution_id"].to_pylist()
    intercept = {name: chance.normal() for name in sorted(set(lenders))}
    odds = np.array([intercept[name] for name in lenders]) + chance.normal(size=len(lenders))
    return some.append_column("label", pa.array((odds > 0).astype(float)))


def trees_only(trees: int) -> EnsembleSize:
    return EnsembleSize("trees_only", (trees,))


def lender_effects(training_set: TrainingSet) -> np.ndarray:
    return training_set.matrix[
        :, training_set.examples.encoder.indexes(training_set.examples.encoder.effect_names)
    ]


def flip_label(table: pa.Table, row: int) -> pa.Table:
    """Return `table` with the label of one row flipped."""
    labels = table["label"].to_numpy().copy()
    labels[row] = 1 - labels[row]
    return table.set_column(table.column_names.index("label"), "label", pa.array(labels))


def test_effects_of_a_row_do_not_depend_on_its_own_label(labelled):
    everything = np.ones(labelled.num_rows, dtype=bool)
    before = TrainingSet.prepare(Examples.encode(labelled, FEATURES), everything)
    for row in (0, 700):
        after = TrainingSet.prepare(
            Examples.encode(flip_label(labelled, row), FEATURES), everything
        )
        folds = before.examples.draw_folds(0)
        same_fold = folds == folds[row]
        assert lender_effects(after)[row].tobytes() == lender_effects(before)[row].tobytes()
        # Other rows of its lender depend on it, in the other folds.
        assert not np.array_equal(
            lender_effects(after)[~same_fold], lender_effects(before)[~same_fold]
        )


def test_rows_outside_the_training_set_have_no_influence(labelled):
    early = np.arange(labelled.num_rows) < 1000
    before = TrainingSet.prepare(Examples.encode(labelled, FEATURES), early)
    after = TrainingSet.prepare(Examples.encode(flip_label(labelled, 1200), FEATURES), early)
    assert after.matrix.tobytes() == before.matrix.tobytes()
    assert after.effects.as_dict() == before.effects.as_dict()


def test_validation_rows_are_encoded_as_in_scoring(labelled):
    early = np.arange(labelled.num_rows) < 1000
    training_set = TrainingSet.prepare(Examples.encode(labelled, FEATURES), early)
    scoring = train_ensemble(training_set, trees_only(3)).encoder.encode(labelled.slice(1000))
    assert scoring.tobytes() == training_set.matrix[1000:].tobytes()
    assert np.abs(lender_effects(training_set)[1000:]).max() > 0.3


def test_model_uses_seen_lenders_and_averages_over_unseen_ones(labelled):
    everything = np.ones(labelled.num_rows, dtype=bool)
    model = train_ensemble(
        TrainingSet.prepare(Examples.encode(labelled, FEATURES), everything), trees_only(20)
    )
    known, new = (model.predict_raw(rows, threads=1) for rows in (labelled, mask_lender(labelled)))
    outcomes = labelled["label"].to_numpy()
    assert np.mean((known - outcomes) ** 2) < np.mean((new - outcomes) ** 2) - 0.02
    assert known.std() > new.std()
    assert new.mean() == pytest.approx(outcomes.mean(), abs=0.1)


def test_ensemble_has_different_members(labelled, monkeypatch):
    two_members = (
        params().ensembles["trees_only"].model_copy(update={"members": ({}, {"num_leaves": 7})})
    )
    two = params().model_copy(update={"ensembles": {"trees_only": two_members}})
    monkeypatch.setattr(boosting, "params", lambda: two)
    everything = np.ones(labelled.num_rows, dtype=bool)
    training_set = TrainingSet.prepare(Examples.encode(labelled, FEATURES), everything)
    model = train_ensemble(training_set, trees_only(5))
    booster = lightgbm.Booster(model_str=model.trees)
    assert booster.num_trees() == 10
    table = model.encoder.encode(labelled)
    first, second = (booster.predict(table, start_iteration=at, num_iteration=5) for at in (0, 5))
    assert not np.array_equal(first, second)
    leaves = booster.trees_to_dataframe().query("left_child.isna()").groupby("tree_index").size()
    assert leaves[:5].max() > 7 >= leaves[5:].max()
    # The folds of the lender effects differ, too.
    effects = [
        training_set.member_matrix(number)[:, boosting._effect_columns(training_set.examples)]
        for number in (0, 1)
    ]
    assert not np.array_equal(*effects)


def test_member_has_the_trees_of_each_stage_in_order(labelled):
    everything = np.ones(labelled.num_rows, dtype=bool)
    training_set = TrainingSet.prepare(Examples.encode(labelled, FEATURES), everything)
    model = train_ensemble(training_set, EnsembleSize("additive_first", (6, 4)))
    leaves = lightgbm.Booster(model_str=model.trees).trees_to_dataframe()
    of_tree = leaves[leaves["left_child"].isna()].groupby("tree_index").size()
    assert list(of_tree[:6]) == [2] * 6
    assert of_tree[6:].min() > 2
    assert len(of_tree) == 10
    # A later stage continues the one before it.
    curves = train_ensemble(training_set, EnsembleSize("additive_first", (6, 1))).trees
    of_curves = lightgbm.Booster(model_str=curves).predict(training_set.matrix, num_iteration=6)
    of_both = lightgbm.Booster(model_str=model.trees).predict(training_set.matrix, num_iteration=6)
    assert np.array_equal(of_curves, of_both)


def add_label(table: pa.Table, odds: np.ndarray) -> pa.Table:
    """Return `table` with a label drawn from these log-odds."""
    likely = sigmoid(odds)
    label = np.random.default_rng(11).uniform(size=table.num_rows) < likely
    return table.append_column("label", pa.array(label.astype(float)))


def standardize(table: pa.Table, name: str) -> np.ndarray:
    values = table[name].to_numpy().astype(float)
    return (values - np.nanmean(values)) / np.nanstd(values)


def test_ensemble_is_selected_by_the_structure_of_the_data(pairs, monkeypatch):
    curves, trees = params().ensembles["additive_first"], params().ensembles["trees_only"]
    additive_only = curves.model_copy(update={"stages": curves.stages[:1]})
    ensembles = {"curves": additive_only, "trees": trees}
    two_ensembles = params().model_copy(update={"ensembles": ensembles})
    monkeypatch.setattr(boosting, "params", lambda: two_ensembles)
    score, burden = (np.nan_to_num(standardize(pairs, n)) for n in ("bureau_score", "debt_monthly"))
    early = np.arange(pairs.num_rows) < pairs.num_rows * 2 // 3
    sums = add_label(pairs, 2 * score - 2 * burden)
    interaction = add_label(pairs, 6 * np.sign(score * burden))
    chosen = [
        select_size(TrainingSet.prepare(Examples.encode(table, FEATURES), early), ~early).ensemble
        for table in (sums, interaction)
    ]
    assert chosen == ["curves", "trees"]


def test_only_scaling_stages_have_more_trees_for_more_rows():
    assert EnsembleSize("additive_first", (40, 10)).scale(1.5) == EnsembleSize(
        "additive_first", (40, 15)
    )
    assert EnsembleSize("trees_only", (1,)).scale(0.1).trees == (1,)
