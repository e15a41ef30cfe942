"""Monotone constraints hold: more debt never lowers the risk, more means never raise it."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from models.features.columns import to_floats
from models.params import Features, params
from models.scoring.estimators import TrainedModel
from models.training.fit_model import fit
from models.validation.splits import split_by_time
from pipelines.core.statistics import sigmoid
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.representatives import keep

ROWS = 6_000
STEPS = np.linspace(0, 1, 41)
RISK = params().model_features("risk")


def make_reversed_examples() -> pa.Table:
    """Return examples that contradict every monotone constraint of the risk model."""
    random = np.random.default_rng(11)
    values = {name: random.uniform(size=ROWS) for name in RISK.numbers}
    pull = -2.0 + 2 * values["age_years"]
    for direction, name in zip(RISK.monotone_constraints, RISK.names, strict=True):
        if direction:
            pull -= 0.8 * direction * (values[name] - 0.5)
    days = [date(2026, 1, 1) + timedelta(days=row // 60) for row in range(ROWS)]
    columns = {
        field.name: pa.array(values[field.name])
        if field.name in values
        else pa.nulls(ROWS, pa.string())
        for field in SCHEMAS["training_pairs"]
    }
    label = random.uniform(size=ROWS) < sigmoid(pull)
    return pa.table(
        columns | {"business_date": days, "label_known_on": days, "label": label.astype(float)}
    )


@pytest.fixture(scope="module")
def examples() -> pa.Table:
    return make_reversed_examples()


@pytest.fixture(scope="module")
def risk(examples) -> TrainedModel:
    return fit(examples, RISK, split_by_time(examples))[0]


def sweep(model: TrainedModel, examples: pa.Table, name: str) -> np.ndarray:
    """Return the predictions of 50 leads while one of their numbers rises, shape (leads, steps)."""
    leads = examples.slice(0, 50)
    place = leads.column_names.index(name)
    steps = [
        model.predict(leads.set_column(place, name, pa.array(np.full(50, step))), threads=1)
        for step in STEPS
    ]
    return np.column_stack(steps)


@pytest.mark.parametrize("name", keep(range(0, 18, 3), RISK.monotone_increasing))
def test_risk_never_falls_with(risk, examples, name):
    assert (np.diff(sweep(risk, examples, name)) >= 0).all()


@pytest.mark.parametrize("name", RISK.monotone_decreasing)
def test_risk_never_rises_with(risk, examples, name):
    assert (np.diff(sweep(risk, examples, name)) <= 0).all()


@pytest.mark.prove
def test_without_constraints_the_data_reverse_the_directions(examples):
    free = Features(numbers=RISK.numbers, categories=RISK.categories)
    model = fit(examples, free, split_by_time(examples))[0]
    for name, direction in (("debt_monthly", 1), ("bureau_score", -1), ("income_monthly", -1)):
        ends = sweep(model, examples, name)[:, [0, -1]]
        assert (direction * np.diff(ends)).mean() < -0.01


def test_unconstrained_feature_is_learned(risk, examples):
    predicted = risk.predict(examples, threads=1)
    assert np.corrcoef(predicted, to_floats(examples, "age_years"))[0, 1] > 0.5


def test_constraints_include_what_lenders_and_regulators_expect():
    assert {"debt_monthly", "debt_to_income", "supply_buyers_late_share"} <= set(
        RISK.monotone_increasing
    )
    assert {"bureau_score", "income_monthly"} <= set(RISK.monotone_decreasing)
    assert "suggested_apr" in params().model_features("take_up").monotone_decreasing


@pytest.mark.parametrize("stated", [("region",), ("income_monthly", "income_monthly")])
def test_constraint_on_a_category_or_stated_twice_is_an_error(stated):
    with pytest.raises(ValidationError, match="monotone_increasing"):
        Features(numbers=("income_monthly",), categories=("region",), monotone_increasing=stated)
