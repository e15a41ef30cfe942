"""Restrictions, reviews of decisions, and the export of what is held."""

import csv
import json
import re
import shutil
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from expectations.contracts import load
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.home.erasures import read_tombstones
from pipelines.core.home.person_ledger import list_restrictions, list_reviews, read_ledger
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.explain.lead import DECISIONS
from pipelines.matches.stage_labels import FUNNEL
from pipelines.persons import export
from pipelines.persons.collect import collect_person, find_persons
from pipelines.persons.erase import erase
from pipelines.persons.restrict import lift, restrict
from pipelines.persons.review import decide_review, list_open_reviews, open_review
from pipelines.reports.sections.persons import Persons, load_persons, persons_findings
from tests.helpers.delivered_home import FIRST
from tests.helpers.lake import at, write_feed
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.person_home import NEXT, id_number, list_values, phone, write_home
from tests.helpers.raw_search import find_values

WHO = {"by": "ann", "reason": "ticket 12"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return write_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def settings(template: Settings, tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    return Settings(home=home, threads=1)


def list_rules(settings: Settings, day) -> set[str]:
    return {finding.id for finding in persons_findings(load_persons(settings, day), day)}


def test_a_restriction_is_an_order_until_it_is_lifted(settings: Settings):
    entry = restrict(settings, "phone", [phone(2)], **WHO)
    (landed,) = (settings.landing / "suppressions" / "banyan" / f"{NEXT}").glob("*.csv")
    orders = list(csv.DictReader(landed.read_text("utf-8").splitlines()))
    assert [row["reason"] for row in orders] == ["do_not_contact"] * 2
    begins = datetime.combine(NEXT, time.min, settings.zone)
    assert {datetime.fromisoformat(row["effective_at"]) for row in orders} == {begins}
    rows = [
        {"platform_id": "banyan", "file": landed.name, "reason": "do_not_contact"},
        {"platform_id": "partner", "file": landed.name, "reason": "fraud"},
    ]
    order = {"subject_type": "phone", "subject": "00", "effective_at": at("2026-03-03 09:00")}
    write_feed(settings, "suppressions", NEXT, [order | row for row in rows])
    content = read_manifest(settings.day_folder(settings.lake / "suppressions", NEXT))
    assert load_persons(settings, NEXT).restricted == 1
    lift(settings, entry["id"], **WHO)
    assert landed.read_text("utf-8").strip() == "subject_type,subject,reason,effective_at"
    folder = settings.day_folder(settings.lake / "suppressions", NEXT)
    assert read_manifest(folder)["content_sha256"] == content["content_sha256"]
    assert read_tombstones(folder)[0]["files"]["suppressions.parquet"]["changed"] == 1
    (restriction,) = list_restrictions(settings)
    assert restriction.lifted_on == NEXT
    assert load_persons(settings, NEXT).restricted == 0
    with pytest.raises(InputMissing, match="There is no restriction"):
        lift(settings, entry["id"], **WHO)


def test_a_decision_is_open_in_the_verdict_until_a_human_has_looked_at_it(settings: Settings):
    review = open_review(settings, "id_number", [id_number(2)], FIRST, **WHO)
    (listed,) = list_open_reviews(settings)
    assert listed["leads"] == ["search/lead-0002"]
    assert "reviews_open" in list_rules(settings, NEXT)
    assert "reviews_open" not in list_rules(settings, FIRST)
    late = NEXT + timedelta(days=40)
    assert "reviews_overdue" in list_rules(settings, late)
    decide_review(settings, review["id"], "changed", by="bob", note="offered again")
    assert not list_open_reviews(settings)
    assert (list_reviews(settings)[0].result, list_reviews(settings)[0].decided_on) == (
        *("changed", NEXT),
    )
    assert not {"reviews_open", "reviews_overdue"} & list_rules(settings, late)
    with pytest.raises(InputMissing, match="There is no open review"):
        decide_review(settings, review["id"], "upheld", by="bob", note="again")


def test_the_ledger_names_nobody_and_forgets_an_erased_person(settings: Settings):
    open_review(settings, "phone", [phone(2)], FIRST, **WHO)
    restrict(settings, "phone", [phone(2)], **WHO)
    assert find_values(settings.persons, list_values(2)) == {}
    assert len(collect_person(settings, "phone", [phone(2)])["requests"]) == 2
    erase(settings, "phone", [phone(2)], **WHO)
    assert list_open_reviews(settings)[0]["leads"] == []
    assert [entry["verb"] for entry in read_ledger(settings)] == ["review", "restrict", "erase"]


def test_a_review_needs_a_decision_of_the_person(settings: Settings):
    with pytest.raises(InputMissing, match=f"no lead on {NEXT}; dates with one: {FIRST}"):
        open_review(settings, "phone", [phone(2)], NEXT, **WHO)
    with pytest.raises(UsageError, match="2 persons are named"):
        open_review(settings, "phone", [phone(1), phone(2)], FIRST, **WHO)


def test_orders_to_erase_and_killed_erasures_are_findings(settings: Settings):
    order = {"subject_type": "lead", "subject": "search/lead-0002", "reason": "erasure"}
    times = {"effective_at": at("2026-03-02 09:00")}
    write_feed(settings, "suppressions", FIRST, [order | times])
    assert "erasure_orders_open" in list_rules(settings, FIRST)
    assert "erasure_orders_overdue" in list_rules(settings, FIRST + timedelta(days=31))
    erase(settings, "phone", [phone(2)], **WHO)
    assert not {name for name in list_rules(settings, FIRST) if "erasure" in name}
    assert {each.id for each in persons_findings(Persons(unfinished=("e1",)), FIRST)} == {
        "erasure_unfinished"
    }


def test_find_lists_leads_and_institutions_and_counts_the_unknown(settings: Settings):
    found = find_persons(settings, "phone", [phone(2), "+8613999999999"])
    (person,) = found["persons"]
    (row,) = person["leads"]
    assert (row["lead_id"], row["institutions"]) == ("lead-0002", ["bank-a", "bank-b"])
    assert found["unknown"] == 1


def test_an_export_has_everything_of_one_person_in_both_languages(settings, tmp_path):
    person = collect_person(settings, "phone", [phone(2)])
    paths = export.write_export(settings, person, tmp_path / "export")
    stored, page = (path.read_text("utf-8") for path in paths)
    for value in (id_number(2), phone(2), "Canary 2", "device-2-canary", "lead-0002"):
        assert value in stored
        assert value in page
    others = find_values(tmp_path / "export", list_values(1) | list_values(3))
    assert others == {}
    (lead,) = person["leads"]
    assert {row["institution_id"] for row in lead["deliveries"]} == {"bank-a", "bank-b"}
    assert {row["state"] for row in lead["deliveries"]} == {"sent"}
    assert json.loads(stored)["leads"][0]["received"]["phone"] == phone(2)
    assert not re.search(r"<script|https?://|src=|url\(", page)
    english, chinese = (
        page.split(f'<main id="{name}"')[1].split("</main>")[0] for name in ("en", "zh")
    )
    assert not re.search("[一-鿿]", english)
    assert "您的手机号码" in chinese


def test_every_step_and_decision_has_words_in_both_languages():
    words = export.load_wording()["why"]
    assert {*FUNNEL, *DECISIONS, "not_scored", "closed"} - {*words} == set()
    assert all(set(each) == set(export.LANGUAGES) for each in words.values())


@pytest.mark.parametrize(
    ("language", "why"),
    [
        ("en", "the amount is outside its limits; a rule of the institution is not met: your "),
        ("zh", "金额不在其范围内；不符合该机构的规则：您的征信评分"),  # noqa: RUF001
    ],
)
def test_a_product_that_was_not_offered_has_its_reason_in_words(language: str, why: str):
    checks = [("amount", "amount between 10 and 20", "below"), ("term", "term_months", "met")]
    checks += [("rules", f"bureau_score ge {number}", "below") for number in (580, 600)]
    row = {
        "institution_id": "bank",
        "product_id": "loan",
        "decision": "amount",
        "checks": [dict(zip(("step", "rule", "answer"), each, strict=True)) for each in checks],
    }
    explained = {"products": [row], "stage": "low_value", "detail": "odds_below_minimum"}
    lead = {"date": f"{FIRST}", "lead_id": "a", "channel_id": "b", "explanation": explained}
    empty = ("features", "offers", "reasons", "refusals", "scores", "deliveries", "outcomes")
    lead |= {"received": {}, "notices": []} | {name: [] for name in empty}
    person = {"leads": [lead], "rejected": [], "orders": [], "requests": [], "made_on": "2026"}
    page = export.render(person).split(f'<main id="{language}"')[1].split("</main>")[0]
    assert f"<td>{why}" in page
    assert "odds_below_minimum" not in page


def test_every_column_of_a_lead_has_words_in_both_languages():
    names = {*SCHEMAS["leads"].names, *load("leads").lake_schema.names}
    for language in export.LANGUAGES:
        missing = {name for name in names if export.label_column(name, language) == name}
        assert missing == set(), language


def test_every_word_of_the_page_is_in_both_languages():
    def check(words, path=""):
        if set(words) & set(export.LANGUAGES):
            assert set(words) == set(export.LANGUAGES), path
            assert all(words.values()), path
        else:
            for key, value in words.items():
                check(value, f"{path}/{key}")

    check(export.load_wording())


def test_an_export_is_of_one_person_and_lies_outside_of_the_home(settings, tmp_path):
    with pytest.raises(UsageError, match="an export is of one"):
        collect_person(settings, "phone", [phone(1), phone(2)])
    person = collect_person(settings, "phone", [phone(2)])
    with pytest.raises(export.ExportRefused, match="lies in the home"):
        export.write_export(settings, person, settings.home / "export")
    export.write_export(settings, person, tmp_path / "export")
    with pytest.raises(export.ExportRefused, match="exists"):
        export.write_export(settings, person, tmp_path / "export")
