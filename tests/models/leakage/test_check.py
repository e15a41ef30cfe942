"""The leak check: no honest column is flagged, each leak is, and a model isn't trained on one."""

from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from expectations import policy
from expectations.policy_types import AllowedLeak
from models.errors import LeakingFeatures
from models.leakage.check import Leak, check, demand_none, leaks_among, tried, tried_features
from models.params import Features, params
from models.train_models import fit_or_prior
from models.training.dataset import examples
from pipelines.bench.benchmarks.leaks import main
from pipelines.bench.fixtures.synthetic_leaks import PLANTS, planted
from pipelines.core.settings import PROJECT, Settings
from tests.helpers.marts import write_marts
from tests.models.conftest import DAY

SAMPLES = PROJECT / "expectations/mappings/samples"
SBA = f"read_csv('{SAMPLES}/sba_7a_loans.csv.gz', all_varchar = true)"
HMDA = f"read_parquet('{SAMPLES}/hmda_sample.parquet')"
OF_APPROVAL = params().features_of("approval")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> pa.Table:
    """Labelled pairs of a market of thirty institutions, with leaks planted beside."""
    home = tmp_path_factory.mktemp("leaks")
    settings = write_marts(home, DAY, products=60, pairs=6000)
    return planted(examples(settings, DAY, "approved", as_of=DAY))


def with_also(*names: str) -> Features:
    return Features(numbers=(*OF_APPROVAL.numbers, *names), categories=OF_APPROVAL.categories)


def flagged(leaks: list[Leak]) -> set[str]:
    return {leak.name for leak in leaks}


def columns(table: pa.Table, *without: str) -> dict[str, pa.Array]:
    return {n: table[n].combine_chunks() for n in table.column_names if n not in without}


def test_no_honest_column_of_a_market_is_flagged(pairs):
    trials = tried(pairs, columns(pairs, "label", "label_known_on", *PLANTS))
    assert len({trial.name for trial in trials}) > 25
    assert check(pairs, OF_APPROVAL) == []


FOUND_BY = {
    "the_label_with_noise": "gain",
    "an_amount_after_the_outcome": "alone",
    "a_time_after_the_decision": "late",
    "missing_iff_declined": "gaps",
    "an_id_given_after_approval": "alone",
    "a_rate_of_the_days_to_come": "ahead",
    "whole_years_mean_yes": "alone",
    "certain_of_a_few": "part",
    "filled_in_later": "fading",
}


@pytest.mark.parametrize("plant", PLANTS)
def test_each_kind_of_leak_is_flagged_and_nothing_else_and_by_the_test_it_is_for(pairs, plant):
    leaks = check(pairs, with_also(plant))
    assert flagged(leaks) == {plant}
    found = {leak.test: leak for leak in leaks}[FOUND_BY[plant]]
    assert found.figure > found.limit
    assert len(found.words) > 20


def test_leaks_do_not_excuse_each_other(pairs):
    copies = pairs.append_column("copy", pairs["the_label_with_noise"])
    leaks = check(copies, with_also("copy", *PLANTS))
    assert flagged(leaks) == {"copy", *PLANTS}


def test_a_column_that_is_missing_where_the_outcome_is_tells_of_the_outcome():
    random = np.random.default_rng(1)
    label = pa.array(random.integers(0, 2, 2000).astype(float), mask=random.random(2000) < 0.1)
    honest = pa.array(random.normal(size=2000), mask=random.random(2000) < 0.1)
    leak = pa.array(random.normal(size=2000), mask=np.asarray(label.is_null()))
    trials = tried(pa.table({"label": label}), {"honest": honest, "leak": leak})
    assert [(leak.name, leak.test) for leak in leaks_among(trials)] == [("leak", "absent")]


def test_the_leaks_of_the_sba_file_are_flagged_unprompted():
    loans = duckdb.sql(
        "select *, cast(try_strptime(ApprovalDate, '%m/%d/%Y') as date) as business_date, "
        f"cast(MIS_Status = 'CHGOFF' as double) as label from {SBA} order by LoanNr_ChkDgt"
    ).to_arrow_table()
    found = leaks_among(tried(loans, columns(loans, "business_date", "label", "MIS_Status")))
    # Disbursement comes after approval, the lead's day: known too late, if not telling.
    assert flagged(found) == {"Term", "ChgOffDate", "ChgOffPrinGr", "DisbursementDate"}
    assert {leak.test for leak in found if leak.name == "DisbursementDate"} == {"late"}


def test_nothing_of_the_hmda_register_is_flagged():
    register = duckdb.sql(
        "select *, make_date(activity_year, 7, 1) as business_date, lei as institution_id, "
        f"cast(approved as double) as label from {HMDA} order by all"
    ).to_arrow_table()
    trials = tried(register, columns(register, "business_date", "label", "approved"))
    assert {"lei", "debt_to_income_pct", "loan_to_value_ratio"} <= {trial.name for trial in trials}
    assert leaks_among(trials) == []


@pytest.mark.parametrize("seed", range(10))
def test_columns_that_say_nothing_raise_no_alarm_in_a_young_market(seed):
    random = np.random.default_rng(seed)
    rows = 600
    days = np.datetime64("2026-01-05") + random.integers(0, 14, rows)
    owners = np.char.add("bank-", random.integers(0, 12, rows).astype(str))
    market = pa.table(
        {
            "label": (random.random(rows) < 0.3).astype(float),
            "business_date": days.astype("datetime64[D]"),
            "institution_id": owners,
        }
    )
    made = {f"number {n}": pa.array(random.normal(size=rows)) for n in range(20)}
    made |= {f"text {n}": pa.array(random.choice(list("abcdefgh"), rows)) for n in range(10)}
    gaps = (random.random(rows) < 0.2 for _ in range(10))
    made |= {f"gaps {n}": pa.array(random.random(rows), mask=gap) for n, gap in enumerate(gaps)}
    trials = tried(market, made)
    assert len({trial.name for trial in trials}) == 40
    assert leaks_among(trials) == []


def test_too_few_rows_are_only_asked_for_their_dates(pairs):
    few = pairs.slice(0, 60)
    leaks = check(few, with_also("missing_iff_declined", "a_time_after_the_decision"))
    assert flagged(leaks) == {"a_time_after_the_decision"}


def test_the_same_rows_give_the_same_answer_to_the_last_digit(pairs):
    features = with_also("the_label_with_noise")
    assert check(pairs, features) == check(pairs.combine_chunks(), features)


def test_an_outcome_that_was_inferred_from_a_column_makes_no_leak_of_it(pairs):
    guessed = np.nan_to_num(pairs["bureau_score"].to_numpy()) < 600
    beside = pairs.set_column(
        pairs.column_names.index("label"), "label", pa.array(guessed.astype(float))
    )
    assert flagged(check(beside, OF_APPROVAL)) == {"bureau_score"}
    flags = [pa.array(np.full(pairs.num_rows, flag)) for flag in (False, True)]
    parts = zip((pairs, beside), flags, strict=True)
    both = pa.concat_tables([table.append_column("is_inferred", flag) for table, flag in parts])
    assert tried_features(both, OF_APPROVAL) == tried_features(pairs, OF_APPROVAL)


def test_no_value_of_a_row_is_told(pairs):
    names = pa.array([f"Ann Example {n:07d}" for n in range(pairs.num_rows)])
    told = pa.array(np.where(pairs["label"].to_numpy() == 1, names.to_pylist(), None))
    leaks = check(pairs.append_column("who", told), Features(numbers=("who",)))
    assert flagged(leaks) == {"who"}
    assert "Ann" not in repr(leaks)


def test_a_model_is_not_trained_on_a_leak_and_the_message_says_what_to_do(pairs):
    features = with_also("certain_of_a_few")
    with pytest.raises(LeakingFeatures) as refused:
        fit_or_prior("approval", pairs, features)
    message = f"{refused.value}"
    for part in ("certain_of_a_few", "test `part`", "limit 0.3", "leaks.yml", "not trained"):
        assert part in message


def allow(monkeypatch, until: date) -> None:
    entry = AllowedLeak(
        column="certain_of_a_few",
        tests=frozenset({"part", "gain"}),
        by="Model risk",
        why="a flag of the register, known on the day",
        decided_on=DAY - timedelta(days=60),
        until=until,
    )
    changed = policy.leaks().model_copy(update={"allowed": (entry,)})
    monkeypatch.setattr(policy, "leaks", lambda: changed)


def test_a_leak_that_the_policy_allows_is_told_with_its_grounds(pairs, monkeypatch):
    allow(monkeypatch, until=DAY)
    said = demand_none("approval", pairs, with_also("certain_of_a_few"))
    assert said["checked"] > 25
    assert said["flagged"] == []
    assert {leak["name"] for leak in said["allowed"]} == {"certain_of_a_few"}
    assert said["allowed"][0]["by"] == "Model risk"
    assert said["allowed"][0]["until"] == f"{DAY}"


def test_an_allowance_ends(pairs, monkeypatch):
    allow(monkeypatch, until=DAY - timedelta(days=30))
    with pytest.raises(LeakingFeatures):
        demand_none("approval", pairs, with_also("certain_of_a_few"))


def test_nothing_is_allowed_today():
    assert policy.leaks().allowed == ()


def test_the_limits_say_how_a_column_is_allowed():
    leak = {"column": "x", "tests": ["late"], "by": "b", "why": "w", "decided_on": DAY}
    with pytest.raises(ValueError, match="until"):
        AllowedLeak.model_validate(leak)


@pytest.mark.prove
def test_in_the_simulated_world_each_leak_is_flagged_and_no_honest_column(tmp_path):
    figures = main(Settings(home=tmp_path / "untouched"), [])
    assert figures["rows"]["approval"] > 20_000
    assert figures["honest_flagged"] == {"approval": [], "take_up": []}
    assert figures["missed"] == []
    assert set(figures["planted"]) == set(PLANTS)
    assert not (tmp_path / "untouched").exists()
