"""The section on supply chains adds up today's matches by chain and sector, with a stress."""

import math
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.core.database import connect
from pipelines.core.publishing import write_parquet
from pipelines.core.settings import Settings
from pipelines.reports.languages import LANGUAGES, pages
from pipelines.reports.report_data import Report
from pipelines.reports.sections.chains import Chains, load_chains
from tests.helpers.html import page_text
from tests.helpers.mart_schemas import SCHEMAS

DAY = date(2026, 3, 10)
LEAD = {"channel_id": "search", "segment": "business", "currency": "CNY", "industry": "F",
        "matched_amount": 1000.0, "supply_largest_buyer_share": 0.5}  # fmt: skip
LEADS: list[dict[str, Any]] = [
    {"lead_id": "one", "supply_chain_code": "c0ffee"},
    {"lead_id": "two", "supply_chain_code": "c0ffee", "industry": "C"},
    {"lead_id": "alone", "supply_chain_code": "decade"},
    {"lead_id": "unlinked", "supply_chain_code": None, "supply_largest_buyer_share": None},
    {"lead_id": "ann", "segment": "consumer", "industry": None},
]


def load(settings: Settings) -> Chains:
    leads = pa.Table.from_pylist([LEAD | row for row in LEADS], SCHEMAS["leads"])
    write_parquet(leads, settings.day_folder(settings.marts, DAY) / "leads.parquet")
    matches = [
        {"channel_id": "search", "lead_id": row["lead_id"], "institution_id": bank, "pd": 0.1,
         "p_approve": 0.5, "p_fund": 0.4}
        for row in LEADS
        for bank in ("bank", "fund")
    ]  # fmt: skip
    folder = settings.day_folder(settings.matches, DAY)
    write_parquet(pa.Table.from_pylist(matches), folder / "matches.parquet")
    with connect(settings) as connection:
        return load_chains(settings, DAY, connection)


def test_businesses_of_one_buyer_add_up_and_its_failure_triples_their_odds(tmp_path: Path):
    found = load(Settings(home=tmp_path))
    (chain,) = found.chains
    assert (chain.name, chain.leads, chain.matches, chain.institutions) == ("c0ffee", 2, 4, 2)
    assert chain.lent == pytest.approx(800)
    assert chain.defaulted == pytest.approx(80)
    assert chain.defaulted_if_buyer_fails == pytest.approx(800 * 0.25)  # odds 1 to 9, then 3 to 9
    assert [(row.name, row.leads) for row in found.sectors] == [("F", 3), ("C", 1)]
    assert math.fsum(row.lent for row in found.sectors) == pytest.approx(1600)


def test_sums_do_not_depend_on_the_order_of_the_rows(tmp_path: Path):
    amounts = [10.0**power / 3 for power in range(-2, 9)] * 40
    leads = [
        LEAD | {"lead_id": f"l{at}", "supply_chain_code": "c0ffee", "matched_amount": amount}
        for at, amount in enumerate(amounts)
    ]
    matches = [
        {"channel_id": "search", "lead_id": lead["lead_id"], "institution_id": "bank", "pd": 0.1,
         "p_approve": 0.7, "p_fund": 0.3}
        for lead in leads
    ]  # fmt: skip
    settings, found = Settings(home=tmp_path), []
    for order in (slice(None), slice(None, None, -1)):
        table = pa.Table.from_pylist(leads[order], SCHEMAS["leads"])
        write_parquet(table, settings.day_folder(settings.marts, DAY) / "leads.parquet")
        path = settings.day_folder(settings.matches, DAY) / "matches.parquet"
        write_parquet(pa.Table.from_pylist(matches[order]), path)
        with connect(settings) as connection:
            found.append(load_chains(settings, DAY, connection))
    assert found[0] == found[1]
    assert found[0].chains[0].lent == pytest.approx(sum(amounts) * 0.21)


def test_the_page_has_the_exposures_and_a_picture_without_a_script(tmp_path: Path):
    template = pages(LANGUAGES[0]).get_template("chains.html")
    found = load(Settings(home=tmp_path))
    html = template.render(report=Report(day=DAY, chains=found), limit=200, first=25)
    assert "c0ffee" in page_text(html)
    assert html.count("<circle") == 3
    assert "<script" not in html
    assert "http" not in html
    empty = template.render(report=Report(day=DAY), limit=200, first=25)
    assert "No business is matched" in page_text(empty)


def test_the_book_adds_up_loans_by_chain_and_sector(tmp_path: Path):
    settings = Settings(home=tmp_path)
    load(settings)
    loan = {"channel_id": "search", "lead_id": "one", "institution_id": "bank", "product_id": "p"}
    loan |= {"amount": 100.0, "currency": "CNY", "industry": "F", "is_overdue": False}
    loans = [
        loan | {"supply_chain_code": "c0ffee"},
        loan | {"supply_chain_code": "c0ffee", "institution_id": "fund", "amount": 50.0},
        loan | {"supply_chain_code": "c0ffee", "lead_id": "two", "is_overdue": True},
        loan | {"supply_chain_code": "decade", "lead_id": "three"},
        loan | {"lead_id": "four", "industry": "C", "currency": "USD", "amount": None},
    ]
    book = settings.day_folder(settings.marts, DAY) / "loan_book.parquet"
    write_parquet(pa.Table.from_pylist(loans, SCHEMAS["loan_book"]), book)
    with connect(settings) as connection:
        found = load_chains(settings, DAY, connection)
    (chain,) = found.book_chains
    assert (chain.name, chain.leads, chain.loans, chain.institutions) == ("c0ffee", 2, 3, 2)
    assert (chain.lent, chain.overdue) == (250.0, 100.0)
    assert [(row.name, row.currency, row.leads, row.lent) for row in found.book_sectors] == [
        ("F", "CNY", 3, 350.0),
        ("C", "USD", 1, 0.0),
    ]
    template = pages(LANGUAGES[0]).get_template("chains.html")
    html = template.render(report=Report(day=DAY, chains=found), limit=200, first=25)
    assert "250.00 CNY" in page_text(html)
    only_book = Chains(book_sectors=found.book_sectors)  # nothing is matched on the day
    html = template.render(report=Report(day=DAY, chains=only_book), limit=200, first=25)
    assert "No business is matched" in page_text(html)
    assert "350.00 CNY" in page_text(html)


def test_marts_of_an_earlier_version_have_no_such_section(tmp_path: Path):
    settings = Settings(home=tmp_path)
    load(settings)
    file = settings.day_folder(settings.marts, DAY) / "leads.parquet"
    write_parquet(pa.table({"lead_id": ["one"]}), file)
    with connect(settings) as connection, pytest.raises(FileNotFoundError):
        load_chains(settings, DAY, connection)
