"""Rows are split by feed, source and date, and every row is counted."""

from datetime import date

import pytest

from pipelines.core.data_provenance import read_provenance
from pipelines.core.errors import UsageError
from pipelines.importing import import_file
from tests.importing.conftest import landed

DECISIONS = """\
description: A lender's decisions.
origin: Made up.
file: {format: csv}
routes:
  - feed: leads
    source: {from: shop}
    date: {from: day}
    columns:
      lead_id: {from: id}
      captured_at: {from: day, format: '%Y-%m-%d', zone: Asia/Shanghai}
      segment: consumer
      amount: {from: sum}
      currency: CNY
      consent_scope: all
      consent_at: {from: day, format: '%Y-%m-%d', zone: Asia/Shanghai}
      consent_version: v1
    invented:
      consent_scope: All, for all.
  - feed: outcomes
    where: decision in ('yes', 'no')
    source: {from: bank}
    date: {from: day}
    columns:
      event: applied
      EVENT
  - feed: outcomes
    where: decision = 'yes'
    source: {from: bank}
    date: {from: day}
    columns:
      event: approved
      EVENT
  - feed: institutions
    source: platform
    date: '2026-02-28'
    one_per: bank
    columns:
      institution_id: {from: bank}
      name: {from: bank}
      kind: bank
      admitted_from: '2026-02-28'
      delivery: folder
      format: csv
      fields: amount
"""
EVENT = """\
lead_id: {from: id}
      channel_id: {from: shop}
      product_id: loan
      event_at: {from: day, format: '%Y-%m-%d', zone: Asia/Shanghai}
      recorded_at: {from: day, format: '%Y-%m-%d', zone: Asia/Shanghai}
"""
FILE = """\
id,day,shop,bank,sum,decision
1,2026-03-01,web,icbc,100,yes
2,2026-03-01,app,icbc,200,no
3,2026-03-02,web,boc,300,
4,2026-03-03,web,Not A Bank,400,yes
5,2026-03-03,web,icbc,500,no
"""


@pytest.fixture
def decisions(tmp_path, settings):
    def imported(content=FILE, **options):
        mapping, foreign = tmp_path / "decisions.yml", tmp_path / "March 1.csv"
        mapping.write_text(DECISIONS.replace("EVENT\n", EVENT), "utf-8")
        foreign.write_text(content)
        return import_file(settings, str(mapping), foreign, **options)

    return imported


def files(settings):
    root = settings.landing
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_row_goes_to_every_feed_whose_condition_it_meets(decisions, settings):
    decisions()
    assert [(row["source"], row["lead_id"]) for row in landed(settings, "leads")] == [
        ("app", "2"),
        ("web", "1"),
        ("web", "3"),
        ("web", "4"),
        ("web", "5"),
    ]
    assert [(row["lead_id"], row["event"]) for row in landed(settings, "outcomes")] == [
        ("2", "applied"),
        ("1", "applied"),
        ("1", "approved"),
        ("5", "applied"),
    ]


def test_every_row_of_every_route_is_counted(decisions):
    result = decisions()
    for counts in result["feeds"].values():
        total = counts["written"] + counts["outside"] + counts["merged"] + counts["quarantined"]
        assert counts["received"] == total
    assert result["quarantined"] == {"outcomes: source": 2}
    assert result["feeds"]["institutions"] | {"first": None, "last": None} == {
        "received": 5,
        "written": 3,
        "merged": 2,
        "outside": 0,
        "quarantined": 0,
        "rows": 3,
        "files": 1,
        "sources": 1,
        "first": None,
        "last": None,
    }


def test_the_order_of_rows_and_a_second_import_change_no_byte(decisions, settings):
    decisions()
    first = files(settings)
    assert "leads/web/2026-03-01/decisions-march-1.csv" in first
    decisions()
    assert files(settings) == first
    header, *rows = FILE.splitlines()
    decisions("\n".join([header, *reversed(rows)]) + "\n")
    assert files(settings) == first


def test_only_the_given_dates_are_written_and_catalogues_always(decisions, settings):
    result = decisions(start=date(2026, 3, 2), days=1)
    assert {row["landed"] for row in landed(settings, "leads")} == {"2026-03-02"}
    assert result["feeds"]["leads"]["outside"] == 4
    assert len(landed(settings, "institutions")) == 3


def test_days_without_a_start_are_a_usage_error(decisions):
    with pytest.raises(UsageError, match="--start"):
        decisions(days=3)


def test_invented_columns_are_recorded_for_the_report(decisions, settings):
    decisions()
    decisions()
    (origin,) = read_provenance(settings)
    assert origin["kind"] == "import"
    assert origin["description"] == "A lender's decisions."
    assert origin["invented"]["leads"] == {"consent_scope": "All, for all."}
