"""The figures equal the manifests', and a defect of the day becomes a finding."""

import json
import shutil

import duckdb
import pytest

from expectations.contracts import feeds, load
from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.reports.load_report import PartLoader
from pipelines.reports.publish_report import report
from tests.helpers.html import section_text
from tests.helpers.published_day import (
    DAY,
    FIGURES,
    LEAD_COUNTS,
    LEADS,
    QUALITY,
    publish_deliveries,
    publish_lake,
    publish_marts,
    publish_matches,
    publish_models,
)
from tests.reports.conftest import PublishedReport, publish_report


def titles(found: PublishedReport, severity: str) -> list[str]:
    return [f["title"] for f in found.quality["findings"] if f["severity"] == severity]


def test_a_day_with_a_rejected_file_is_fit_with_remarks(whole: PublishedReport):
    assert whole.returned["verdict"] == whole.quality["verdict"] == "remarks"
    assert titles(whole, "not_fit") == []
    assert titles(whole, "remark") == [
        (
            "A large part of the leads is in refused files or in quarantine: "
            "54 of 251 leads (21.5%), most from broker, search"
        ),
        "1 file of broker rejected (leads)",
        f"spam/{DAY}/x.csv was not read",
    ]


def test_counts_equal_the_manifests(whole: PublishedReport):
    intake = {row["source"]: row for row in whole.quality["intake"]}
    for source, counts in LEADS.items():
        assert {name: intake[source][name] for name in counts} == counts
    assert whole.quality["matching"]["leads"] == LEAD_COUNTS
    assert whole.returned["received"] == LEAD_COUNTS["received"]


def test_quality_results_equal_the_manifest(whole: PublishedReport):
    assert whole.quality["expectations"] == [{"feed": "leads", **result} for result in QUALITY]


def test_quarantine_accounts_for_every_row_not_loaded(whole: PublishedReport):
    rows = {(row["rule"], row["rows"]) for row in whole.quality["quarantine"]}
    assert rows == {("range", 13), ("duplicate", 7), ("truncated", 41)}


def test_model_figures_equal_the_registry(whole: PublishedReport):
    approval, risk = whole.quality["model_set"]["models"]
    figures = {name: approval[name] for name in FIGURES if name != "rows"}
    assert figures | {"rows": approval["rows_evaluated"]} == FIGURES
    assert risk["is_prior"]
    assert risk["auc"] is None
    assert whole.quality["model_set"]["as_of"] == "2026-11-16"


def test_matches_are_counted_by_institution_and_channel(whole: PublishedReport):
    matching = whole.quality["matching"]
    by_institution = {row["institution_id"]: row for row in matching["institutions"]}
    assert [by_institution[name]["matches"] for name in ("bank-000", "bank-001")] == [199, 1]
    first = by_institution["bank-000"]
    money = [round(199 * value, 2) for value in (100.25, 12.5)]
    assert [first["expected_value"], first["expected_cost"]] == money
    assert [first["p_approve"], first["pd"]] == [0.4271, 0.0314]
    by_channel = {row["channel_id"]: row for row in matching["channels"]}
    assert by_channel["channel-0"]["matched"] == 120
    assert sum(row["leads"] for row in matching["channels"]) == 200


def test_exploration_and_its_cost_equal_the_manifest(whole: PublishedReport):
    matching = whole.quality["matching"]
    assert (matching["explored"], matching["exploration_cost"]) == (3, 41.75)
    section = section_text(whole.page, "matches")
    assert "1.5% of the matches (3) were drawn at random" in section
    assert "The exploration cost is 41.75 CNY" in section


def test_surplus_fees_and_steering_equal_the_manifest(whole: PublishedReport):
    section = section_text(whole.page, "matches")
    assert "Surplus of the matches 20,050.00" in section
    assert "Fees that institutions pay of it 9,000.00" in section
    assert "It is 950.00 CNY short of that" in section
    assert "The last CNY of fees costs 0.25 CNY of surplus" in section
    section = section_text(whole.page, "conduct")
    assert "42 of the 60 persons" in section
    assert "expected cost of 31.50 CNY to them" in section


def test_fees_below_the_cost_of_the_leads_are_a_note(whole: PublishedReport):
    assert "The expected fees of the day are 950 CNY short of what its leads cost" in titles(
        whole, "fit"
    )


def test_an_empty_home_has_a_report_with_every_step_missing(tmp_path):
    found = publish_report(Settings(home=tmp_path))
    assert found.returned["verdict"] == "not_fit"
    assert "The result of ingest is missing" in titles(found, "not_fit")
    assert "The result of match is missing" in titles(found, "not_fit")


FOLDERS_OF_STEP = {
    "ingest": ["lake/leads"],
    "marts": ["marts"],
    "score": ["pairs"],
    "match": ["matches", "offers", "unmatched", "reasons"],
}


@pytest.mark.parametrize("step", FOLDERS_OF_STEP)
def test_a_missing_step_is_named_with_its_folder(settings: Settings, step: str):
    for folder in FOLDERS_OF_STEP[step]:
        shutil.rmtree(settings.day_folder(settings.home / folder, DAY))
    found = publish_report(settings)
    assert found.returned["verdict"] == "not_fit"
    finding = next(
        f for f in found.quality["findings"] if f["title"] == f"The result of {step} is missing"
    )
    assert f"{FOLDERS_OF_STEP[step][0]}/date={DAY}" in finding["evidence"]


@pytest.mark.parametrize("feed", ["leads", "products"])
def test_a_missing_feed_does_not_hide_the_matching(settings: Settings, feed: str):
    shutil.rmtree(settings.day_folder(settings.lake / feed, DAY))
    assert publish_report(settings).quality["matching"]["leads"] == LEAD_COUNTS


def test_a_truncated_manifest_is_reported_as_unreadable(settings: Settings):
    (settings.day_folder(settings.matches, DAY) / "manifest.json").write_text('{"rows": 1', "utf-8")
    found = publish_report(settings)
    assert "The result of match is unreadable" in titles(found, "not_fit")


def test_a_file_changed_after_publication_is_reported(settings: Settings):
    file = settings.day_folder(settings.unmatched, DAY) / "unmatched.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    found = publish_report(settings)
    assert "The result of match is unreadable" in titles(found, "not_fit")
    evidence = json.dumps(found.quality["findings"])
    assert "unmatched.parquet is not the file that was published" in evidence


def test_matches_of_earlier_marts_are_stale(settings: Settings):
    publish_marts(settings, seed=8)
    found = publish_report(settings)
    assert "The result of match is stale" in titles(found, "not_fit")
    assert "The result of score is stale" in titles(found, "not_fit")


def test_a_late_file_in_an_earlier_partition_makes_the_marts_stale(settings: Settings):
    folder = settings.lake / "outcomes" / "date=2026-11-19"
    with publishing(folder, {}) as fresh:
        write_parquet(load("outcomes").lake_schema.empty_table(), fresh / "outcomes.parquet")
    found = publish_report(settings)
    assert titles(found, "not_fit") == ["The result of marts is stale"]


def test_pairs_scored_by_models_that_were_replaced_are_stale(settings: Settings):
    publish_models(settings, changed="max_bin: 63\n")
    assert "The result of score is stale" in titles(publish_report(settings), "not_fit")


def test_leads_that_do_not_add_up_make_the_day_not_fit(settings: Settings):
    publish_matches(settings, LEAD_COUNTS | {"unmatched": 54})
    found = publish_report(settings)
    assert "Leads do not add up" in titles(found, "not_fit")
    assert "The counts from marts to matches do not add up" in titles(found, "not_fit")
    assert "does not add up" in found.page


def test_rows_lost_at_intake_make_the_day_not_fit(settings: Settings):
    publish_lake(settings, "leads", {"search": LEADS["search"] | {"loaded": 189}})
    incomplete = titles(publish_report(settings), "not_fit")
    assert "Rows of leads from search do not add up" in incomplete
    assert "The quarantine of leads is not complete" in incomplete
    assert "The matching and the lake count different leads" in incomplete


def test_an_institution_without_its_file_is_named(settings: Settings):
    shutil.rmtree(settings.day_folder(settings.outbox, DAY) / "bank-001")
    found = publish_report(settings)
    assert "1 institution matched but not delivered to" in titles(found, "not_fit")
    assert "bank-001" in json.dumps(found.quality["findings"])


def test_a_delivery_that_differs_from_the_matches_is_reported(settings: Settings):
    publish_deliveries(settings, {"bank-000": 198})
    incomplete = titles(publish_report(settings), "not_fit")
    assert incomplete == [
        "The counts from matches to outbox do not add up",
        "The delivery to bank-000 differs from its matches",
    ]


def test_a_silent_channel_is_named(settings: Settings):
    publish_marts(settings, without="channel-2")
    note = next(
        f for f in publish_report(settings).quality["findings"] if "none today" in f["title"]
    )
    assert note["evidence"] == "channel-2"


def test_a_second_report_has_the_same_bytes(settings: Settings):
    report(settings, DAY)
    folder = settings.day_folder(settings.reports, DAY)
    before = read_manifest(folder)
    report(settings, DAY)
    assert read_manifest(folder) == before


def test_threads_do_not_change_the_bytes(settings: Settings, whole: PublishedReport):
    assert publish_report(settings.model_copy(update={"threads": 1})) == whole


def test_every_feed_has_a_state(whole: PublishedReport):
    folders = {step["folder"] for step in whole.quality["steps"]}
    assert {f"lake/{feed}/date={DAY}" for feed in feeds()} <= folders


def test_a_part_without_enough_memory_is_no_damage():
    def read():
        raise duckdb.OutOfMemoryException("no room")

    parts = PartLoader()
    with pytest.raises(duckdb.OutOfMemoryException):
        parts.load("quarantine", read, None)
    assert parts.findings == []
