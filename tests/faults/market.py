"""The small market whose day is disturbed: its landed files, and the answers to the day before."""

import csv
import hashlib
import shutil
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.simulate.answers import AnswerShares, answer_deliveries
from pipelines.simulate.respond import respond
from pipelines.simulate.simulate import SimulationPlan, simulate
from tests.helpers.landing import land, path_of, row

DAY = date(2026, 8, 31)
"""The disturbed date: a Monday, which trains, and the last of a month, which closes statements."""
BY_SFTP = ("lender-001", "lender-002")
"""Institutions that get their files over SFTP."""
SIZES = {1: (40, 4), 2: (150, 6)}
"""Dates of the market -> leads of a date, and institutions."""

ENOUGH = {"leads", "institutions", "products", "product_fees", "product_rules"}
"""Feeds of the market of one date: each other one costs ingest most of a second."""


def land_market(settings: Settings, dates: int) -> None:
    """Write the landed files of the market, whose last date is `DAY`."""
    leads, institutions = SIZES[dates]
    plan = SimulationPlan(
        start=DAY - timedelta(days=dates - 1),
        days=dates,
        leads_per_day=leads,
        institutions=institutions,
        channels=2,
        seed=7,
    )
    simulate(settings, plan)
    if dates == 1:
        for folder in settings.landing.iterdir():
            if folder.name not in ENOUGH:
                shutil.rmtree(folder)
    for path in settings.landing.glob("institutions/*/*/institutions.csv"):
        _deliver_by_sftp(path)


def land_answers(settings: Settings) -> None:
    """Write what reaches the platform on `DAY` about the deliveries of the date before.

    Outcomes, receipts, a return that is accepted, and an order about a person who was delivered.
    """
    before = DAY - timedelta(days=1)
    respond(settings, before, DAY)
    answer_deliveries(settings, before, DAY, AnswerShares(lost=0.0, late=0.0))
    for name in BY_SFTP:
        folder = settings.day_folder(settings.outbox, before) / name
        delivered = lead_file.read(folder / read_manifest(folder)["deliveries"][0]["file"])
        _land_return(settings, name, delivered)
        _land_order(settings, name, delivered)


def _land_return(settings: Settings, name: str, delivered: pa.Table) -> None:
    """Let an institution return its first lead."""
    absent = dict.fromkeys(("channel_id", "lead_id", "amount", "apr", "currency"))
    returned = row(
        "outcomes",
        **absent,
        **delivered.select(["match_id", "product_id"]).to_pylist()[0],
        event="returned",
        reason="wrong_number",
        event_at=f"{DAY}T01:00:00Z",
        recorded_at=f"{DAY}T02:00:00Z",
    )
    land(path_of(settings, "outcomes", name, DAY, "returned.csv"), [returned])


def _land_order(settings: Settings, name: str, delivered: pa.Table) -> None:
    """Let the last person that an institution received ask not to be contacted."""
    phone = pc.drop_null(delivered["phone"])[-1].as_py()
    order = row(
        "suppressions",
        subject_type="phone",
        subject=hashlib.sha256(phone.encode()).hexdigest(),
        reason="do_not_contact",
        effective_at=f"{DAY}T03:00:00Z",
    )
    land(path_of(settings, "suppressions", "platform", DAY, f"{name}.csv"), [order])


def _deliver_by_sftp(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for each in rows:
        if each["institution_id"] in BY_SFTP:
            each["delivery"] = "sftp"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
