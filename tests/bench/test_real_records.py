"""`bench real` runs to its end on small real files, says what holds, and what it lacks."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.validation.metrics import spread
from pipelines.bench.benchmarks import real_records
from pipelines.bench.evaluate import closed_book
from pipelines.bench.figures_tables import BARS, bars, why
from pipelines.bench.fixtures import prepared_homes
from pipelines.bench.source_leaks import Found
from pipelines.bench.studies import why_time_split_differs
from pipelines.bench.studies.why_time_split_differs import Book
from pipelines.core.errors import UsageError
from pipelines.core.settings import PROJECT, Settings

DATA = PROJECT / "tests/data"
MARKERS = "before\n<!-- models whole -->\nformer\n<!-- /models -->\nafter\n"
MEASURED = ("hmda", "hmda_told", "sba_folds", "sba_by_time")
"""Rows of the tables; the others are of the same kinds and would only take time."""
PLANTED = {"Term", "ChgOffDate", "ChgOffPrinGr"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the prepared files stay."""
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "figures.md"
    path.write_text(MARKERS, "utf-8")
    return path


@pytest.fixture(scope="module")
def found(kept: Path, page: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    settings = Settings(home=tmp_path_factory.mktemp("home") / "untouched")
    options = ["--data", str(DATA), "--figures", str(page), "--prepared", str(kept)]
    options += ["--only", ",".join(MEASURED)]
    said = real_records.main(settings, options)
    assert not settings.home.exists()
    return said


def test_every_question_is_answered_on_rows_that_were_not_learned_from(found):
    rows = found["rows"]
    assert tuple(rows) == MEASURED
    assert rows["hmda_told"]["rows_train"] < rows["hmda"]["rows_train"]
    assert found["data"] == "whole"
    assert rows["hmda"]["auc_low"] > 0.8
    assert 0.65 < rows["sba_folds"]["auc"] < 0.8  # `Term` would give 0.98
    assert rows["sba_by_time"]["split"] == "2004-12-01"
    for figures in rows.values():
        for name in ("auc", "brier", "ece"):
            assert figures[f"{name}_low"] < figures[name] < figures[f"{name}_high"]


def test_leaks_are_flagged_in_the_one_file_and_none_in_the_other(found):
    assert found["leaks"]["hmda"] == []
    assert set(found["leaks"]["sba"]) >= PLANTED
    assert set(found["leaks"]["sba"]) <= PLANTED | {"DisbursementDate"}


def test_the_tables_stand_in_the_page_and_nothing_else_of_it_changes(found, page):
    text = page.read_text("utf-8")
    assert text.startswith("before\n<!-- models whole -->\n| what | AUC (95%)")
    assert text.endswith("|\n<!-- /models -->\nafter\n")
    assert "former" not in text
    for bar in found["bars"]:
        assert f"| {bar['what']} | {bar['bar']} | {bar['measured']} |" in text
    json.dumps(found)


def test_the_bars_are_all_there(found):
    assert len(found["bars"]) == 7
    rows = [name for record in real_records.RECORDS for name in record.questions]
    assert {row for row, *_ in BARS} <= set(rows)
    auc = next(bar for bar in found["bars"] if "HMDA" in bar["what"] and "AUC" in bar["what"])
    assert (auc["bar"], auc["held"]) == ("≥ 0.892", False)


def test_a_prepared_file_is_taken_again_while_nothing_has_changed(found, kept, monkeypatch):
    assert found["prepared"] == {"hmda": "made", "sba": "made"}
    monkeypatch.setattr(prepared_homes, "build", None)  # would fail if it were called
    file = DATA / "sba_7a_loans.csv.gz"
    with prepared_homes.prepared(Settings(home=kept), kept, "sba", file) as (home, day, state):
        assert state == "kept"
        assert closed_book(home, day).num_rows == found["rows"]["sba_folds"]["rows_test"]


def test_a_file_that_is_half_prepared_or_another_is_prepared_anew(found, kept, tmp_path):
    for done in kept.glob(f"sba-*/{prepared_homes.DONE}"):
        other = tmp_path / "sba_7a_loans.csv.gz"
        other.write_bytes((DATA / other.name).read_bytes() + b"\0")
        assert prepared_homes.key(other) not in str(done)
        assert prepared_homes.key(DATA / other.name) in str(done)
        return
    pytest.fail("no prepared book of SBA was found")


@pytest.mark.prove
def test_the_reasons_of_the_gap_are_told_of_the_same_loans(found, kept):
    """A loan of the same lender and month on the other side is what random folds have."""
    file, question = DATA / "sba_7a_loans.csv.gz", real_records.SBA.questions["sba_by_time"]
    with prepared_homes.prepared(Settings(home=kept), kept, "sba", file) as (home, day, _):
        told = why_time_split_differs.explain(home, day, question)
        book = Book.of(home, day, question)
    by = {row["held_out"]: row for row in told["held_out"]}
    by_time = by["all later loans (by time)"]
    assert by_time["auc_of_later"] == pytest.approx(found["rows"]["sba_by_time"]["auc"], abs=1e-6)
    random = by["single loans (random folds)"]
    assert random["auc_of_all"] == pytest.approx(found["rows"]["sba_folds"]["auc"], abs=1e-6)
    assert by["whole lenders"]["auc_of_all"] < random["auc_of_all"]
    assert random["happened"] == pytest.approx(book.labels[book.is_later].mean())
    years = {row["year"]: row for row in told["years"]}
    assert years["2004"]["rows"] == int((book.years == 2004).sum())
    as_it_is = next(row for row in told["endings"] if row["endings"] == "as it is")
    assert as_it_is["auc_random"] == random["auc_of_all"]
    assert "institution_id" in {row["column"] for row in told["columns"]}
    assert all(line.startswith("|") or not line for line in why(told))


def test_groups_stay_together_and_every_part_has_some(found, kept):
    file, question = DATA / "sba_7a_loans.csv.gz", real_records.SBA.questions["sba_by_time"]
    with prepared_homes.prepared(Settings(home=kept), kept, "sba", file) as (home, day, _):
        book = Book.of(home, day, question)
    groups = np.arange(len(book.labels)) // 7
    part = book.together(groups)
    assert set(part) == set(range(why_time_split_differs.PARTS))
    assert len(np.unique(np.stack([groups, part]), axis=1).T) == groups.max() + 1


def test_folder_that_lacks_a_file_is_named_before_any_work(page, tmp_path):
    (tmp_path / "sba_7a_loans.csv").write_text("LoanNr_ChkDgt\n")
    with pytest.raises(
        UsageError, match=r"lacks hmda_applications_2022_2024\.parquet, hmda_lenders"
    ):
        real_records.main(
            Settings(home=tmp_path), ["--data", str(tmp_path), "--figures", str(page)]
        )


def test_a_row_that_is_not_there_is_named_before_any_work(page, tmp_path):
    options = ["--data", str(DATA), "--figures", str(page), "--only", "hmda,hdma_told"]
    with pytest.raises(
        UsageError, match=r"named hdma_told; there are: hmda, .* Nothing was measured"
    ):
        real_records.main(Settings(home=tmp_path), options)


def test_a_page_without_a_place_for_the_tables_is_named_before_any_work(tmp_path):
    page = tmp_path / "figures.md"
    page.write_text("nothing here", "utf-8")
    options = ["--data", str(DATA), "--figures", str(page)]
    with pytest.raises(UsageError, match="<!-- models whole -->"):
        real_records.main(Settings(home=tmp_path), options)


def test_without_the_whole_files_the_samples_of_the_project_are_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(real_records, "DATA", tmp_path / "nowhere")
    data, files = real_records._files(None)
    assert data == "sample"
    assert all(file.is_file() for _, file in files)


def test_lenders_too_few_to_judge_hold_no_bar():
    figures = {"auc": 0.9, "auc_low": 0.89, "auc_high": 0.91, "lenders_checked": 0}
    figures |= {
        "lenders_within": 0,
        "lenders_within_unmoved": 0,
        "brier": 0.1,
        "brier_low": 0.1,
        "brier_high": 0.1,
    }
    figures |= {"ece": 0.01, "ece_low": 0.0, "ece_high": 0.02}
    held = bars({"hmda": figures}, {"hmda": Found([], [], 9, {})})
    lenders = next(bar for bar in held.figures if "lenders" in bar["what"])
    assert (lenders["measured"], lenders["held"]) == ("none with enough rows", False)
    assert held.figures[-1]["held"]


def test_figures_of_another_draw_lie_within_the_interval_19_times_in_20():
    random = np.random.default_rng(8)
    true = random.uniform(0.05, 0.95, 200_000)
    said = np.clip(true + 0.05, 0, 1)
    whole = (random.uniform(size=true.size) < true).astype(float)
    brier = float(np.mean((said - whole) ** 2))
    inside = []
    for part in np.array_split(random.permutation(true.size), 200):
        told = spread(said[part], whole[part])
        inside.append(told["brier_low"] <= brier <= told["brier_high"])
    assert 0.90 <= np.mean(inside) <= 0.99


def test_a_model_that_is_right_shows_the_error_that_chance_gives_it():
    random = np.random.default_rng(9)
    found = []
    for _ in range(100):
        true = random.uniform(0.05, 0.95, 4_000)
        happened = (random.uniform(size=true.size) < true).astype(float)
        told = spread(true, happened)
        found.append(((told["ece_low"] + told["ece_high"]) / 2, told["ece_by_chance"]))
    seen, chance = np.mean(found, axis=0)
    assert seen == pytest.approx(chance, rel=0.05)
