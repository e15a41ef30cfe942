"""Reasons hold on real decisions, not only in an invented market."""

import pytest

from pipelines.bench.studies import reasons
from pipelines.core.settings import PROJECT, Settings

pytestmark = pytest.mark.prove

SAMPLE = PROJECT / "expectations" / "mappings" / "samples" / "hmda_sample.parquet"


def test_reasons_of_real_home_loan_decisions_hold(tmp_path):
    found = reasons.main(
        Settings(home=tmp_path), ["--mapping", "hmda", "--file", str(SAMPLE), "--rows", "1000"]
    )
    assert found["reasons"] > 3000
    assert found["peer_values"] >= 0.95
    assert found["reference"] >= 0.98
    assert found["by_contributions_alone"]["reference"] < found["reference"]
    assert found["max_difference"] < 1e-9
