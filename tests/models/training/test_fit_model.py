"""A model is kept only if it has learned something that holds for later leads."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from models.params import Features
from models.scoring.estimators import Prior, TrainedModel
from models.train_models import fit_or_use_prior
from models.training.fit_model import fit
from models.validation import splits
from pipelines.core.statistics import sigmoid

FEATURES = Features(numbers=("bureau_score",))


def make_examples(*, reverses: bool) -> pa.Table:
    """Return 4,000 labelled leads in time; a high score raises the probability.

    Args:
        reverses: In the last fifth of the time a high score lowers it.
    """
    rows = 4000
    chance = np.random.default_rng(7)
    score = chance.uniform(400, 800, rows)
    probability = sigmoid((score - 600) / 90)  # too good a score would be a leak
    if reverses:
        probability[rows * 4 // 5 :] = 1 - probability[rows * 4 // 5 :]
    days = [date(2026, 1, 1) + timedelta(days=row // 40) for row in range(rows)]
    return pa.table(
        {
            "business_date": days,
            "label_known_on": [day + timedelta(days=1) for day in days],
            "segment": ["consumer"] * rows,
            "institution_id": ["a", "b"] * (rows // 2),
            "bureau_score": score,
            "label": (chance.uniform(size=rows) < probability).astype(np.int64),
        }
    )


@pytest.mark.parametrize(("reverses", "kind"), [(False, TrainedModel), (True, Prior)])
def test_prior_replaces_a_model_that_ranks_later_leads_worse_than_chance(reverses, kind):
    entry = fit_or_use_prior("approval", make_examples(reverses=reverses), FEATURES)
    assert isinstance(entry.estimator, kind)
    assert ("worse than chance" in entry.metadata.get("reason", "")) == reverses


def test_last_split_validates_on_the_reversed_part():
    assert splits.split_by_time(make_examples(reverses=True))[-1].validate[-800:].all()


def test_recency_weights_favour_the_newer_part():
    """Years ago the effect of the score was reversed; without recency weights that still counts."""
    table = make_examples(reverses=False)
    years_ago = np.arange(table.num_rows) < 2000
    label = np.where(years_ago, 1 - table["label"].to_numpy(), table["label"].to_numpy())
    days = table["business_date"].to_numpy() - np.where(years_ago, 365 * 12, 0).astype("m8[D]")
    changed = table.set_column(0, "business_date", pa.array(days)).set_column(
        table.column_names.index("label"), "label", pa.array(label)
    )
    rows = np.random.default_rng(1).permutation(table.num_rows) < 3000
    parts = [splits.Split(rows, ~rows)] * 2
    with_weights, without = (
        fit(changed, FEATURES, parts, use_recency=use_recency)[0] for use_recency in (True, False)
    )
    recent = table.filter(pa.array(~years_ago))
    high = np.asarray(recent["bureau_score"]) > 700
    weighted, unweighted = (
        model.predict_raw(recent, threads=1)[high].mean() for model in (with_weights, without)
    )
    assert weighted > 0.7
    assert unweighted < 0.65
