"""The page is one sound file that asks nothing of the network and shows nobody's data."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from expectations import policy
from pipelines.core import formats
from pipelines.core.settings import Settings
from tests.helpers.published_day import DAY, FIGURES, PERSON, REFUSAL, publish_day
from tests.reports.conftest import Report, make

APPROVAL = "0.781 | 0.770 to 0.792 | 0.442 | 0.1813 | 0.0122 | 41.1% | 22,811 | 5,120"
VOID = {"meta", "link", "rect", "br"}


class Outline(HTMLParser):
    """Collects what the tests ask about, and every tag that is not closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.mistakes: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.tags: set[str] = set()
        self.tables: list[int] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name in {"href", "src"}:
                self.links.append(value or "")
            if name == "id":
                self.anchors.add(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(f"</{tag}> at {self.getpos()}")


@pytest.fixture(scope="session")
def outline(whole: Report) -> Outline:
    outline = Outline()
    outline.feed(whole.page)
    outline.close()
    assert outline.tags, "nothing was parsed; every test below would pass without looking"
    return outline


def cells(page: str) -> list[str]:
    """Return the rows of all tables as text, cells separated by ` | `."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, flags=re.DOTALL)
    texts = [
        [unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.split(r"</t[dh]>", row)[:-1]]
        for row in rows
    ]
    return [" | ".join(" ".join(cell.split()) for cell in row) for row in texts]


def test_every_tag_is_closed_in_its_turn(outline: Outline):
    assert outline.mistakes == []
    assert outline.open == []


def test_the_page_asks_nothing_of_the_network(whole: Report, outline: Outline):
    assert "//" not in whole.page
    assert "@import" not in whole.page
    assert "url(" not in whole.page
    assert not outline.tags & {"script", "img", "iframe", "object", "embed", "form"}
    assert all(link.startswith("#") or link == "data:," for link in outline.links)
    assert "default-src 'none'" in whole.page


def test_every_link_leads_to_a_part_of_the_page(outline: Outline):
    targets = {link.removeprefix("#") for link in outline.links if link.startswith("#")}
    assert targets
    assert targets <= outline.anchors


def test_a_person_in_quarantine_is_nowhere_in_the_report(whole: Report):
    published = whole.page + str(whole.quality)
    assert "amount must be at least 0.01" in published
    found = [name for name, value in PERSON.items() if value in published]
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["refused 11010519491231002X", "call +8613912345678", "call 13912345678", "to li@mail.cn"],
)
def test_what_looks_personal_is_masked_wherever_it_comes_from(text: str):
    assert formats.without_personal(text).split()[1] == "[masked]"


def test_file_names_and_hashes_are_not_masked():
    path = "leads/search/2026-11-20/leads_20261120_101500.csv 9f86d081884c7d659a2feaa0c55ad015"
    assert formats.without_personal(path) == path


@pytest.mark.parametrize(
    "row",
    [
        "received | 251 | 100.0% |  | in the files of the channels",
        "matched | 120 | 47.8% |  | sent to at least one institution",
        "quota | every product that fits was full | 50 | ",
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
def test_the_page_holds_the_figures(whole: Report, row: str):
    assert row in cells(whole.page)


def test_the_sum_of_the_leads_is_shown_and_checked(whole: Report):
    shown = " ".join(re.sub(r"<[^>]*>", "", whole.page).split())
    assert (
        "251 received = 54 quarantined + 19 duplicates + 3 suppressed + 120 matched "
        "+ 55 unmatched adds up"
    ) in shown


def test_a_prior_states_what_it_assumes(whole: Report):
    assumed = [band.pd for band in policy.priors().pd]
    stated = f"{formats.share(min(assumed))} to {formats.share(max(assumed))}"
    assert f"runs on a stated prior ({stated} by segment and bureau score)" in whole.page


def test_the_same_day_gives_the_same_bytes(whole: Report, tmp_path):
    assert make(publish_day(tmp_path)).page == whole.page


def test_a_source_cannot_write_html_into_the_page(settings: Settings):
    path = settings.ledger / f"date={DAY}.jsonl"
    path.write_text(path.read_text("utf-8").replace("again.csv", "<b onload=x>.csv"), "utf-8")
    assert "<b onload" not in make(settings).page


def test_figures_of_the_test_differ_so_that_none_stands_for_another():
    assert len(set(FIGURES.values())) == len(FIGURES)
