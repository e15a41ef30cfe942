"""A model is kept only if it has learned something that holds for later leads."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from models.params import Features
from models.scoring.estimators import Prior, Trained
from models.train_models import fit_or_use_prior
from models.training.fit_model import fit
from models.validation import splits

FEATURES = Features(numbers=("bureau_score",))


def examples(*, turns_over: bool) -> pa.Table:
    """Return 4,000 labelled leads in time; those with a high score are likelier to be good.

    Args:
        turns_over: In the last fifth of the time a high score means the opposite.
    """
    rows = 4000
    chance = np.random.default_rng(7)
    score = chance.uniform(400, 800, rows)
    likely = 1 / (1 + np.exp(-(score - 600) / 90))  # too good a score would be a leak
    if turns_over:
        likely[rows * 4 // 5 :] = 1 - likely[rows * 4 // 5 :]
    days = [date(2026, 1, 1) + timedelta(days=row // 40) for row in range(rows)]
    return pa.table(
        {
            "business_date": days,
            "label_known_on": [day + timedelta(days=1) for day in days],
            "segment": ["consumer"] * rows,
            "institution_id": ["a", "b"] * (rows // 2),
            "bureau_score": score,
            "label": (chance.uniform(size=rows) < likely).astype(np.int64),
        }
    )


@pytest.mark.parametrize(("turns_over", "kind"), [(False, Trained), (True, Prior)])
def test_a_model_that_later_leads_prove_wrong_gives_way_to_the_prior(turns_over, kind):
    entry = fit_or_use_prior("approval", examples(turns_over=turns_over), FEATURES)
    assert isinstance(entry.estimator, kind)
    assert ("worse than chance" in entry.facts.get("reason", "")) == turns_over


def test_the_last_split_checks_the_part_that_turned_over():
    assert splits.in_time(examples(turns_over=True))[-1].check[-800:].all()


def test_of_a_world_that_changed_the_newer_part_is_believed():
    """Years ago a high score meant the opposite; where nothing is forgotten that still counts."""
    table = examples(turns_over=False)
    years_ago = np.arange(table.num_rows) < 2000
    label = np.where(years_ago, 1 - table["label"].to_numpy(), table["label"].to_numpy())
    days = table["business_date"].to_numpy() - np.where(years_ago, 365 * 12, 0).astype("m8[D]")
    told = table.set_column(0, "business_date", pa.array(days)).set_column(
        table.column_names.index("label"), "label", pa.array(label)
    )
    rows = np.random.default_rng(1).permutation(table.num_rows) < 3000
    parts = [splits.Split(rows, ~rows)] * 2
    learned, kept = (fit(told, FEATURES, parts, forgets=forgets)[0] for forgets in (True, False))
    asked = table.filter(pa.array(~years_ago))
    high = np.asarray(asked["bureau_score"]) > 700
    believed, of_all = (model.raw(asked, threads=1)[high].mean() for model in (learned, kept))
    assert believed > 0.7
    assert of_all < 0.65
