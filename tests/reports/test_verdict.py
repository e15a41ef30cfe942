"""The verdict follows from findings by rule; steps state findings in their manifests."""

import json
import re
from typing import Any

import pytest

from expectations import policy
from pipelines.core.errors import DayNotFit, InputMissing, IntegrityError
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.reports.publish_report import report
from pipelines.reports.reconcile_day import close_day, load_figures
from pipelines.reports.verdict import decide, make_finding, sort_findings
from tests.helpers.html import page_text
from tests.helpers.published_day import DAY, LEAD_COUNTS, PERSON, publish_matches
from tests.helpers.representatives import keep
from tests.reports.conftest import PublishedReport, publish_report


def state_findings(settings: Settings, root: str, *findings: Any) -> None:
    """Add `findings` to the manifest of a published folder of the day, as its step would."""
    path = settings.day_folder(settings.home / root, DAY) / MANIFEST
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest = json.loads(path.read_text("utf-8")) if path.exists() else {"files": {}}
    path.write_text(json.dumps(manifest | {"findings": list(findings)}), "utf-8")


def by_id(found: PublishedReport) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in found.quality["findings"]}


def test_the_rules_are_sorted_by_id_so_that_two_changes_rarely_conflict():
    rules = list(policy.verdict_rules())
    assert rules == sorted(rules)


@pytest.mark.parametrize(
    ("ids", "verdict"),
    [
        ((), "fit"),
        (("data_simulated", "late_files"), "fit"),
        (("late_files", "file_rejected"), "remarks"),
        (("file_rejected", "day_empty"), "not_fit"),
        (("no_such_rule",), "not_fit"),
    ],
)
def test_the_most_severe_finding_decides(ids: tuple[str, ...], verdict: str):
    assert decide(make_finding(name) for name in ids).name == verdict


def test_the_three_most_important_reasons_come_first_and_the_others_are_counted():
    names = ["leads_do_not_add_up", "result_stale", "day_empty", "order_list_rejected"]
    verdict = decide(make_finding(name) for name in ["file_rejected", *names, "late_files"])
    assert [finding.id for finding in verdict.reasons] == ["order_list_rejected", *names[:2]]
    assert verdict.others == 1


def test_a_rule_is_named_again_only_after_every_other_one():
    files = [make_finding("file_rejected", where=name) for name in "abcd"]
    others = [make_finding("currency_not_iso"), make_finding("file_not_read")]
    verdict = decide([*files, *others])
    assert [(found.id, found.where) for found in verdict.reasons] == [
        ("file_rejected", "a"),
        ("currency_not_iso", ""),
        ("file_not_read", ""),
    ]
    assert verdict.others == 3


def test_findings_of_equal_rank_keep_their_order():
    findings = [make_finding("file_not_read", path=path) for path in ("b", "a")]
    assert sort_findings(findings) == tuple(findings)


def test_a_finding_has_what_how_much_where_and_what_to_do(whole: PublishedReport):
    for finding in whole.quality["findings"]:
        rule = policy.verdict_rules()[finding["id"]]
        assert (finding["severity"], finding["action"]) == (rule.severity, rule.action)
        assert {"title", "amount", "where", "evidence"} <= finding.keys()
        assert "not stated" not in finding["title"]
    rejected = by_id(whole)["file_rejected"]
    assert (rejected["amount"], rejected["where"]) == (1, "leads/broker")


def test_the_first_lines_of_the_page_are_the_verdict_and_its_reasons(whole: PublishedReport):
    heading = re.search(r"<h1>(.*?)</h1>", whole.page)
    assert heading
    assert heading[1] == "Fit with remarks"
    text = page_text(whole.page)
    start = text.index("Fit with remarks")
    assert start < text.index("1 file of broker rejected (leads).") < text.index("Leads received")
    assert whole.quality["reasons"][0].startswith("A large part of the leads is in refused files")
    assert whole.quality["reasons"][1] == "1 file of broker rejected (leads)"
    assert f"<title>Banyan, {DAY}: fit with remarks</title>" in whole.page


@pytest.mark.parametrize(
    "root", keep((1, 2), ["marts", "lake/suppressions", "quarantine/leads", "receipts"])
)
def test_a_step_states_a_finding_in_any_manifest_of_the_day(settings: Settings, root: str):
    stated = {"id": "file_not_read", "count": 3, "sources": ["bank-007"], "detail": "line 7"}
    state_findings(settings, root, stated)
    found = publish_report(settings).quality["findings"]
    (finding,) = (row for row in found if row["where"] == "bank-007")
    assert (finding["amount"], finding["evidence"]) == (3, "line 7")
    assert finding["severity"] == "remark"


def test_manifests_that_state_the_same_finding_are_added_up(settings: Settings):
    stated = {"id": "delivery_held_back", "count": 2, "sources": ["bank-000"], "detail": "one"}
    state_findings(settings, "lake/leads", stated)
    state_findings(settings, "marts", stated | {"sources": ["bank-001"], "detail": "two"})
    finding = by_id(publish_report(settings))["delivery_held_back"]
    assert (finding["amount"], finding["where"]) == (4, "bank-000, bank-001")
    assert finding["evidence"] == "one; two"


def test_an_id_without_a_rule_makes_the_day_not_fit(settings: Settings):
    state_findings(settings, "marts", {"id": "meteor", "count": 1, "sources": [], "detail": "hit"})
    found = publish_report(settings)
    assert found.returned["verdict"] == "not_fit"
    assert by_id(found)["finding_unknown"]["evidence"] == "`meteor`: hit"


@pytest.mark.parametrize(
    "broken",
    keep(
        (0, 3),
        [
            "late_files",
            7,
            {"count": 3},
            {"id": "late_files", "count": "many"},
            {"id": "late_files", "rows": 3},
            {"id": "late_files", "sources": "bank"},
            {"id": "late_files", "sources": [4]},
            {"id": "late_files", "detail": ["x"]},
        ],
    ),
)
def test_findings_that_cannot_be_read_make_the_day_not_fit(settings: Settings, broken: object):
    state_findings(settings, "marts", broken)
    found = publish_report(settings)
    assert found.returned["verdict"] == "not_fit"
    assert by_id(found)["finding_unreadable"]["where"] == f"marts/date={DAY}"


def test_a_stated_finding_shows_no_personal_data(settings: Settings):
    detail = f"phone {PERSON['phone']} and {PERSON['id_number']}"
    state_findings(
        settings, "marts", {"id": "late_files", "count": 1, "sources": ["a"], "detail": detail}
    )
    found = publish_report(settings)
    assert "phone [masked] and [masked]" in found.page
    assert PERSON["phone"] not in found.page + str(found.quality)


def test_the_close_of_a_fit_day_returns_its_figures(settings: Settings):
    report(settings, DAY)
    figures = close_day(settings, DAY)
    assert figures["verdict"] == "remarks"
    assert figures["received"] == LEAD_COUNTS["received"]


def test_the_close_of_a_day_that_is_not_fit_states_why_and_removes_nothing(settings: Settings):
    state_findings(settings, "lake/leads", {"id": "meteor", "count": 1, "sources": ["sky"]})
    report(settings, DAY)
    before = sorted(path for path in settings.home.rglob("*") if path.is_file())
    with pytest.raises(DayNotFit, match="is not fit: A step states a finding that has no rule"):
        close_day(settings, DAY)
    assert sorted(path for path in settings.home.rglob("*") if path.is_file()) == before


def test_counts_that_do_not_add_up_are_refused_before_the_verdict(settings: Settings):
    publish_matches(settings, LEAD_COUNTS | {"unmatched": 54})
    report(settings, DAY)
    with pytest.raises(IntegrityError, match="251 leads were received"):
        close_day(settings, DAY)


@pytest.mark.parametrize("damage", keep((1, 3), ["", "{", "[]", '{"state": "complete"}']))
def test_a_verdict_that_cannot_be_read_is_reported_with_its_file(settings: Settings, damage: str):
    report(settings, DAY)
    path = settings.day_folder(settings.reports, DAY) / "quality.json"
    path.write_text(damage, "utf-8")
    with pytest.raises(InputMissing, match="has no verdict"):
        load_figures(settings, DAY)
