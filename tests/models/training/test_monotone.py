"""More debt never lowers the risk, more means never raise it, whatever the data say."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from models.features.encoder import numbers
from models.params import Features, params
from models.scoring.estimators import Trained
from models.training.fit_model import fit
from models.validation.splits import in_time
from pipelines.core.statistics import sigmoid
from tests.helpers.mart_schemas import SCHEMAS

ROWS = 6_000
STEPS = np.linspace(0, 1, 41)
RISK = params().features_of("risk")


def perverse() -> pa.Table:
    """Return examples in which every direction of the risk model is wrong, by a little."""
    random = np.random.default_rng(11)
    values = {name: random.uniform(size=ROWS) for name in RISK.numbers}
    pull = -2.0 + 2 * values["age_years"]
    for direction, name in zip(RISK.directions, RISK.names, strict=True):
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
    return perverse()


@pytest.fixture(scope="module")
def risk(examples) -> Trained:
    return fit(examples, RISK, in_time(examples))[0]


def swept(model: Trained, examples: pa.Table, name: str) -> np.ndarray:
    """Return what 50 leads are told as one of their numbers rises, shape (leads, steps)."""
    leads = examples.slice(0, 50)
    place = leads.column_names.index(name)
    steps = [
        model.predict(leads.set_column(place, name, pa.array(np.full(50, step))), threads=1)
        for step in STEPS
    ]
    return np.column_stack(steps)


@pytest.mark.parametrize("name", RISK.rises_with)
def test_risk_never_falls_with(risk, examples, name):
    assert (np.diff(swept(risk, examples, name)) >= 0).all()


@pytest.mark.parametrize("name", RISK.falls_with)
def test_risk_never_rises_with(risk, examples, name):
    assert (np.diff(swept(risk, examples, name)) <= 0).all()


def test_the_data_alone_would_say_the_opposite(examples):
    free = Features(numbers=RISK.numbers, categories=RISK.categories)
    told = fit(examples, free, in_time(examples))[0]
    for name, direction in (("debt_monthly", 1), ("bureau_score", -1), ("income_monthly", -1)):
        ends = swept(told, examples, name)[:, [0, -1]]
        assert (direction * np.diff(ends)).mean() < -0.01


def test_the_model_has_learned_what_no_direction_forbids(risk, examples):
    told = risk.predict(examples, threads=1)
    assert np.corrcoef(told, numbers(examples, "age_years"))[0, 1] > 0.5


def test_what_lenders_and_regulators_expect_is_among_the_directions():
    assert {"debt_monthly", "debt_to_income", "supply_buyers_late_share"} <= set(RISK.rises_with)
    assert {"bureau_score", "income_monthly"} <= set(RISK.falls_with)
    assert "suggested_apr" in params().features_of("take_up").falls_with


@pytest.mark.parametrize("stated", [("region",), ("income_monthly", "income_monthly")])
def test_a_direction_of_no_number_or_told_twice_is_refused(stated):
    with pytest.raises(ValidationError, match="rises_with"):
        Features(numbers=("income_monthly",), categories=("region",), rises_with=stated)
