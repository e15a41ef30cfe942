"""`bench real` measures small public files, checks the targets, and names missing inputs."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.validation.metrics import estimate_intervals
from pipelines.bench.benchmarks import models, real_records
from pipelines.bench.benchmarks.leaks import SourceLeaks
from pipelines.bench.benchmarks.real_records_tables import TARGETS, check_targets, format_study
from pipelines.bench.evaluate import load_closed_portfolio
from pipelines.bench.shell import run_benchmark
from pipelines.bench.studies import why_time_split_differs
from pipelines.bench.studies.why_time_split_differs import Portfolio
from pipelines.core.errors import UsageError
from pipelines.core.settings import PROJECT, Settings

DATA = PROJECT / "tests/data"
MARKERS = "before\n<!-- models whole -->\nformer\n<!-- /models -->\nafter\n"
MEASURED = ("hmda", "hmda_reported", "sba_folds", "sba_by_time")
"""Rows of the tables; the others are of the same kinds."""
KNOWN_LEAKS = {"Term", "ChgOffDate", "ChgOffPrinGr"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the prepared homes."""
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "figures.md"
    path.write_text(MARKERS, "utf-8")
    return path


@pytest.fixture(scope="module")
def results(cache: Path, page: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    settings = Settings(home=tmp_path_factory.mktemp("home") / "untouched")
    options = ["--data", str(DATA), "--figures", str(page), "--cache", str(cache)]
    options += ["--only", ",".join(MEASURED)]
    figures = run_benchmark(real_records.command, settings, options)
    assert not settings.home.exists()
    return figures


@pytest.mark.prove  # `test_models` measures one file in each run
def test_every_experiment_predicts_rows_that_were_not_fitted(results):
    rows = results["rows"]
    assert tuple(rows) == MEASURED
    assert rows["hmda_reported"]["rows_train"] < rows["hmda"]["rows_train"]
    assert results["data"] == "whole"
    assert rows["hmda"]["auc_low"] > 0.8
    assert 0.65 < rows["sba_folds"]["auc"] < 0.8  # `Term` would give 0.98
    assert rows["sba_by_time"]["split"] == "2004-12-01"
    for figures in rows.values():
        for name in ("auc", "brier", "ece"):
            assert figures[f"{name}_low"] < figures[name] < figures[f"{name}_high"]


@pytest.mark.prove  # `test_models` measures one file in each run
def test_leaks_are_flagged_in_one_file_and_none_in_the_other(results):
    assert results["leaks"]["hmda"] == []
    assert set(results["leaks"]["sba"]) >= KNOWN_LEAKS
    assert set(results["leaks"]["sba"]) <= KNOWN_LEAKS | {"DisbursementDate"}


@pytest.mark.prove  # `test_models` measures one file in each run
def test_the_page_gets_the_tables_and_is_otherwise_unchanged(results, page):
    text = page.read_text("utf-8")
    assert text.startswith("before\n<!-- models whole -->\n| experiment | AUC (95%)")
    assert text.endswith("|\n<!-- /models -->\nafter\n")
    assert "former" not in text
    for row in results["targets"]:
        assert f"| {row['figure']} | {row['target']} | {row['measured']} |" in text
    json.dumps(results)


@pytest.mark.prove  # `test_models` measures one file in each run
def test_every_target_is_checked(results):
    assert len(results["targets"]) == 7
    rows = [name for record in real_records.RECORDS for name in record.experiments]
    assert {row for row, *_ in TARGETS} <= set(rows)
    of_hmda = [row for row in results["targets"] if "HMDA" in row["figure"]]
    auc = next(row for row in of_hmda if "AUC" in row["figure"])
    assert (auc["target"], auc["met"]) == ("≥ 0.892", False)


@pytest.mark.prove  # `test_models` measures one file in each run
def test_a_prepared_file_is_cached_while_nothing_has_changed(results, cache, monkeypatch):
    assert results["homes"] == {"hmda": "prepared", "sba": "prepared"}
    monkeypatch.setattr(models, "prepare_pairs", None)  # a call would fail
    file = DATA / "sba_7a_loans.csv.gz"
    with models.prepared_home(Settings(home=cache), cache, "sba", file) as (home, day, state):
        assert state == "cached"
        assert (
            load_closed_portfolio(home, day).num_rows == results["rows"]["sba_folds"]["rows_test"]
        )


@pytest.mark.prove  # `test_models` measures one file in each run
def test_another_file_has_another_cache_key(results, cache, tmp_path):
    for marker in cache.glob(f"sba-*/{models.PREPARED}"):
        other = tmp_path / "sba_7a_loans.csv.gz"
        other.write_bytes((DATA / other.name).read_bytes() + b"\0")
        assert models.cache_key(other) not in str(marker)
        assert models.cache_key(DATA / other.name) in str(marker)
        return
    pytest.fail("the cache holds no prepared home of SBA")


@pytest.mark.prove
def test_the_study_of_the_time_split_measures_the_same_loans(results, cache):
    """Random folds have loans of the same lender and month on both sides."""
    file, experiment = DATA / "sba_7a_loans.csv.gz", real_records.SBA.experiments["sba_by_time"]
    with models.prepared_home(Settings(home=cache), cache, "sba", file) as (home, day, _):
        study = why_time_split_differs.explain(home, day, experiment)
        portfolio = Portfolio.load(home, day, experiment)
    by = {row["held_out"]: row for row in study["held_out"]}
    by_time = by["all later loans (by time)"]
    assert by_time["auc_of_later"] == pytest.approx(results["rows"]["sba_by_time"]["auc"], abs=1e-6)
    random = by["single loans (random folds)"]
    assert random["auc_of_all"] == pytest.approx(results["rows"]["sba_folds"]["auc"], abs=1e-6)
    assert by["whole lenders"]["auc_of_all"] < random["auc_of_all"]
    assert random["observed"] == pytest.approx(portfolio.labels[portfolio.is_later].mean())
    years = {row["year"]: row for row in study["years"]}
    assert years["2004"]["rows"] == int((portfolio.years == 2004).sum())
    every = next(row for row in study["outcomes"] if row["outcomes"] == "all")
    assert every["auc_random"] == random["auc_of_all"]
    assert "institution_id" in {row["column"] for row in study["columns"]}
    assert all(line.startswith("|") or not line for line in format_study(study))


@pytest.mark.prove  # `test_models` measures one file in each run
def test_rows_of_a_group_share_a_fold_and_no_fold_is_empty(results, cache):
    file, experiment = DATA / "sba_7a_loans.csv.gz", real_records.SBA.experiments["sba_by_time"]
    with models.prepared_home(Settings(home=cache), cache, "sba", file) as (home, day, _):
        portfolio = Portfolio.load(home, day, experiment)
    groups = np.arange(len(portfolio.labels)) // 7
    folds = portfolio.folds_by_group(groups)
    assert set(folds) == set(range(why_time_split_differs.FOLDS))
    assert len(np.unique(np.stack([groups, folds]), axis=1).T) == groups.max() + 1


def test_a_folder_without_a_file_is_refused_before_any_work(page, tmp_path):
    (tmp_path / "sba_7a_loans.csv").write_text("LoanNr_ChkDgt\n")
    options = ["--data", str(tmp_path), "--figures", str(page)]
    with pytest.raises(
        UsageError, match=r"lacks hmda_applications_2022_2024\.parquet, hmda_lenders"
    ):
        run_benchmark(real_records.command, Settings(home=tmp_path), options)


def test_an_unknown_row_is_refused_before_any_work(page, tmp_path):
    options = ["--data", str(DATA), "--figures", str(page), "--only", "hmda,hdma_reported"]
    with pytest.raises(
        UsageError, match=r"named hdma_reported; there are: hmda, .* Nothing was measured"
    ):
        run_benchmark(real_records.command, Settings(home=tmp_path), options)


def test_a_page_without_markers_is_refused_before_any_work(tmp_path):
    page = tmp_path / "figures.md"
    page.write_text("nothing here", "utf-8")
    options = ["--data", str(DATA), "--figures", str(page)]
    with pytest.raises(UsageError, match="<!-- models whole -->"):
        run_benchmark(real_records.command, Settings(home=tmp_path), options)


def test_without_a_folder_the_samples_of_the_project_are_measured():
    kind, files = real_records.find_files(None)
    assert kind == "sample"
    assert all(file.is_file() for _, file in files)


def test_too_few_lenders_meet_no_target():
    figures = {"auc": 0.9, "auc_low": 0.89, "auc_high": 0.91, "lenders_checked": 0}
    figures |= {
        "lenders_within": 0,
        "lenders_within_without_drift": 0,
        "brier": 0.1,
        "brier_low": 0.1,
        "brier_high": 0.1,
    }
    figures |= {"ece": 0.01, "ece_low": 0.0, "ece_high": 0.02}
    targets = check_targets({"hmda": figures}, {"hmda": SourceLeaks([], [], 9, {})}).figures
    lenders = next(row for row in targets if "lenders" in row["figure"])
    assert (lenders["measured"], lenders["met"]) == ("none with enough rows", False)
    assert targets[-1]["met"]


def test_a_95_percent_interval_covers_the_figure_of_all_rows_19_times_in_20():
    random = np.random.default_rng(8)
    true = random.uniform(0.05, 0.95, 200_000)
    predicted = np.clip(true + 0.05, 0, 1)
    whole = (random.uniform(size=true.size) < true).astype(float)
    brier = float(np.mean((predicted - whole) ** 2))
    inside = []
    for part in np.array_split(random.permutation(true.size), 200):
        figures = estimate_intervals(predicted[part], whole[part])
        inside.append(figures["brier_low"] <= brier <= figures["brier_high"])
    assert 0.90 <= np.mean(inside) <= 0.99


def test_true_probabilities_have_the_calibration_error_of_chance():
    random = np.random.default_rng(9)
    errors = []
    for _ in range(100):
        true = random.uniform(0.05, 0.95, 4_000)
        happened = (random.uniform(size=true.size) < true).astype(float)
        figures = estimate_intervals(true, happened)
        middle = (figures["ece_low"] + figures["ece_high"]) / 2
        errors.append((middle, figures["ece_by_chance"]))
    measured, chance = np.mean(errors, axis=0)
    assert measured == pytest.approx(chance, rel=0.05)
