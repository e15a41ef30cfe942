"""The mappings of the public files, on the samples in this project."""

import csv
import gzip
from collections import Counter

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from expectations import mapping
from expectations.contracts import load
from pipelines.core.settings import Settings
from pipelines.importing import import_file
from tests.importing.conftest import landed

SAMPLES = mapping.FOLDER / "samples"
HMDA, SBA = SAMPLES / "hmda_sample.parquet", SAMPLES / "sba_7a_loans.csv.gz"


@pytest.fixture(scope="module")
def hmda(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("hmda"))
    return settings, import_file(settings, "hmda", HMDA), landed(settings, "leads")


@pytest.fixture(scope="module")
def sba(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("sba"))
    return settings, import_file(settings, "sba", SBA), landed(settings, "leads")


@pytest.fixture(scope="module")
def loans():
    with gzip.open(SBA, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_sample_has_a_hundred_lenders_with_fifty_rows_and_every_year():
    rows = pq.read_table(HMDA)
    lenders = Counter(rows["lei"].to_pylist())
    assert rows.num_rows >= 20_000
    assert sum(count >= 50 for count in lenders.values()) >= 100
    assert set(rows["activity_year"].to_pylist()) == {2022, 2023, 2024}
    assert pc.min(rows["applicant_income_000s"]).as_py() < 0, "invalid values are in the sample"
    assert pc.max(rows["loan_to_value_ratio"]).as_py() > 500, "invalid values are in the sample"


def test_every_hmda_row_is_a_lead_with_two_outcomes_and_a_lender(hmda):
    _, result, leads = hmda
    rows = pq.read_table(HMDA)
    lenders = len(set(rows["lei"].to_pylist()))
    assert result["read"] == rows.num_rows == len(leads)
    assert result["quarantined"] == {}
    assert result["feeds"]["outcomes"]["rows"] == 2 * rows.num_rows
    assert result["feeds"]["products"]["rows"] == lenders
    assert result["feeds"]["institutions"]["rows"] == 4 * lenders  # one list more for each year


@pytest.mark.prove
def test_the_register_of_a_year_is_known_from_its_publication(hmda):
    settings, result, _ = hmda
    register = pq.read_table(SAMPLES / "hmda_lenders_by_year.parquet").to_pylist()
    decided = {(row["lei"].lower(), row["year"]): row["application_count"] for row in register}
    assert result["beside"]["lenders"]["rows"] == len(register) > 500
    lists = landed(settings, "institutions")
    assert {row["register_applications"] for row in lists if row["landed"] < "2022-03-31"} == {""}
    later = [row for row in lists if row["landed"] >= "2022-03-31"]
    assert len(later) == 3 * len({row["institution_id"] for row in lists})
    for row in later:
        count = decided.get((row["institution_id"], int(row["landed"][:4]) - 1), "")
        assert row["register_applications"] == f"{count}"


@pytest.mark.prove
def test_a_file_without_its_register_is_imported(tmp_path):
    copy = tmp_path / HMDA.name
    copy.write_bytes(HMDA.read_bytes())
    result = import_file(Settings(home=tmp_path / "home"), "hmda", copy)
    assert result["beside"] == {"lenders": None}
    assert result["feeds"]["institutions"]["rows"] == result["feeds"]["products"]["rows"]


def test_hmda_decisions_agree_with_the_register(hmda):
    settings, _, _ = hmda
    events = Counter(row["event"] for row in landed(settings, "outcomes"))
    approved = pc.sum(pq.read_table(HMDA)["approved"]).as_py()
    rows = pq.read_metadata(HMDA).num_rows
    assert events == {"applied": rows, "approved": approved, "declined": rows - approved}


def test_hmda_amounts_and_ratios_are_in_the_contracts_units(hmda):
    _, _, leads = hmda
    rows = pq.read_table(HMDA)
    assert sum(float(row["amount"]) for row in leads) == pc.sum(rows["loan_amount"]).as_py()
    income = sum(float(row["income_monthly"] or 0) for row in leads)
    assert income == pytest.approx(pc.sum(rows["applicant_income_000s"]).as_py() * 1000 / 12)
    ratio = sum(float(row["loan_to_value"] or 0) for row in leads)
    assert ratio == pytest.approx(pc.sum(rows["loan_to_value_ratio"]).as_py() / 100)


def test_a_lead_is_captured_in_the_year_of_the_register_and_on_the_day_it_lands(hmda):
    _, _, leads = hmda
    assert all(row["captured_at"].startswith(row["landed"]) for row in leads)
    years = Counter(row["landed"][:4] for row in leads)
    assert years == Counter(map(str, pq.read_table(HMDA)["activity_year"].to_pylist()))
    assert len({row["source"] for row in leads}) == 5


def test_protected_attributes_land_only_in_protected_columns(hmda):
    settings, _, leads = hmda
    rows = pq.read_table(HMDA, columns=["sex", "race", "ethnicity"])
    values = {text for name in rows.column_names for text in rows[name].to_pylist()}
    values -= {"Sex Not Available"}
    protected = {column.name for column in load("leads").columns if column.protected}
    assert protected == {"gender", "ethnicity"}
    for name in leads[0].keys() - protected:
        assert not values & {row[name] for row in leads}, name
    assert {row["gender"] for row in leads} <= values | {""}
    fields = {row["fields"] for row in landed(settings, "institutions")}
    assert all(not protected & set(text.split("|")) for text in fields)


def test_catalogues_are_known_before_the_first_lead(hmda, sba):
    for settings, result, _ in (hmda, sba):
        first = result["feeds"]["leads"]["first"]
        for feed in ("institutions", "products"):
            assert result["feeds"][feed]["first"] < first
        assert {row["source"] for row in landed(settings, "outcomes")} <= {
            row["institution_id"] for row in landed(settings, "institutions")
        }


def test_an_outcome_is_landed_after_it_was_recorded(hmda, sba):
    for settings, _, _ in (hmda, sba):
        for row in landed(settings, "outcomes"):
            assert row["event_at"] <= row["recorded_at"] < row["landed"]


def test_every_sba_loan_is_a_lead(sba, loans):
    _, result, leads = sba
    assert result["read"] == len(loans) == len(leads) == 22_427
    assert {row["lead_id"] for row in leads} == {loan["LoanNr_ChkDgt"] for loan in loans}
    assert sum(float(row["amount"]) for row in leads) == sum(
        float(loan["GrAppv"]) for loan in loans
    )


def test_sba_outcomes_agree_with_the_file_and_other_rows_are_quarantined(sba, loans):
    settings, result, _ = sba
    events = Counter(row["event"] for row in landed(settings, "outcomes"))
    named = [loan for loan in loans if loan["Bank"]]
    paid_out = [loan for loan in named if loan["DisbursementDate"]]
    assert events == {
        "applied": len(named),
        "approved": len(named),
        "funded": len(paid_out),
        "repaid": sum(loan["MIS_Status"] == "P I F" for loan in paid_out),
        "overdue_90": sum(
            loan["MIS_Status"] == "CHGOFF" and loan["ChgOffDate"] != "" for loan in named
        ),
    }
    assert sum(result["quarantined"].values()) == result["feeds"]["outcomes"]["quarantined"] == 89


def test_no_sba_lead_has_a_column_that_reveals_its_outcome(sba, loans):
    _, _, leads = sba
    assert not {row.get("term_months") for row in leads} - {None, ""}
    by_id = {loan["LoanNr_ChkDgt"]: loan for loan in loans}
    for name in leads[0].keys() - {"lead_id", "landed", "captured_at", "consent_at"}:
        shown = [row[name] for row in leads]
        for leak in ("Term", "ChgOffDate", "ChgOffPrinGr", "MIS_Status"):
            values = [by_id[row["lead_id"]][leak] for row in leads]
            assert shown != values, f"{name} is {leak}"


def test_invalid_sba_flags_are_translated_or_empty(sba):
    _, _, leads = sba
    for name in ("is_revolving", "is_franchise", "is_urban", "is_new_business"):
        assert {row[name] for row in leads} <= {"true", "false", ""}
    assert {row["loan_program"] for row in leads} == {"low_doc", "regular", ""}
    assert "0" not in {row["industry"] for row in leads}
    assert all(len(row["industry"]) in {0, 4} for row in leads)


def test_every_invented_column_has_a_rule():
    for name in ("hmda", "sba"):
        routes = mapping.load(name).mapping.routes
        assert all(rule.strip() for route in routes for rule in route.invented.values())
        leads = next(route for route in routes if route.feed == "leads")
        assert {"source", "date", "captured_at", "consent_scope"} <= leads.invented.keys()
