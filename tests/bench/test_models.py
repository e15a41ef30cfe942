"""The model benchmark measures possible experiments and refuses others before any work."""

from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.errors import TooFewRows, UnknownFeature
from models.training.dataset import load_examples
from pipelines.bench.benchmarks.models import command
from pipelines.bench.evaluate import Experiment, _is_held_out, run_experiment
from pipelines.bench.shell import run_benchmark
from pipelines.core.errors import UsageError
from pipelines.core.settings import PROJECT, Settings
from tests.helpers.marts import write_marts
from tests.helpers.trained_market import DAY

SAMPLE = PROJECT / "expectations/mappings/samples/sba_7a_loans.csv.gz"
FIGURES = {"auc", "auc_low", "auc_high", "ks", "brier", "ece", "base_rate", "ece_by_chance"}
FIGURES |= {f"{name}_{end}" for name in ("brier", "ece", "base_rate") for end in ("low", "high")}
COUNTS = {"rows_train", "rows_test", "labels_known", "lenders_within", "lenders_checked"}
COUNTS |= {"lenders_within_without_drift", "lender_drift"}
LEAKS = {"leaks", "leaks_explained", "leaks_checked", "leaks_nearest", "label_columns"}


@pytest.fixture(scope="module")
def by_time(market: Settings) -> dict:
    return run_experiment(market, DAY, Experiment("approved", "business_date", "2026-11-01"))


def test_a_split_by_time_gives_every_figure(by_time):
    assert set(by_time) == FIGURES | COUNTS | {"split", "models"}
    assert 0.7 < by_time["auc_low"] < by_time["auc"] < by_time["auc_high"] < 1
    assert by_time["rows_train"] > by_time["rows_test"] > 300


def test_a_split_by_the_leads_day_fits_only_what_was_known_by_then(market, by_time):
    known = load_examples(market, DAY, "approved", as_of=date(2026, 11, 1))
    assert by_time["labels_known"] == "by the split"
    assert by_time["rows_train"] == known.num_rows


def test_late_outcomes_of_rows_before_the_split_can_count(market, by_time):
    experiment = Experiment("approved", "business_date", "2026-11-01", with_late_outcomes=True)
    figures = run_experiment(market, DAY, experiment)
    days = load_examples(market, DAY, "approved", as_of=DAY)["business_date"].to_pylist()
    assert figures["rows_train"] == sum(day < date(2026, 11, 1) for day in days)
    assert figures["rows_train"] > by_time["rows_train"]
    assert figures["rows_test"] == by_time["rows_test"]
    assert figures["labels_known"] == "at the end"


def test_a_rolling_schedule_predicts_each_row_once_with_more_training_rows(market, by_time):
    figures = run_experiment(
        market, DAY, Experiment("approved", "business_date", "2026-11-01", retrain_every=8)
    )
    assert figures["models"] > by_time["models"] == 1
    assert figures["rows_test"] == by_time["rows_test"]
    assert figures["rows_train"] > by_time["rows_train"]
    for wrong in (
        Experiment("approved", "business_date", retrain_every=0),
        Experiment("approved", "business_date", retrain_every=7, with_late_outcomes=True),
        Experiment("approved", retrain_every=7),
    ):
        with pytest.raises(UsageError, match="--retrain-every is"):
            wrong.check()


def test_an_allowance_for_drift_widens_the_intervals_of_lenders(by_time):
    assert by_time["lender_drift"] >= 0
    assert by_time["lenders_within"] >= by_time["lenders_within_without_drift"]


def test_the_leads_day_is_a_feature_in_random_folds_only(market):
    experiment = Experiment("approved", folds=2, with_day=True)
    assert "lead_day" in experiment.features.names
    assert "lead_day" not in Experiment("approved", folds=2).features.names
    assert run_experiment(market, DAY, experiment)["auc"] > 0.7
    for wrong in (
        Experiment("approved", "business_date", with_day=True),
        Experiment("approved", with_late_outcomes=True),
    ):
        with pytest.raises(UsageError, match="Nothing was measured"):
            wrong.check()


def test_without_a_split_the_last_fifth_is_predicted(market):
    table = load_examples(market, DAY, "approved", as_of=DAY)
    figures = run_experiment(market, DAY, Experiment("approved", "business_date"))
    assert figures["rows_test"] / table.num_rows == pytest.approx(0.2, abs=0.02)
    assert "2026-10-20" < figures["split"] < "2026-11-10"


def test_unseen_lenders_are_predicted_without_history_and_never_fitted(market, by_time):
    experiment = Experiment("approved", "business_date", "2026-11-01", unseen="institution_id")
    figures = run_experiment(market, DAY, experiment)
    assert 0 < figures["rows_test"] < by_time["rows_test"] / 2
    assert 0 < figures["rows_train"] < by_time["rows_train"]
    lenders = load_examples(market, DAY, "approved", as_of=DAY)["institution_id"]
    held = _is_held_out(lenders)
    assert not set(lenders.filter(pa.array(held)).to_pylist()) & set(
        lenders.filter(pa.array(~held)).to_pylist()
    )
    assert figures["auc"] > 0.6


def test_an_unknown_column_cannot_be_held_out(market):
    with pytest.raises(UsageError, match="shoe_size"):
        run_experiment(market, DAY, Experiment("approved", "business_date", unseen="shoe_size"))


def test_an_unknown_column_cannot_split(market):
    with pytest.raises(UsageError, match="captured_hour"):
        run_experiment(market, DAY, Experiment("approved", "captured_hour", "12"))


def test_a_closed_portfolio_counts_every_outcome_regardless_of_its_date(market, tmp_path):
    folder = market.day_folder(market.marts, DAY)
    outcomes = pq.read_table(folder / "outcomes.parquet")
    ended = pc.if_else(pc.equal(outcomes["event"], "approved"), "repaid", "overdue_90")
    decided = pc.is_in(outcomes["event"], pa.array(["approved", "declined"]))
    column = outcomes.column_names.index("event")
    portfolio = outcomes.set_column(column, "event", ended).filter(decided)
    settings = write_marts(
        tmp_path,
        DAY,
        training_pairs=pq.read_table(folder / "training_pairs.parquet"),
        outcomes=portfolio,
    )
    figures = run_experiment(
        settings, DAY, Experiment("charged_off", "business_date", "2026-11-01")
    )
    assert figures["labels_known"] == "at the end"
    assert (
        figures["rows_train"] + figures["rows_test"]
        == load_examples(settings, DAY, "charged_off", as_of=DAY).num_rows
    )
    assert figures["auc_low"] > 0.6


@pytest.mark.prove  # the feature of the day above is measured in random folds as well
def test_random_folds_predict_every_row_once(market):
    figures = run_experiment(market, DAY, Experiment("approved", folds=3))
    assert set(figures) == FIGURES | COUNTS
    assert figures["auc_low"] > 0.7
    assert figures["rows_train"] * 3 == pytest.approx(figures["rows_test"] * 2, rel=0.01)


def test_a_dropped_column_is_no_feature(market, by_time):
    dropped = frozenset({"bureau_score", "debt_to_income", "debt_monthly"})
    experiment = Experiment("approved", "business_date", "2026-11-01", drop=dropped)
    assert not dropped & set(experiment.features.names)
    assert run_experiment(market, DAY, experiment)["auc"] < by_time["auc"] - 0.05


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (Experiment("approved", split="2026-10-15"), "--split needs --time"),
        (Experiment("approved", unseen="institution_id"), "--unseen needs --time"),
        (Experiment("approved", folds=1), "at least 2"),
    ],
)
def test_an_impossible_experiment_is_refused_before_any_work(experiment, message):
    with pytest.raises(UsageError, match=message):
        experiment.check()


def test_a_column_that_is_no_feature_cannot_be_dropped():
    with pytest.raises(UnknownFeature, match=r"shoe_size.*bureau_score"):
        Experiment("approved", drop=frozenset({"shoe_size"})).check()


def test_a_split_that_is_no_date_is_refused(market):
    with pytest.raises(UsageError, match="'soon' is no date32"):
        run_experiment(market, DAY, Experiment("approved", "business_date", "soon"))


def test_too_few_rows_are_reported_with_the_limit(tmp_path: Path):
    few = write_marts(tmp_path, date(2026, 11, 20), pairs=300)
    with pytest.raises(TooFewRows, match="min_rows"):
        run_experiment(few, DAY, Experiment("approved", "business_date", "2026-11-01"))


@pytest.mark.prove
def test_a_foreign_file_is_imported_and_measured(tmp_path):
    largest = tmp_path / "largest_banks.csv"
    duckdb.sql(
        f"""
        copy (
            select loans.* from read_csv('{SAMPLE}', all_varchar = true) as loans
            join (
                select Bank from read_csv('{SAMPLE}', all_varchar = true)
                where MIS_Status is not null group by Bank order by count(*) desc limit 3
            ) using (Bank)
            where ApprovalDate like '%/2004'
        ) to '{largest}' (header)
        """
    )
    options = f"--mapping sba --file {largest} --target charged_off --folds 2"
    figures = run_benchmark(command, Settings(home=tmp_path / "untouched"), options.split())
    assert set(figures) == FIGURES | COUNTS | LEAKS | {"mapping", "file", "target", "seconds"}
    assert 0.5 < figures["auc_low"] < figures["auc"] < 0.95  # no `Term`, which gives 0.98
    # The mapping leaves these columns of the file out and does not name them.
    assert {"Term", "ChgOffDate", "ChgOffPrinGr"} <= set(figures["leaks"])
    assert set(figures["leaks"]) <= {"Term", "ChgOffDate", "ChgOffPrinGr", "DisbursementDate"}
    assert figures["label_columns"] == ["MIS_Status"]
    assert figures["leaks_checked"] > 30
    assert not (tmp_path / "untouched").exists()
