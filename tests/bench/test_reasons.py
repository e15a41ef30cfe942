"""`bench reasons` says how many reasons hold and how fast they are named."""

import pytest

from pipelines.bench.studies import reasons
from pipelines.core.errors import InputMissing, UsageError
from tests.helpers.trained_market import DAY


def test_the_figures_of_a_home_that_stands(market):
    found = reasons.main(market, ["--date", f"{DAY}", "--rows", "200"])
    assert found["rows"] == 200
    assert found["reasons"] > 500
    assert 0.95 <= found["peer_values"] <= 1
    assert found["max_difference"] < 1e-9
    assert found["contributions_per_second"] > 0
    assert found["peers"]["lightgbm"]["contributions_per_second"] > 0
    assert found["by_contributions_alone"]["reference"] < found["reference"]


def test_a_stated_prior_has_no_reasons_to_be_tried(market):
    with pytest.raises(InputMissing, match="the risk model that scores 2026-11-20 is a stated"):
        reasons.main(market, ["--date", f"{DAY}", "--model", "risk"])


@pytest.mark.parametrize("options", [[], ["--mapping", "hmda"], ["--file", "x.csv"]])
def test_without_a_date_or_a_whole_file_nothing_is_measured(market, options):
    with pytest.raises(UsageError, match="either --date, or --mapping and --file"):
        reasons.main(market, options)
