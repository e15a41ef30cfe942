"""The policies in force on a day, and the guarantees of each."""

from datetime import date
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from expectations import policy
from expectations.contracts import contracts, load
from expectations.policy_types import PriceCap, Regulation, RiskTiers

TODAY = date(2026, 11, 22)


@pytest.mark.parametrize(
    ("kind", "day", "cap"),
    [
        ("bank", date(2015, 8, 31), None),
        ("bank", date(2025, 9, 30), 0.36),
        ("bank", date(2025, 10, 1), 0.24),
        ("consumer_finance", TODAY, 0.24),
        ("other", TODAY, 0.24),
        ("micro_lender", date(2025, 11, 30), 0.36),
        ("micro_lender", date(2025, 12, 1), 0.24),
        ("micro_lender", date(2027, 12, 30), 0.24),
        ("micro_lender", date(2027, 12, 31), 0.12),
    ],
)
@pytest.mark.parametrize("segment", ["consumer", "business"])
def test_the_price_cap_in_china_is_that_of_the_day_and_licence(kind, day, cap, segment):
    assert policy.price_cap(kind, segment, "CNY", day) == cap


def test_no_price_cap_is_known_for_us_dollars():
    assert policy.price_cap("bank", "consumer", "USD", TODAY) is None


def test_every_kind_of_institution_that_the_contract_knows_has_a_cap_in_china():
    for kind in load("institutions")["kind"].allowed:
        assert policy.price_cap(kind, "consumer", "CNY", TODAY) == 0.24


def test_a_cap_for_one_segment_leaves_the_other_free():
    cap = PriceCap.model_validate(
        {"from": TODAY, "to": TODAY, "segment": "consumer", "currency": "EUR", "cap": 0.2}
        | {"source": "test"}
    )
    assert cap.holds("bank", "consumer", "EUR", TODAY)
    assert not cap.holds("bank", "business", "EUR", TODAY)
    assert not cap.holds("bank", "consumer", "EUR", date(2026, 11, 23))


@pytest.mark.parametrize("day", [date(1997, 2, 28), date(2022, 1, 1), TODAY])
def test_every_dated_policy_covers_the_days_of_the_real_data(day):
    assert policy.identity(day).same_person_days >= 0
    assert policy.consent(day).every_institution == "all"
    assert policy.currencies(day)[policy.base_currency()] == 1.0


def test_the_latest_entry_that_has_begun_holds():
    assert policy.currencies(date(2024, 12, 31))["USD"] == 7.0
    assert policy.currencies(date(2025, 1, 1))["USD"] == 7.2


def test_a_day_before_every_entry_is_refused_with_the_first_day_covered():
    with pytest.raises(LookupError, match=r"holds on 1899-12-31.*begins on 1900-01-01"):
        policy.identity(date(1899, 12, 31))


def test_every_entry_states_its_source():
    stated: tuple[Any, ...] = (
        *policy.price_caps(),
        policy.priors(),
        policy.value(),
        policy.outcomes(),
    )
    assert all(len(entry.source) > 10 for entry in stated)


@pytest.mark.parametrize("segment", ["consumer", "business"])
def test_the_prior_of_default_falls_with_the_score_and_has_a_band_for_no_score(segment):
    bands = [band for band in policy.priors().pd if band.segment == segment]
    scored = [band for band in bands if band.score_from is not None]
    assert len(bands) == len(scored) + 1
    assert scored[0].score_from == 0
    assert [band.score_from for band in scored] == sorted(band.score_from for band in scored)
    assert [band.pd for band in scored] == sorted((band.pd for band in scored), reverse=True)


def test_every_segment_has_its_priors_and_its_horizon():
    segments: tuple[Any, ...] = load("leads")["segment"].allowed
    for segment in segments:
        assert 0 < policy.priors().approve[segment] < 1
        assert 0 < policy.priors().take_up[segment] < 1
        assert policy.outcomes().default_horizon_months[segment] >= 1


def test_a_lead_gets_at_max_the_five_offers_that_were_agreed():
    assert policy.value().max_offers_per_lead == 5


def test_risk_tiers_rise_without_a_gap_to_the_certain_default():
    bounds = [tier.pd_below for tier in policy.risk_tiers()]
    assert bounds == [*sorted(bounds[:-1]), None]


@pytest.mark.parametrize("bounds", [[0.1, 0.05, None], [0.05, 0.1], [None, 0.1, None]])
def test_risk_tiers_that_overlap_or_end_are_refused(bounds):
    tiers = [{"tier": str(place), "pd_below": bound} for place, bound in enumerate(bounds)]
    with pytest.raises(ValidationError, match="must rise, and only the last be absent"):
        RiskTiers.model_validate({"decided_on": TODAY, "source": "test", "tiers": tiers})


def test_every_protected_column_of_a_contract_is_protected_by_policy():
    columns = {c.name for contract in contracts() for c in contract.columns if c.protected}
    assert columns == {"gender", "ethnicity"}
    assert columns <= policy.protected()


def test_every_feature_of_a_lead_has_one_reason_code_and_no_protected_one_has_any():
    features = [feature for reason in policy.reasons() for feature in reason.features]
    assert len(features) == len(set(features)) > 60
    assert len({reason.code for reason in policy.reasons()}) == len(policy.reasons())
    assert not policy.protected() & set(features)
    assert policy.reason_codes()["income_monthly"] == "INCOME"


def test_every_lead_column_that_can_be_a_feature_has_its_words():
    not_a_feature = {
        *("lead_id", "captured_at", "campaign_id", "id_type", "device_id", "established_on"),
        *("consent_scope", "consent_at", "consent_version", "consent_withdrawn_at"),
        *("consent_text_sha256", "consent_purpose", "consent_evidence", "consent_by_role"),
        "owner_id_type",
        "dependants",  # would reveal family status
    }
    columns = {c.name for c in load("leads").columns if not (c.personal or c.protected)}
    assert columns - not_a_feature <= set(policy.reason_codes())


def test_an_unknown_key_in_a_policy_is_refused():
    entry = {"from": TODAY, "currency": "CNY", "cap": 0.24, "source": "test", "caps": 1}
    with pytest.raises(ValidationError, match="caps"):
        TypeAdapter(PriceCap).validate_python(entry)


def test_the_version_changes_with_any_byte_of_any_policy(monkeypatch, tmp_path):
    for path in policy.FOLDER.glob("*.yml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(policy, "FOLDER", tmp_path)
    version = policy.version.__wrapped__
    before = version()
    assert before == policy.version()
    with (tmp_path / "value.yml").open("a") as file:
        file.write("\n")
    assert version() != before
    assert version("value") == policy.version("value") != version()


def test_the_register_has_each_rule_of_law_with_its_date_and_a_public_source():
    dates = {entry.id: f"{entry.valid_from}" for entry in policy.regulations()}
    assert (
        dates.items()
        >= {
            "cn_financial_marketing": "2026-09-30",
            "cn_micro_lender_guidance": "2025-12-24",
            "cn_cost_disclosure": "2026-08-01",
            "us_reg_b_2026": "2026-07-21",
            "us_small_business_1071": "2028-01-01",
            "eu_consumer_credit_2": "2026-11-20",
            "eu_ai_act_credit_scoring": "2027-12-02",
            "us_tcpa_revocation": "2025-04-11",
            "us_tcpa_revoke_all": "2027-01-31",
            "us_mortgage_trigger_leads": "2026-03-05",
        }.items()
    )
    assert list(dates) == sorted(dates)
    assert all(entry.sources for entry in policy.regulations())


def test_what_applies_a_rule_of_law_exists_and_names_it():
    ids = {entry.id for entry in policy.regulations()}
    rules = [*policy.price_caps(), *policy.guarantees().least_odds, policy.consent(TODAY)]
    assert {rule.regulation for rule in rules} - {""} <= ids
    assert {rule.regulation for rule in policy.price_caps()} - {""}
    for entry in policy.regulations():
        for place in entry.applied_by:
            file = place.partition(":")[0]
            assert file.startswith("banyan ") or (policy.FOLDER / file).is_file(), place


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "watched"}, "with applied_by"),
        ({"applied_by": []}, "with applied_by"),
        ({"to": "2010-01-01"}, "before it begins"),
        ({"sources": []}, "at least 1 item"),
    ],
)
def test_an_entry_of_the_register_that_says_too_little_is_refused(change, words):
    entry = next(e for e in policy.regulations() if e.state == "applied")
    stated = entry.model_dump(mode="json", by_alias=True) | change
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(Regulation).validate_python(stated)


def test_the_full_version_pins_every_byte_of_every_file(tmp_path):
    files = {path.name: path.read_bytes() for path in policy.FOLDER.glob("*.yml")}
    assert policy.hash_files(files) == policy.full_version()
    for name in ("sign_off.yml", "regulations.yml", "value.yml"):
        assert policy.hash_files(files | {name: files[name] + b" "}) != policy.full_version()
    renamed = {("x" + name if name == "value.yml" else name): data for name, data in files.items()}
    assert policy.hash_files(renamed) != policy.full_version()
