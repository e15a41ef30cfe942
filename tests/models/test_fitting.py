"""A model is kept only if it has learned something that holds for later leads."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from models import splits
from models.estimators import Prior, Trained
from models.params import Features
from models.train import fit_or_prior

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
            "bureau_score": score,
            "label": (chance.uniform(size=rows) < likely).astype(np.int64),
        }
    )


@pytest.mark.parametrize(("turns_over", "kind"), [(False, Trained), (True, Prior)])
def test_a_model_that_later_leads_prove_wrong_gives_way_to_the_prior(turns_over, kind):
    entry = fit_or_prior("approval", examples(turns_over=turns_over), FEATURES)
    assert isinstance(entry.estimator, kind)
    assert ("worse than chance" in entry.facts.get("reason", "")) == turns_over


def test_the_last_split_checks_the_part_that_turned_over():
    assert splits.in_time(examples(turns_over=True))[-1].check[-800:].all()
