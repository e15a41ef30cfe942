"""A proxy of a protected attribute is detected and named; without one the AUC is 0.5."""

import numpy as np
import pyarrow as pa
import pytest

from models.fairness_proxies import AttributeInference, infer_attributes
from models.params import Features, params

FEATURES = Features(numbers=("income_monthly", "amount"), categories=("region", "housing"))
ROWS = 2500


def leads(seed: int = 3) -> tuple[pa.Table, np.ndarray]:
    """Return random features, and a uniform random number for each row."""
    random = np.random.default_rng(seed)
    table = pa.table(
        {
            "income_monthly": np.where(
                random.random(ROWS) < 0.1, np.nan, random.lognormal(9, 0.5, ROWS)
            ),
            "amount": random.lognormal(10, 0.5, ROWS),
            "region": random.choice(["CN-31", "CN-44", "CN-11"], ROWS),
            "housing": random.choice(["own", "rent", "family"], ROWS),
        }
    )
    return table, random.random(ROWS)


def infer(table: pa.Table, values: object) -> AttributeInference:
    protected = {"gender": pa.chunked_array([pa.array(values)])}
    (inference,) = infer_attributes(table, protected, FEATURES)
    return inference


def test_random_features_predict_nothing():
    table, chance = leads()
    inference = infer(table, np.where(chance < 0.5, "female", "male"))
    assert inference.leads == ROWS
    assert inference.auc_low < 0.5 < inference.auc_high
    assert inference.auc_high - inference.auc_low < 0.06
    assert len(inference.groups) == 1  # of two groups only one is measured


@pytest.mark.parametrize(("planted", "name"), [("rent", "housing"), (None, "income_monthly")])
def test_a_synthetic_proxy_is_detected_and_named_first(planted, name):
    table, chance = leads()
    is_proxy = (
        np.asarray(table["housing"]) == planted
        if planted
        else np.abs(np.log(table["income_monthly"].to_numpy()) - 9) < 0.3  # no order of values
    )
    inference = infer(
        table, np.where(np.where(chance < 0.1, ~is_proxy, is_proxy), "female", "male")
    )
    assert inference.auc_low > 0.8
    (group,) = inference.groups
    strongest, second, _ = group.strongest
    assert strongest.feature == name
    assert strongest.auc_low > 0.75
    assert second.auc < 0.6


def test_missingness_that_depends_on_the_group_is_a_proxy():
    table, chance = leads()
    is_missing = np.isnan(table["income_monthly"].to_numpy())
    inference = infer(table, np.where(is_missing | (chance < 0.2), "female", "male"))
    assert inference.groups[0].strongest[0].feature == "income_monthly"
    assert inference.auc_low > 0.6


def test_each_large_group_is_separated_from_all_others():
    table, chance = leads()
    groups = np.where(chance < 0.7, "large", np.where(chance < 0.95, "middle", "small"))
    groups[: params().min_rows_of_a_class - 20] = "tiny"
    inference = infer(table, np.where(np.asarray(table["region"]) == "CN-11", "middle", groups))
    assert {group.group for group in inference.groups} == {"large", "middle", "small"}
    areas = {group.group: group.auc for group in inference.groups}
    assert areas["middle"] > 0.75
    assert min(areas.values()) < inference.auc < max(areas.values())


def test_leads_without_the_attribute_are_excluded():
    table, chance = leads()
    values = np.where(chance < 0.4, None, np.where(chance < 0.7, "female", "male"))
    values[:10] = ""
    assert infer(table, values.tolist()).leads == sum(bool(value) for value in values)


@pytest.mark.parametrize("values", [[None] * ROWS, ["female"] * ROWS])
def test_without_two_large_groups_there_is_no_auc(values):
    table, _ = leads()
    protected = {"gender": pa.chunked_array([pa.array(values, pa.string())])}
    inferences = infer_attributes(table, protected, FEATURES)
    assert [(row.auc, row.groups) for row in inferences] == [(None, ())]
