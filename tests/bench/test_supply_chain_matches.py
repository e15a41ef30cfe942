"""The study of the chain's matches compares days that differ in the features of the models only."""

import pytest

from models.params import params, parse_params
from pipelines.bench.studies.supply_chain import MarketSize, feature_sets
from pipelines.bench.studies.supply_chain_matches import (
    MEASURED,
    PER_LEAD,
    list_params,
    match_market,
    summarise,
)
from pipelines.core.settings import Settings

SMALL = MarketSize(days=3, leads_per_day=120, institutions=6, seller_share=0.6, generosity=2.0)


def test_the_parameters_differ_in_what_the_models_know_of_partners():
    parsed = {name: parse_params(text) for name, text in list_params().items()}
    for name, features in feature_sets().items():
        assert set(parsed[name].model_features("risk").names) == set(features.names)
    assert parsed["partners"] == params()
    for model in ("approval", "take_up"):
        assert parsed["buyers_late"].model_features(model) == params().model_features(model)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory):
    settings = Settings(home=tmp_path_factory.mktemp("firms"))
    texts = {name: list_params()[name] for name in ("own", "partners")}
    return match_market(settings, "hop1", SMALL, 1, texts)


@pytest.mark.prove
def test_a_day_of_firms_is_matched_and_measured_with_two_sets_of_features(measured):
    assert set(measured) == {"own", "partners", "broadcast"}
    matched, broadcast = measured["partners"], measured["broadcast"]
    assert matched["leads"] > 100
    assert 0 < matched["default_rate"] < 1
    assert matched["cost_share_of_yield"] > 0
    assert matched["surplus_per_lead"] > broadcast["surplus_per_lead"]


@pytest.mark.prove
def test_a_stated_prior_knows_no_partners(measured):
    for name in ("own", "partners"):
        assert measured[name]["models"]["risk"]["source"] == "prior"
    assert measured["own"] == measured["partners"]


def test_a_gain_is_the_paired_difference_of_markets():
    def market(level: float, gain: float) -> dict:
        names = (*MEASURED, *(f"{name}_per_lead" for name in PER_LEAD))
        facts = {"leads": 10, "quota": 5, "models": {"risk": {"source": "prior"}}}
        trained = {"models": {"risk": {"source": "model", "auc": 0.7}}}
        before = dict.fromkeys(names, level) | facts
        after = dict.fromkeys(names, level + gain) | facts | trained
        return {"own": before, "buyers_late": before, "partners": after, "broadcast": before}

    summary = summarise([market(0.2, 0.02), market(0.9, 0.04), market(0.4, 0.06)])
    assert summary["own"]["default_rate"] == 0.5
    gain = summary["gain"]["over_buyers_late"]["default_rate"]
    assert gain == {"mean": 0.04, "low": -0.0097, "high": 0.0897}
    assert summary["models"]["partners"] == {"trained": 3, "auc": 0.7}
    assert summary["models"]["own"] == {"trained": 0, "auc": None}
