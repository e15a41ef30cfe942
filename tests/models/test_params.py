"""What a model may look at: whatever params.yml says, never a protected or personal attribute."""

import pytest
from pydantic import ValidationError

from expectations import policy
from models.errors import ForbiddenFeature
from models.features.encoder import PAIR_FEATURES
from models.params import FILE, forbidden, params, parse
from tests.helpers.mart_schemas import SCHEMAS

TEXT = FILE.read_text("utf-8")


def with_lead_number(name: str) -> str:
    changed = TEXT.replace("      - income_monthly\n", f"      - income_monthly\n      - {name}\n")
    assert changed != TEXT
    return changed


@pytest.mark.parametrize("name", ["gender", "ethnicity", "race", "religion", "marital_status"])
def test_a_protected_attribute_is_refused_by_name(name):
    with pytest.raises(ForbiddenFeature, match=rf"\b{name}\b.*protected\.yml.*Nothing was trained"):
        parse(with_lead_number(name))


@pytest.mark.parametrize("name", ["id_number", "phone", "full_name", "birth_date"])
def test_what_says_who_a_person_is_is_refused_too(name):
    with pytest.raises(ForbiddenFeature, match=name):
        parse(with_lead_number(name))


def test_the_parameters_in_force_hold_nothing_forbidden():
    named = {name for group in params().features.values() for name in group.names}
    assert named
    assert not named & forbidden()


def test_every_feature_is_a_column_of_the_marts_or_computed_of_the_pair():
    columns = set(SCHEMAS["training_pairs"].names)
    computed = {name for group in params().features.values() for name in group.names} - columns
    assert computed == set(PAIR_FEATURES)
    assert {name for level in params().effects.levels for name in level.of} <= columns


def test_every_feature_has_a_reason_code():
    for model in params().models:
        assert set(params().features_of(model).names) <= set(policy.reason_codes())


def test_money_that_banyan_pays_or_earns_is_no_feature():
    named = {name for group in params().features.values() for name in group.names}
    assert not named & {"price", "price_model", "daily_quota", "daily_budget"}
    assert "channel_cost_per_lead" not in named


@pytest.mark.parametrize("cuts", ["[0.8, 0.6]", "[0.6, 1.0]", "[0.6]"])
def test_cuts_that_leave_nothing_to_check_on_are_refused(cuts):
    changed = TEXT.replace("cuts: [0.6, 0.8]", f"cuts: {cuts}")
    assert changed != TEXT
    with pytest.raises(ValidationError):
        parse(changed)


def test_counts_that_only_grow_are_no_feature():
    named = {name for group in params().features.values() for name in group.names}
    assert not {name for name in named if name.endswith(("_decisions", "_leads_30d"))}
