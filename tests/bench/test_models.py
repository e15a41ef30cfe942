"""The benchmark of models: right questions are answered, wrong ones refused before any work."""

from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.errors import TooFewRows, UnknownFeature
from models.training.dataset import examples
from pipelines.bench.benchmarks.models import main
from pipelines.bench.evaluate import _held_out, measure
from pipelines.bench.experiment import Question
from pipelines.core.errors import UsageError
from pipelines.core.settings import PROJECT, Settings
from tests.helpers.marts import write_marts
from tests.helpers.trained_market import DAY

SAMPLE = PROJECT / "expectations/mappings/samples/sba_7a_loans.csv.gz"
FIGURES = {"auc", "auc_low", "auc_high", "ks", "brier", "ece", "base_rate", "ece_by_chance"}
FIGURES |= {f"{name}_{end}" for name in ("brier", "ece", "base_rate") for end in ("low", "high")}
COUNTS = {"rows_train", "rows_test", "labels_known", "lenders_within", "lenders_checked"}
COUNTS |= {"lenders_within_unmoved", "lenders_move"}
LEAKS = {"leaks", "leaks_why", "leaks_checked", "leaks_margins", "label_columns"}


@pytest.fixture(scope="module")
def by_time(market: Settings) -> dict:
    return measure(market, DAY, Question("approved", "business_date", "2026-11-01"))


def test_a_split_by_time_gives_every_figure(by_time):
    assert set(by_time) == FIGURES | COUNTS | {"split", "models"}
    assert 0.7 < by_time["auc_low"] < by_time["auc"] < by_time["auc_high"] < 1
    assert by_time["rows_train"] > by_time["rows_test"] > 300


def test_a_split_by_the_leads_day_learns_only_from_what_was_known_by_then(market, by_time):
    known = examples(market, DAY, "approved", as_of=date(2026, 11, 1))
    assert by_time["labels_known"] == "by the split"
    assert by_time["rows_train"] == known.num_rows


def test_where_times_of_telling_are_invented_all_rows_before_the_split_can_count(market, by_time):
    question = Question("approved", "business_date", "2026-11-01", knows_all=True)
    figures = measure(market, DAY, question)
    days = examples(market, DAY, "approved", as_of=DAY)["business_date"].to_pylist()
    assert figures["rows_train"] == sum(day < date(2026, 11, 1) for day in days)
    assert figures["rows_train"] > by_time["rows_train"]
    assert figures["rows_test"] == by_time["rows_test"]
    assert figures["labels_known"] == "at the end"


def test_models_that_follow_each_other_predict_each_row_once_and_know_more(market, by_time):
    figures = measure(market, DAY, Question("approved", "business_date", "2026-11-01", anew=8))
    assert figures["models"] > by_time["models"] == 1
    assert figures["rows_test"] == by_time["rows_test"]
    assert figures["rows_train"] > by_time["rows_train"]
    for wrong in (
        Question("approved", "business_date", anew=0),
        Question("approved", "business_date", anew=7, knows_all=True),
        Question("approved", anew=7),
    ):
        with pytest.raises(UsageError, match="--anew is"):
            wrong.check()


def test_lenders_that_may_move_are_held_to_less_than_those_that_stay(by_time):
    assert by_time["lenders_move"] >= 0
    assert by_time["lenders_within"] >= by_time["lenders_within_unmoved"]


def test_the_leads_day_is_looked_at_only_where_rows_of_a_day_are_on_both_sides(market):
    question = Question("approved", folds=2, with_day=True)
    assert "lead_day" in question.features.names
    assert "lead_day" not in Question("approved", folds=2).features.names
    assert measure(market, DAY, question)["auc"] > 0.7
    for wrong in (
        Question("approved", "business_date", with_day=True),
        Question("approved", knows_all=True),
    ):
        with pytest.raises(UsageError, match="Nothing was measured"):
            wrong.check()


def test_without_a_split_the_last_fifth_is_predicted(market):
    table = examples(market, DAY, "approved", as_of=DAY)
    figures = measure(market, DAY, Question("approved", "business_date"))
    assert figures["rows_test"] / table.num_rows == pytest.approx(0.2, abs=0.02)
    assert "2026-10-20" < figures["split"] < "2026-11-10"


def test_lenders_held_out_are_predicted_as_new_ones_and_learned_from_never(market, by_time):
    question = Question("approved", "business_date", "2026-11-01", unseen="institution_id")
    figures = measure(market, DAY, question)
    assert 0 < figures["rows_test"] < by_time["rows_test"] / 2
    assert 0 < figures["rows_train"] < by_time["rows_train"]
    lenders = examples(market, DAY, "approved", as_of=DAY)["institution_id"]
    held = _held_out(lenders)
    assert not set(lenders.filter(pa.array(held)).to_pylist()) & set(
        lenders.filter(pa.array(~held)).to_pylist()
    )
    assert figures["auc"] > 0.6


def test_a_column_that_there_is_not_cannot_be_held_out(market):
    with pytest.raises(UsageError, match="shoe_size"):
        measure(market, DAY, Question("approved", "business_date", unseen="shoe_size"))


def test_a_column_that_there_is_not_cannot_split(market):
    with pytest.raises(UsageError, match="captured_hour"):
        measure(market, DAY, Question("approved", "captured_hour", "12"))


def test_a_closed_book_counts_every_ending_whenever_it_was_known(market, tmp_path):
    folder = market.day_folder(market.marts, DAY)
    outcomes = pq.read_table(folder / "outcomes.parquet")
    ended = pc.if_else(pc.equal(outcomes["event"], "approved"), "repaid", "overdue_90")
    decided = pc.is_in(outcomes["event"], pa.array(["approved", "declined"]))
    column = outcomes.column_names.index("event")
    book = outcomes.set_column(column, "event", ended).filter(decided)
    settings = write_marts(
        tmp_path,
        DAY,
        training_pairs=pq.read_table(folder / "training_pairs.parquet"),
        outcomes=book,
    )
    figures = measure(settings, DAY, Question("charged_off", "business_date", "2026-11-01"))
    assert figures["labels_known"] == "at the end"
    assert (
        figures["rows_train"] + figures["rows_test"]
        == examples(settings, DAY, "charged_off", as_of=DAY).num_rows
    )
    assert figures["auc_low"] > 0.6


def test_random_folds_predict_every_row_once(market):
    figures = measure(market, DAY, Question("approved", folds=3))
    assert set(figures) == FIGURES | COUNTS
    assert figures["auc_low"] > 0.7
    assert figures["rows_train"] * 3 == pytest.approx(figures["rows_test"] * 2, rel=0.01)


def test_a_dropped_column_is_not_looked_at(market, by_time):
    dropped = frozenset({"bureau_score", "debt_to_income", "debt_monthly"})
    question = Question("approved", "business_date", "2026-11-01", drop=dropped)
    assert not dropped & set(question.features.names)
    assert measure(market, DAY, question)["auc"] < by_time["auc"] - 0.05


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (Question("approved", split="2026-10-15"), "--split needs --time"),
        (Question("approved", unseen="institution_id"), "--unseen needs --time"),
        (Question("approved", folds=1), "at least 2"),
    ],
)
def test_a_wrong_question_is_refused_before_any_work(question, words):
    with pytest.raises(UsageError, match=words):
        question.check()


def test_a_column_that_no_model_has_cannot_be_dropped():
    with pytest.raises(UnknownFeature, match=r"shoe_size.*bureau_score"):
        Question("approved", drop=frozenset({"shoe_size"})).check()


def test_a_split_that_is_no_date_is_refused(market):
    with pytest.raises(UsageError, match="'soon' is no date32"):
        measure(market, DAY, Question("approved", "business_date", "soon"))


def test_too_few_rows_are_said_to_be_too_few(tmp_path: Path):
    few = write_marts(tmp_path, date(2026, 11, 20), pairs=300)
    with pytest.raises(TooFewRows, match="min_rows"):
        measure(few, DAY, Question("approved", "business_date", "2026-11-01"))


def test_a_foreign_file_is_measured_from_its_import_on(tmp_path):
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
    figures = main(Settings(home=tmp_path / "untouched"), options.split())
    assert set(figures) == FIGURES | COUNTS | LEAKS | {"mapping", "file", "target", "seconds"}
    assert 0.5 < figures["auc_low"] < figures["auc"] < 0.95  # no `Term`, which gives 0.98
    # Nobody named them: they are columns of the file that the mapping leaves out.
    assert {"Term", "ChgOffDate", "ChgOffPrinGr"} <= set(figures["leaks"])
    assert set(figures["leaks"]) <= {"Term", "ChgOffDate", "ChgOffPrinGr", "DisbursementDate"}
    assert figures["label_columns"] == ["MIS_Status"]
    assert figures["leaks_checked"] > 30
    assert not (tmp_path / "untouched").exists()
