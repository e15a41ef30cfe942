"""No feature list may contain a protected or personal attribute."""

import pytest
from pydantic import ValidationError

from expectations import policy
from models.errors import ForbiddenFeature
from models.features.encoder import PAIR_FEATURES
from models.params import (
    PARAMS_FILE,
    exclude_features,
    forbidden_columns,
    params,
    params_text,
    parse_params,
    replace_params,
)
from pipelines.bench.shell import run_in_new_process
from tests.helpers.mart_schemas import SCHEMAS

TEXT = PARAMS_FILE.read_text("utf-8")


def with_lead_number(name: str) -> str:
    changed = TEXT.replace("      - income_monthly\n", f"      - income_monthly\n      - {name}\n")
    assert changed != TEXT
    return changed


@pytest.mark.parametrize("name", ["gender", "ethnicity", "race", "religion", "marital_status"])
def test_protected_attribute_is_forbidden(name):
    with pytest.raises(ForbiddenFeature, match=rf"\b{name}\b.*protected\.yml.*Nothing was trained"):
        parse_params(with_lead_number(name))


@pytest.mark.parametrize("name", ["id_number", "phone", "full_name", "birth_date"])
def test_personal_attribute_is_forbidden(name):
    with pytest.raises(ForbiddenFeature, match=name):
        parse_params(with_lead_number(name))


def test_current_features_are_allowed():
    named = {name for group in params().features.values() for name in group.names}
    assert named
    assert not named & forbidden_columns()


def test_every_feature_is_a_mart_column_or_computed():
    columns = set(SCHEMAS["training_pairs"].names)
    computed = {name for group in params().features.values() for name in group.names} - columns
    assert computed == set(PAIR_FEATURES)
    assert {name for level in params().lender_effects.levels for name in level.columns} <= columns


def test_every_feature_has_a_reason_code():
    for model in params().models:
        assert set(params().model_features(model).names) <= set(policy.reason_codes())


def test_costs_and_revenue_of_banyan_are_no_features():
    named = {name for group in params().features.values() for name in group.names}
    assert not named & {"price", "price_model", "daily_quota", "daily_budget"}
    assert "channel_cost_per_lead" not in named


@pytest.mark.parametrize("cuts", ["[0.8, 0.6]", "[0.6, 1.0]", "[0.6]"])
def test_cuts_without_validation_rows_are_an_error(cuts):
    changed = TEXT.replace("time_split_cuts: [0.6, 0.8]", f"time_split_cuts: {cuts}")
    assert changed != TEXT
    with pytest.raises(ValidationError):
        parse_params(changed)


def test_growing_counts_are_no_features():
    named = {name for group in params().features.values() for name in group.names}
    assert not {name for name in named if name.endswith(("_decisions", "_leads_30d"))}


def test_excluded_features_are_in_no_group_and_no_constraint():
    left_out = {"income_monthly", "supply_buyers_late_share", "supply_buyers_risk"}
    changed = parse_params(exclude_features(TEXT, left_out))
    for model in params().models:
        before, after = params().model_features(model), changed.model_features(model)
        assert after == before.without(frozenset(left_out))
    assert changed.model_features("risk") != params().model_features("risk")
    assert changed.ensembles == params().ensembles


def _replace_and_read(text: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    before = params().model_features("risk").names
    replace_params(text)
    return before, params().model_features("risk").names, params_text()


def test_parameters_are_replaced_in_one_process_only():
    everything = params().model_features("risk").names
    changed = exclude_features(TEXT, {"bureau_score"})
    before, after, text = run_in_new_process(_replace_and_read, changed)
    assert before == everything == params().model_features("risk").names
    assert set(before) - set(after) == {"bureau_score"}
    assert text == changed
    assert params_text() == TEXT


def test_forbidden_parameters_replace_nothing():
    with pytest.raises(ForbiddenFeature):
        replace_params(with_lead_number("gender"))
    assert params_text() == TEXT
