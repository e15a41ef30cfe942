"""A group of optional features stays in a model only if it improves what it predicts."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.params import Features, params, params_text, parse_params
from models.scoring.estimators import TrainedModel
from models.train_models import fit_or_use_prior
from models.training.boosting import EnsembleSize
from models.training.fit_model import fit
from models.training.optional_features import GroupTest, compare_groups
from models.validation.splits import split_by_time
from pipelines.core.statistics import sigmoid
from tests.helpers.mart_schemas import SCHEMAS

ROWS = 4_000
PARTNERS = tuple(f"partner_{number}" for number in range(20))
FEATURES = Features(numbers=("bureau_score", *PARTNERS), monotone_increasing=PARTNERS[:5])
GROUPS = {"partners": PARTNERS}
SIZE = EnsembleSize("additive_first", (60, 5))


def make_examples(effect: float, *, seed: int = 3, with_partners: bool = True) -> pa.Table:
    """Return labelled leads, about a tenth of which default, in time.

    Args:
        effect: Log-odds of default for each standard deviation of the first partner column; the
            other ones are random.
        seed: Another seed is another sample.
        with_partners: Whether any lead has partners.
    """
    chance = np.random.default_rng(seed)
    score = chance.normal(size=ROWS)
    partners = {name: chance.normal(size=ROWS) for name in PARTNERS}
    default = sigmoid(-2.3 - 0.7 * score + effect * partners[PARTNERS[0]])
    days = [date(2026, 1, 1) + timedelta(days=row // 40) for row in range(ROWS)]
    columns: dict[str, Any] = {
        "channel_id": ["search"] * ROWS,
        "lead_id": [f"{row}" for row in range(ROWS)],
        "business_date": days,
        "label_known_on": days,
        "bureau_score": score,
        "label": (chance.uniform(size=ROWS) < default).astype(np.float64),
    }
    empty = pa.nulls(ROWS, pa.float64())
    return pa.table(columns | {n: v if with_partners else empty for n, v in partners.items()})


def replace_columns(table: pa.Table, **columns: Any) -> pa.Table:
    """Return `table` with other values in some columns."""
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def run_test(table: pa.Table) -> list[GroupTest]:
    return list(compare_groups(table, FEATURES, GROUPS, SIZE, use_recency=False))


def fit_with(table: pa.Table, groups: dict[str, tuple[str, ...]]) -> tuple[TrainedModel, Any]:
    return fit(table, FEATURES, split_by_time(table), optional=groups)


def test_a_group_that_tells_of_the_outcome_is_kept_with_the_same_bytes_as_without_a_test():
    table = make_examples(effect=0.8)
    tested, metadata = fit_with(table, GROUPS)
    untested, _ = fit_with(table, {})
    found = metadata["optional_features"]["partners"]
    assert found["kept"]
    assert 0 < found["gain_low"] < found["gain"] < found["gain_high"]
    assert found["auc_with"] > found["auc_without"] + 0.02
    assert tested.trees == untested.trees
    assert tested.as_dict() == untested.as_dict()


def test_a_group_of_chance_is_left_out_as_if_it_were_no_feature():
    table = make_examples(effect=0.0)
    model, metadata = fit_with(table, GROUPS)
    found = metadata["optional_features"]["partners"]
    assert not found["kept"]
    assert found["columns"] == list(PARTNERS)
    assert model.encoder.features.names == ("bureau_score",)
    alone, _ = fit(table, Features(numbers=("bureau_score",)), split_by_time(table))
    assert model.trees == alone.trees


def test_random_groups_are_hardly_ever_kept():
    samples = [make_examples(0.0, seed=seed) for seed in range(6)]
    kept = [test.is_kept for sample in samples for test in run_test(sample)]
    assert len(kept) == 6
    assert sum(kept) <= 1


def test_a_group_without_a_value_has_nothing_to_decide():
    table = make_examples(effect=0.0, with_partners=False)
    model, metadata = fit_with(table, GROUPS)
    assert "optional_features" not in metadata
    assert model.trees == fit_with(table, {})[0].trees


def test_rows_of_one_lead_are_left_out_together():
    """Forty leads of a hundred rows: a column that names the lead knows the label of its rows."""
    table = make_examples(effect=0.0)
    lead = np.arange(ROWS) % 40
    labels = np.random.default_rng(6).permutation(40) < 12
    named = replace_columns(
        table,
        lead_id=[f"{number}" for number in lead],
        label=labels[lead].astype(np.float64),
        partner_0=lead.astype(np.float64),
    )
    apart = replace_columns(named, lead_id=[f"{row}" for row in range(ROWS)])
    assert [test.is_kept for test in (*run_test(named), *run_test(apart))] == [False, True]


def test_an_inferred_row_is_no_evidence():
    """Half of the rows are inferred; the group predicts the labels of these only."""
    observed, inferred = make_examples(effect=0.0), make_examples(effect=3.0, seed=4)
    renamed = replace_columns(inferred, lead_id=[f"inferred {row}" for row in range(ROWS)])
    both = pa.concat_tables([observed, renamed])
    marks = pa.array(np.repeat([False, True], ROWS))
    (unmarked,) = run_test(both)
    (marked,) = run_test(both.append_column("is_inferred", marks))
    assert unmarked.is_kept
    assert not marked.is_kept


def test_the_pipelines_risk_model_tests_the_columns_on_partners():
    spec = params().models["risk"]
    named = spec.optional_features["partners"]
    assert {"supply_buyers_risk", "supply_buyers_late_share"} <= set(named)
    assert not {name for name in named if "buyer" not in name and "seller" not in name} - {
        "supply_anchor_payments",
        "supply_confirmed_share",
        "supply_days_gap",
    }


def make_business_loans(effect: float) -> pa.Table:
    """Return loans of businesses; one column on buyers has an `effect`."""
    chance = np.random.default_rng(12)
    features = params().model_features("risk")
    values = {name: chance.uniform(size=ROWS) for name in features.numbers}
    score = chance.uniform(500, 800, ROWS)
    default = sigmoid(-2.6 - (score - 650) / 100 + effect * (values["supply_buyers_risk"] - 0.5))
    days = [date(2026, 1, 1) + timedelta(days=row // 40) for row in range(ROWS)]
    columns: dict[str, Any] = {
        field.name: values.get(field.name, pa.nulls(ROWS, pa.string()))
        for field in SCHEMAS["training_pairs"]
    }
    columns |= {name: values[name] for name in features.numbers}
    columns |= {
        "channel_id": ["search"] * ROWS,
        "lead_id": [f"{row}" for row in range(ROWS)],
        "segment": ["business"] * ROWS,
        "bureau_score": score,
        "business_date": days,
        "label_known_on": days,
        "label": (chance.uniform(size=ROWS) < default).astype(np.float64),
    }
    return pa.table(columns)


@pytest.mark.parametrize("effect", [0.0, 5.0])
def test_the_risk_model_that_is_published_has_partners_only_if_they_tell(effect):
    loans = make_business_loans(effect)
    version = fit_or_use_prior("risk", loans, params().model_features("risk"))
    found = version.metadata["optional_features"]["partners"]
    assert found["kept"] is (effect > 0)
    assert isinstance(version.estimator, TrainedModel)
    names = set(version.estimator.encoder.features.names)
    assert ("supply_buyers_risk" in names) is (effect > 0)
    assert {"supply_paid_late_share", "peers_arrears_rate", "bureau_score"} <= names


@pytest.mark.parametrize("wrong", ["supply_buyer_risk", "supply_buyers_late_share"])
def test_an_optional_feature_is_one_of_the_model_and_named_once(wrong):
    stated = "    optional_features:\n"
    text = params_text().replace(stated, f"{stated}      new: [{wrong}]\n", 1)
    with pytest.raises(ValueError, match=wrong):
        parse_params(text)
