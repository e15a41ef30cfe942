"""The page is one well-formed file without network requests and without personal data."""

import pytest

from expectations import policy
from pipelines.core import formats
from pipelines.core.settings import Settings
from tests.helpers.html import (
    assert_self_contained,
    assert_well_formed,
    page_text,
    table_rows,
)
from tests.helpers.published_day import DAY, FIGURES, PERSON, REFUSAL, publish_day
from tests.reports.conftest import PublishedReport, publish_report

APPROVAL = "0.781 | 0.770 to 0.792 | 0.442 | 0.1813 | 0.0122 | 41.1% | 22,811 | 5,120"


def test_every_tag_is_closed_in_order(whole: PublishedReport):
    assert_well_formed(whole.page)


def test_the_page_requests_nothing_from_the_network(whole: PublishedReport):
    assert_self_contained(whole.page)


def test_personal_data_in_quarantine_is_not_in_the_report(whole: PublishedReport):
    published = whole.page + str(whole.quality)
    assert "amount must be at least 0.01" in published
    leaked = [name for name, value in PERSON.items() if value in published]
    assert leaked == []


@pytest.mark.parametrize(
    "text",
    ["refused 11010519491231002X", "call +8613912345678", "call 13912345678", "to li@mail.cn"],
)
def test_text_that_looks_personal_is_masked(text: str):
    assert formats.without_personal(text).split()[1] == "[masked]"


def test_file_names_and_hashes_are_not_masked():
    path = "leads/search/2026-11-20/leads_20261120_101500.csv 9f86d081884c7d659a2feaa0c55ad015"
    assert formats.without_personal(path) == path


@pytest.mark.parametrize(
    "row",
    [
        "received | 251 | 100.0% |  | in the files of the channels",
        "matched | 120 | 47.8% |  | matched with at least one product",
        "quota | every suitable product was full | 50 | ",
        "no product | amount outside the limits of every product | 5 | ",
        "amount within the limits | 13 | 59.1% | ",
        "lake to marts | 190 | 171 to be matched + 12 duplicate + 7 identity | adds up",
        "matches to outbox | 200 | 200 delivered + 0 held back | adds up",
        f"leads | broker | leads/broker/{DAY}/leads.csv.gz | 41 | truncated | {REFUSAL}",
        f"leads/search/{DAY}/again.csv | same content as leads/search/{DAY}/leads.csv",
        "leads | search | utm_medium",
        "leads | captured_at | a day of the year, from the row's hash",
        f"risk | stated prior | {' | '.join([formats.NOTHING] * 6)} | 96 | {formats.NOTHING}",
        f"approval | trained | {APPROVAL}",
    ],
)
def test_the_page_holds_the_figures(whole: PublishedReport, row: str):
    assert row in table_rows(whole.page)


def test_the_sum_of_the_leads_is_shown_and_checked(whole: PublishedReport):
    assert (
        "251 received = 54 quarantined + 19 duplicates + 3 suppressed + 120 matched "
        "+ 55 unmatched adds up"
    ) in page_text(whole.page)


def test_a_prior_states_its_probabilities(whole: PublishedReport):
    rates = [band.pd for band in policy.priors().pd]
    stated = f"{formats.share(min(rates))} to {formats.share(max(rates))}"
    assert f"uses a stated prior ({stated} by segment and bureau score)" in whole.page


def test_the_same_day_gives_the_same_bytes(whole: PublishedReport, tmp_path):
    assert publish_report(publish_day(tmp_path)).page == whole.page


def test_html_in_a_file_name_is_escaped(settings: Settings):
    path = settings.ledger / f"date={DAY}.jsonl"
    path.write_text(path.read_text("utf-8").replace("again.csv", "<b onload=x>.csv"), "utf-8")
    assert "<b onload" not in publish_report(settings).page


def test_the_figures_of_this_test_differ_from_each_other():
    assert len(set(FIGURES.values())) == len(FIGURES)
