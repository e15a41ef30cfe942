"""The leak check flags every synthetic leak and no valid column, and stops the training."""

from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from expectations import policy
from expectations.policy_types import AllowedLeak
from models.errors import LeakingFeatures
from models.leakage.check import (
    Leak,
    check_columns,
    check_features,
    find_leaks,
    require_no_leaks,
    select_leaks,
)
from models.leakage.synthetic_leaks import SYNTHETIC_LEAKS, add_synthetic_leaks
from models.params import Features, params
from models.train_models import fit_or_use_prior
from models.training.dataset import load_examples
from pipelines.core.settings import PROJECT
from tests.helpers.marts import write_marts
from tests.helpers.representatives import keep
from tests.helpers.trained_market import DAY

SAMPLES = PROJECT / "expectations/mappings/samples"
SBA = f"read_csv('{SAMPLES}/sba_7a_loans.csv.gz', all_varchar = true)"
HMDA = f"read_parquet('{SAMPLES}/hmda_sample.parquet')"
APPROVAL_FEATURES = params().model_features("approval")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> pa.Table:
    """Labelled pairs of a market of thirty institutions, with synthetic leaks added."""
    home = tmp_path_factory.mktemp("leaks")
    settings = write_marts(home, DAY, products=60, pairs=6000)
    return add_synthetic_leaks(load_examples(settings, DAY, "approved", as_of=DAY))


def with_features(*names: str) -> Features:
    return Features(
        numbers=(*APPROVAL_FEATURES.numbers, *names), categories=APPROVAL_FEATURES.categories
    )


def names(leaks: list[Leak]) -> set[str]:
    return {leak.name for leak in leaks}


def columns(table: pa.Table, *without: str) -> dict[str, pa.Array]:
    return {n: table[n].combine_chunks() for n in table.column_names if n not in without}


def test_no_valid_column_of_a_market_is_flagged(pairs):
    results = check_columns(pairs, columns(pairs, "label", "label_known_on", *SYNTHETIC_LEAKS))
    assert len({result.name for result in results}) > 25
    assert find_leaks(pairs, APPROVAL_FEATURES) == []


EXPECTED_TEST = {
    "noisy_label": "incremental_gain",
    "amount_granted": "univariate_auc",
    "time_after_decision": "future_dates",
    "missing_if_declined": "missingness_auc",
    "id_given_after_approval": "univariate_auc",
    "approval_rate_of_next_week": "look_ahead",
    "whole_years_if_approved": "univariate_auc",
    "flag_of_some_approved": "quasi_separation",
    "label_filled_in_later": "auc_decay",
}


@pytest.mark.parametrize("name", keep((0, 2, 3, 5, 8), SYNTHETIC_LEAKS))
def test_each_synthetic_leak_is_the_only_column_flagged_and_fails_its_test(pairs, name):
    leaks = find_leaks(pairs, with_features(name))
    assert names(leaks) == {name}
    leak = {leak.test: leak for leak in leaks}[EXPECTED_TEST[name]]
    assert leak.value > leak.limit
    assert len(leak.description) > 20


def test_leaks_do_not_excuse_each_other(pairs):
    copies = pairs.append_column("copy", pairs["noisy_label"])
    leaks = find_leaks(copies, with_features("copy", *SYNTHETIC_LEAKS))
    assert names(leaks) == {"copy", *SYNTHETIC_LEAKS}


def test_a_column_that_is_missing_with_the_label_is_flagged():
    random = np.random.default_rng(1)
    label = pa.array(random.integers(0, 2, 2000).astype(float), mask=random.random(2000) < 0.1)
    valid = pa.array(random.normal(size=2000), mask=random.random(2000) < 0.1)
    leak = pa.array(random.normal(size=2000), mask=np.asarray(label.is_null()))
    results = check_columns(pa.table({"label": label}), {"valid": valid, "leak": leak})
    assert [(leak.name, leak.test) for leak in select_leaks(results)] == [
        ("leak", "missing_label_overlap")
    ]


def test_the_leaks_of_the_sba_file_are_flagged():
    loans = duckdb.sql(
        "select *, cast(try_strptime(ApprovalDate, '%m/%d/%Y') as date) as business_date, "
        f"cast(MIS_Status = 'CHGOFF' as double) as label from {SBA} order by LoanNr_ChkDgt"
    ).to_arrow_table()
    leaks = select_leaks(
        check_columns(loans, columns(loans, "business_date", "label", "MIS_Status"))
    )
    # Disbursement comes after approval, the lead's day: known too late, though hardly predictive.
    assert names(leaks) == {"Term", "ChgOffDate", "ChgOffPrinGr", "DisbursementDate"}
    assert {leak.test for leak in leaks if leak.name == "DisbursementDate"} == {"future_dates"}


def test_no_column_of_the_hmda_register_is_flagged():
    register = duckdb.sql(
        "select *, make_date(activity_year, 7, 1) as business_date, lei as institution_id, "
        f"cast(approved as double) as label from {HMDA} order by all"
    ).to_arrow_table()
    results = check_columns(register, columns(register, "business_date", "label", "approved"))
    assert {"lei", "debt_to_income_pct", "loan_to_value_ratio"} <= {
        result.name for result in results
    }
    assert select_leaks(results) == []


@pytest.mark.parametrize("seed", range(10))
def test_random_columns_raise_no_alarm_in_a_young_market(seed):
    random = np.random.default_rng(seed)
    rows = 600
    days = np.datetime64("2026-01-05") + random.integers(0, 14, rows)
    institutions = np.char.add("bank-", random.integers(0, 12, rows).astype(str))
    market = pa.table(
        {
            "label": (random.random(rows) < 0.3).astype(float),
            "business_date": days.astype("datetime64[D]"),
            "institution_id": institutions,
        }
    )
    noise = {f"number {n}": pa.array(random.normal(size=rows)) for n in range(20)}
    noise |= {f"text {n}": pa.array(random.choice(list("abcdefgh"), rows)) for n in range(10)}
    gaps = (random.random(rows) < 0.2 for _ in range(10))
    noise |= {f"gaps {n}": pa.array(random.random(rows), mask=gap) for n, gap in enumerate(gaps)}
    results = check_columns(market, noise)
    assert len({result.name for result in results}) == 40
    assert select_leaks(results) == []


def test_with_too_few_rows_only_dates_are_tested(pairs):
    few = pairs.slice(0, 60)
    leaks = find_leaks(few, with_features("missing_if_declined", "time_after_decision"))
    assert names(leaks) == {"time_after_decision"}


def test_equal_rows_give_equal_results(pairs):
    features = with_features("noisy_label")
    assert find_leaks(pairs, features) == find_leaks(pairs.combine_chunks(), features)


def test_a_column_from_which_an_outcome_was_inferred_is_no_leak(pairs):
    inferred = np.nan_to_num(pairs["bureau_score"].to_numpy()) < 600
    with_inferred = pairs.set_column(
        pairs.column_names.index("label"), "label", pa.array(inferred.astype(float))
    )
    assert names(find_leaks(with_inferred, APPROVAL_FEATURES)) == {"bureau_score"}
    flags = [pa.array(np.full(pairs.num_rows, flag)) for flag in (False, True)]
    parts = zip((pairs, with_inferred), flags, strict=True)
    both = pa.concat_tables([table.append_column("is_inferred", flag) for table, flag in parts])
    assert check_features(both, APPROVAL_FEATURES) == check_features(pairs, APPROVAL_FEATURES)


def test_a_description_contains_no_value_of_a_row(pairs):
    people = pa.array([f"Ann Example {n:07d}" for n in range(pairs.num_rows)])
    who = pa.array(np.where(pairs["label"].to_numpy() == 1, people.to_pylist(), None))
    leaks = find_leaks(pairs.append_column("who", who), Features(numbers=("who",)))
    assert names(leaks) == {"who"}
    assert "Ann" not in repr(leaks)


def test_a_model_is_not_trained_on_a_leak(pairs):
    features = with_features("flag_of_some_approved")
    with pytest.raises(LeakingFeatures) as refused:
        fit_or_use_prior("approval", pairs, features)
    assert {leak["name"] for leak in refused.value.leaks} == {"flag_of_some_approved"}
    limits = {leak["test"]: leak["limit"] for leak in refused.value.leaks}
    assert limits["quasi_separation"] == 0.3
    assert "leaks.yml" in f"{refused.value}"


def allow(monkeypatch, until: date) -> None:
    entry = AllowedLeak(
        column="flag_of_some_approved",
        tests=frozenset({"quasi_separation", "incremental_gain"}),
        by="Model risk",
        why="a flag of the register, known on the day",
        decided_on=DAY - timedelta(days=60),
        until=until,
    )
    changed = policy.leaks().model_copy(update={"allowed": (entry,)})
    monkeypatch.setattr(policy, "leaks", lambda: changed)


def test_an_allowed_leak_is_reported_with_its_justification(pairs, monkeypatch):
    allow(monkeypatch, until=DAY)
    result = require_no_leaks("approval", pairs, with_features("flag_of_some_approved"))
    assert result["checked"] > 25
    assert result["flagged"] == []
    assert {leak["name"] for leak in result["allowed"]} == {"flag_of_some_approved"}
    assert result["allowed"][0]["by"] == "Model risk"
    assert result["allowed"][0]["until"] == f"{DAY}"


def test_an_allowance_ends(pairs, monkeypatch):
    allow(monkeypatch, until=DAY - timedelta(days=30))
    with pytest.raises(LeakingFeatures):
        require_no_leaks("approval", pairs, with_features("flag_of_some_approved"))


def test_no_leak_is_allowed_at_present():
    assert policy.leaks().allowed == ()


def test_an_allowance_needs_a_last_day():
    leak = {"column": "x", "tests": ["future_dates"], "by": "b", "why": "w", "decided_on": DAY}
    with pytest.raises(ValueError, match="until"):
        AllowedLeak.model_validate(leak)
