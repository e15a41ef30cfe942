"""The section on businesses lists contradictory figures, and the finding weighs them."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from expectations.contracts import load
from pipelines.core.database import connect
from pipelines.core.publishing import write_parquet
from pipelines.core.settings import Settings
from pipelines.reports.languages import LANGUAGES, pages
from pipelines.reports.losses import SEARCHES
from pipelines.reports.report_data import Report
from pipelines.reports.sections.businesses import (
    CONSENT_ROLES,
    CONTRADICTIONS,
    Businesses,
    load_businesses,
    round_to_two_digits,
)
from pipelines.reports.verdict import Finding
from tests.helpers.html import page_text
from tests.helpers.mart_schemas import SCHEMAS

DAY = date(2026, 3, 10)
NAMES = {"contradictions": CONTRADICTIONS, "consent_roles": CONSENT_ROLES}
"""What the page gives the template."""


def publish(settings: Settings, contradictions: list[dict[str, Any]], **channels: int) -> None:
    """Publish so many business leads of each channel, one consumer, and the contradictions."""
    leads = [{"channel_id": "search", "lead_id": "ann", "segment": "consumer"}]
    leads += [
        {"channel_id": channel, "lead_id": f"lead-{number:03}", "segment": "business"}
        for channel, count in channels.items()
        for number in range(count)
    ]
    folder = settings.day_folder(settings.marts, DAY)
    write_parquet(pa.Table.from_pylist(leads, SCHEMAS["leads"]), folder / "leads.parquet")
    table = pa.Table.from_pylist(contradictions, SCHEMAS["lead_contradictions"])
    write_parquet(table, folder / "lead_contradictions.parquet")


def contradict(channel: str, number: int, kind: str = "tax_above_revenue", **figures: Any) -> Any:
    stated = {"declared": 123_456.0, "compared": 98_765.0 + number, "currency": "CNY"} | figures
    return {"channel_id": channel, "lead_id": f"lead-{number:03}", "contradiction": kind} | stated


def find(settings: Settings) -> dict[str, Finding]:
    with connect(settings) as connection:
        found = SEARCHES["figures of businesses"](settings, DAY, connection)
        return {finding.id: finding for finding in found}


def test_a_channel_with_many_contradictions_is_a_remark_and_few_are_information(tmp_path: Path):
    settings = Settings(home=tmp_path)
    many = [contradict("search", number) for number in range(11)]
    publish(settings, [*many, contradict("social", 3)], search=50, social=4)
    findings = find(settings)
    often, few = findings["figures_contradict_often"], findings["figures_contradict"]
    assert (often.severity, often.where, few.severity, few.where) == (
        *("remark", "search"),
        *("fit", "social"),
    )
    assert "11 of 50 (22.0%)" in often.evidence
    assert "1 of 4" in few.evidence  # a quarter of a small channel is no remark
    publish(settings, many[:10], search=50)
    assert set(find(settings)) == {"figures_contradict"}


def test_a_day_without_contradictions_has_no_finding(tmp_path: Path):
    settings = Settings(home=tmp_path)
    publish(settings, [], search=3)
    assert not find(settings)


def test_marts_of_an_earlier_version_have_no_such_section(tmp_path: Path):
    settings = Settings(home=tmp_path)
    publish(settings, [], search=3)
    (settings.day_folder(settings.marts, DAY) / "lead_contradictions.parquet").unlink()
    with connect(settings) as connection, pytest.raises(FileNotFoundError):
        load_businesses(settings, DAY, connection)
    with pytest.raises(FileNotFoundError):
        find(settings)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_each_contradiction_with_a_masked_example(tmp_path: Path, language):
    settings = Settings(home=tmp_path)
    kinds = [contradict("search", n, kind) for n, kind in enumerate(CONTRADICTIONS)]
    for few in kinds:
        if "employee" in few["contradiction"] or "sales_" in few["contradiction"]:
            few["declared"] = 20_000.0 if "revenue" in few["contradiction"] else 2.0
    worst = contradict("search", 40, "sales_above_revenue", compared=987_654_321.0)
    publish(settings, [*kinds, worst], search=50)
    with connect(settings) as connection:
        found = load_businesses(settings, DAY, connection)
    assert [row.leads for row in found.contradictions] == [2, *[1] * (len(CONTRADICTIONS) - 1)]
    template = pages(language).get_template("businesses.html")
    report = Report(day=DAY, businesses=found)
    html = page_text(template.render(report=report, limit=200, **NAMES))
    assert "990,000,000 CNY" in html
    assert "search/lea…" in html
    for hidden in ("lead-", "987,654", "123,456", "98,76"):
        assert hidden not in html
    empty = template.render(
        report=Report(day=DAY),
        contradictions=CONTRADICTIONS,
        consent_roles=CONSENT_ROLES,
        limit=200,
    )
    assert ("No figures" in page_text(empty)) is (language.code == "en")


def test_leads_are_counted_by_the_role_of_who_consented(tmp_path: Path):
    settings = Settings(home=tmp_path)
    publish(settings, [], search=0)
    roles = ["owner", "Owner", "employee", "ownr", None, None]
    sent = [
        {"channel_id": "search", "lead_id": f"l{n}", "segment": "business", "consent_by_role": role}
        for n, role in enumerate(roles)
    ]
    sent.append(sent[2] | {"lead_id": "ann", "segment": "consumer"})
    details = {"l2": "consent_role_not_allowed", "l3": "consent_role_unknown", "l5": "withdrawn"}
    leads = [
        {name: row[name] for name in ("channel_id", "lead_id", "segment")}
        | {"exclusion_detail": details.get(row["lead_id"])}
        for row in sent
    ]
    folders = {root: settings.day_folder(root, DAY) for root in (settings.marts, settings.matches)}
    lake = settings.day_folder(settings.lake / "leads", DAY)
    table = pa.Table.from_pylist(sent, load("leads").lake_schema)
    write_parquet(table, lake / "leads.parquet")
    marts = pa.Table.from_pylist(leads, SCHEMAS["leads"])
    write_parquet(marts, folders[settings.marts] / "leads.parquet")
    matches = [{"channel_id": "search", "lead_id": name} for name in ("l0", "l0", "l4", "ann")]
    write_parquet(pa.Table.from_pylist(matches), folders[settings.matches] / "matches.parquet")
    with connect(settings) as connection:
        found = load_businesses(settings, DAY, connection).consent_roles
    assert [(row.role, row.leads, row.closed, row.matched) for row in found] == [
        ("", 2, 0, 1),
        ("owner", 2, 0, 1),
        ("employee", 1, 1, 0),
        ("unknown", 1, 1, 0),
    ]
    template = pages(LANGUAGES[1]).get_template("businesses.html")
    report = Report(day=DAY, businesses=Businesses(consent_roles=found))
    assert "雇员" in page_text(template.render(report=report, limit=200, **NAMES))


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [(0.0, 0.0), (0.0123456, 0.012), (9.99, 10.0), (123_456.0, 120_000.0), (float("inf"),) * 2],
)
def test_an_amount_keeps_two_digits(amount: float, rounded: float):
    assert round_to_two_digits(amount) == rounded
