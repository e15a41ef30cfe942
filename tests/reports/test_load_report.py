"""The figures are those of the manifests, and a day that went wrong is told as it is."""

import json
import shutil

import pytest

from expectations.contracts import feeds, load
from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.reports import report
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
from tests.reports.conftest import Report, make


def sayings(found: Report, weight: str) -> list[str]:
    return [f["what"] for f in found.quality["findings"] if f["weight"] == weight]


def test_a_day_with_a_refused_file_is_complete_with_something_to_look_at(whole: Report):
    assert whole.returned["state"] == whole.quality["state"] == "findings"
    assert sayings(whole, "incomplete") == []
    assert sayings(whole, "act") == [
        "1 file of broker refused (leads)",
        f"spam/{DAY}/x.csv was not taken in",
    ]


def test_counts_are_those_of_the_manifests(whole: Report):
    told = {border["source"]: border for border in whole.quality["borders"]}
    for source, counts in LEADS.items():
        assert {name: told[source][name] for name in counts} == counts
    assert whole.quality["matching"]["leads"] == LEAD_COUNTS
    assert whole.returned["received"] == LEAD_COUNTS["received"]


def test_quality_results_are_those_of_the_manifest(whole: Report):
    assert whole.quality["expectations"] == [{"feed": "leads", **result} for result in QUALITY]


def test_quarantine_accounts_for_every_row_set_aside(whole: Report):
    rows = {(row["rule"], row["rows"]) for row in whole.quality["set_aside"]}
    assert rows == {("range", 13), ("duplicate", 7), ("truncated", 41)}


def test_model_figures_are_those_of_the_registry(whole: Report):
    approval, risk = whole.quality["model_set"]["models"]
    figures = {name: approval[name] for name in FIGURES if name != "rows"}
    assert figures | {"rows": approval["rows_checked"]} == FIGURES
    assert risk["is_prior"]
    assert risk["auc"] is None
    assert whole.quality["model_set"]["as_of"] == "2026-11-16"


def test_matches_are_counted_by_institution_and_channel(whole: Report):
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


def test_trials_and_what_they_cost_are_those_of_the_manifest(whole: Report):
    matching = whole.quality["matching"]
    assert (matching["explored"], matching["price_of_learning"]) == (3, 41.75)
    assert "1.5% of the matches (3) were drawn by lot" in " ".join(whole.page.split())
    assert "costs 41.75 CNY of the plan" in " ".join(whole.page.split())


def test_a_home_without_anything_gives_a_report_that_says_so(tmp_path):
    found = make(Settings(home=tmp_path))
    assert found.returned["state"] == "incomplete"
    assert "The result of ingest is missing" in sayings(found, "incomplete")
    assert "The result of match is missing" in sayings(found, "incomplete")


STATIONS = {
    "ingest": ["lake/leads"],
    "marts": ["marts"],
    "score": ["pairs"],
    "match": ["matches", "offers", "unmatched", "reasons"],
}


@pytest.mark.parametrize("station", STATIONS)
def test_a_missing_station_is_named_with_its_folder(settings: Settings, station: str):
    for folder in STATIONS[station]:
        shutil.rmtree(settings.day_folder(settings.home / folder, DAY))
    found = make(settings)
    assert found.returned["state"] == "incomplete"
    finding = next(
        f for f in found.quality["findings"] if f["what"] == f"The result of {station} is missing"
    )
    assert f"{STATIONS[station][0]}/date={DAY}" in finding["evidence"]


@pytest.mark.parametrize("feed", ["leads", "products"])
def test_what_of_other_stations_is_published_is_still_shown(settings: Settings, feed: str):
    shutil.rmtree(settings.day_folder(settings.lake / feed, DAY))
    assert make(settings).quality["matching"]["leads"] == LEAD_COUNTS


def test_a_torn_manifest_is_unreadable_not_a_crash(settings: Settings):
    (settings.day_folder(settings.matches, DAY) / "manifest.json").write_text('{"rows": 1', "utf-8")
    found = make(settings)
    assert "The result of match is unreadable" in sayings(found, "incomplete")


def test_a_file_changed_after_it_was_published_is_told(settings: Settings):
    file = settings.day_folder(settings.unmatched, DAY) / "unmatched.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    found = make(settings)
    assert "The result of match is unreadable" in sayings(found, "incomplete")
    evidence = json.dumps(found.quality["findings"])
    assert "unmatched.parquet is not the file that was published" in evidence


def test_matches_of_earlier_marts_are_stale(settings: Settings):
    publish_marts(settings, seed=8)
    found = make(settings)
    assert "The result of match is stale" in sayings(found, "incomplete")
    assert "The result of score is stale" in sayings(found, "incomplete")


def test_a_late_file_in_an_earlier_partition_makes_the_marts_stale(settings: Settings):
    folder = settings.lake / "outcomes" / "date=2026-11-19"
    with publishing(folder, {}) as fresh:
        write_parquet(load("outcomes").lake_schema.empty_table(), fresh / "outcomes.parquet")
    found = make(settings)
    assert sayings(found, "incomplete") == ["The result of marts is stale"]


def test_pairs_scored_by_models_that_were_replaced_are_stale(settings: Settings):
    publish_models(settings, changed="max_bin: 63\n")
    assert "The result of score is stale" in sayings(make(settings), "incomplete")


def test_leads_that_do_not_add_up_make_the_day_incomplete(settings: Settings):
    publish_matches(settings, LEAD_COUNTS | {"unmatched": 54})
    found = make(settings)
    assert "Leads do not add up" in sayings(found, "incomplete")
    assert "The counts from marts to matches do not add up" in sayings(found, "incomplete")
    assert "does not add up" in found.page


def test_rows_lost_at_the_border_make_the_day_incomplete(settings: Settings):
    publish_lake(settings, "leads", {"search": LEADS["search"] | {"loaded": 189}})
    said = sayings(make(settings), "incomplete")
    assert "Rows of leads from search do not add up" in said
    assert "The quarantine of leads does not hold what was set aside" in said
    assert "The matching and the lake count different leads" in said


def test_an_institution_without_its_file_is_named(settings: Settings):
    shutil.rmtree(settings.day_folder(settings.outbox, DAY) / "bank-001")
    found = make(settings)
    assert "1 institution matched but not delivered to" in sayings(found, "incomplete")
    assert "bank-001" in json.dumps(found.quality["findings"])


def test_a_delivery_of_other_rows_than_matched_is_told(settings: Settings):
    publish_deliveries(settings, {"bank-000": 198})
    said = sayings(make(settings), "incomplete")
    assert said == [
        "The counts from matches to outbox do not add up",
        "The delivery to bank-000 is not what was matched",
    ]


def test_a_channel_that_fell_silent_is_named(settings: Settings):
    publish_marts(settings, without="channel-2")
    note = next(f for f in make(settings).quality["findings"] if "none today" in f["what"])
    assert note["evidence"] == "channel-2"


def test_a_report_again_changes_no_byte(settings: Settings):
    report(settings, DAY)
    folder = settings.day_folder(settings.reports, DAY)
    before = read_manifest(folder)
    report(settings, DAY)
    assert read_manifest(folder) == before


def test_the_number_of_threads_changes_no_byte(settings: Settings, whole: Report):
    assert make(settings.model_copy(update={"threads": 1})) == whole


def test_every_feed_has_its_state(whole: Report):
    folders = {step["folder"] for step in whole.quality["steps"]}
    assert {f"lake/{feed}/date={DAY}" for feed in feeds()} <= folders
