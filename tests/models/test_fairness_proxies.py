"""What stands for a protected attribute is found and named; where nothing does, that is said."""

import numpy as np
import pyarrow as pa
import pytest

from models.fairness_proxies import Guessed, guess
from models.params import Features, params

FEATURES = Features(numbers=("income_monthly", "amount"), categories=("region", "housing"))
ROWS = 2500


def leads(seed: int = 3) -> tuple[pa.Table, np.ndarray]:
    """Return features that have to do with nothing, and what draws from the same chance."""
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


def guessed(table: pa.Table, values: object) -> Guessed:
    (found,) = guess(table, {"gender": pa.chunked_array([pa.array(values)])}, FEATURES)
    return found


def test_features_that_have_to_do_with_nothing_tell_nothing():
    table, chance = leads()
    found = guessed(table, np.where(chance < 0.5, "female", "male"))
    assert found.leads == ROWS
    assert found.auc_low < 0.5 < found.auc_high
    assert found.auc_high - found.auc_low < 0.06
    assert len(found.groups) == 1  # of two groups, one says all


@pytest.mark.parametrize(("planted", "name"), [("rent", "housing"), (None, "income_monthly")])
def test_a_planted_proxy_is_found_and_named_first(planted, name):
    table, chance = leads()
    stands = (
        np.asarray(table["housing"]) == planted
        if planted
        else np.abs(np.log(table["income_monthly"].to_numpy()) - 9) < 0.3  # no order of values
    )
    found = guessed(table, np.where(np.where(chance < 0.1, ~stands, stands), "female", "male"))
    assert found.auc_low > 0.8
    (group,) = found.groups
    strongest, second, _ = group.strongest
    assert strongest.feature == name
    assert strongest.auc_low > 0.75
    assert second.auc < 0.6


def test_a_value_that_is_missing_more_often_for_one_group_gives_it_away():
    table, chance = leads()
    is_missing = np.isnan(table["income_monthly"].to_numpy())
    found = guessed(table, np.where(is_missing | (chance < 0.2), "female", "male"))
    assert found.groups[0].strongest[0].feature == "income_monthly"
    assert found.auc_low > 0.6


def test_each_group_of_several_is_told_from_all_others_and_small_ones_are_not_told():
    table, chance = leads()
    groups = np.where(chance < 0.7, "large", np.where(chance < 0.95, "middle", "small"))
    groups[: params().min_rows_of_a_class - 20] = "tiny"
    found = guessed(table, np.where(np.asarray(table["region"]) == "CN-11", "middle", groups))
    assert {group.group for group in found.groups} == {"large", "middle", "small"}
    areas = {group.group: group.auc for group in found.groups}
    assert areas["middle"] > 0.75
    assert min(areas.values()) < found.auc < max(areas.values())


def test_who_does_not_tell_is_left_out():
    table, chance = leads()
    told = np.where(chance < 0.4, None, np.where(chance < 0.7, "female", "male"))
    told[:10] = ""
    assert guessed(table, told.tolist()).leads == sum(bool(value) for value in told)


@pytest.mark.parametrize("values", [[None] * ROWS, ["female"] * ROWS])
def test_where_no_two_groups_are_told_there_is_no_figure(values):
    table, _ = leads()
    found = guess(table, {"gender": pa.chunked_array([pa.array(values, pa.string())])}, FEATURES)
    assert [(row.auc, row.groups) for row in found] == [(None, ())]
