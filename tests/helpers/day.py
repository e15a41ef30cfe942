"""A synthetic day before matching: its marts, models and leads of the lake; and its matching."""

import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from expectations.contracts import load
from models import train_models
from models.params import params
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.matches import match_day
from pipelines.pairs.score_day import score
from tests.helpers.lake import sha, write_feed
from tests.helpers.marts import write_marts

QUARANTINED, DUPLICATES = 3, 2
"""Rows of the day beside its leads, as the ingest manifest states them."""


def write_day_before_matching(home: Path, day: date, **market: Any) -> Settings:
    """Publish marts, models (stated priors) and `lake/leads` of `day` below `home`.

    Args:
        market: Arguments of `write_marts`.
    """
    settings = write_marts(home, day, **({"leads": 60, "pairs": 40} | market))
    write_lake_leads(settings, day)
    write_lake_catalogue(settings, day)
    _train_once(settings, day)
    return settings


_TRAINED: dict[tuple[date, str], dict[str, bytes]] = {}
"""The files of the registry, by the day and a hash of all that models are trained on."""


def _train_once(settings: Settings, day: date) -> None:
    """Train the models of the day, or write what equal marts gave before in this process."""
    if settings.registry.exists():
        train_models.ensure_model_set(settings, day)
        return
    marts = settings.day_folder(settings.marts, day)
    read = [(marts / f"{name}.parquet").read_bytes() for name in ("training_pairs", "outcomes")]
    read.append(f"{params()!r} {policy.priors()!r} {policy.version()}".encode())
    key = day, hashlib.sha256(b"".join(read)).hexdigest()
    if key not in _TRAINED:
        train_models.ensure_model_set(settings, day)
        files = [path for path in settings.registry.rglob("*") if path.is_file()]
        _TRAINED[key] = {f"{path.relative_to(settings.home)}": path.read_bytes() for path in files}
        return
    for name, content in _TRAINED[key].items():
        path = settings.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_lake_leads(settings: Settings, day: date, **changes: dict[str, Any]) -> None:
    """Publish the leads of the marts as the lake has them, with names and phone numbers.

    Args:
        changes: Lead id -> columns that differ in the lake.
    """
    marts = settings.day_folder(settings.marts, day)
    leads = pq.read_table(marts / "leads.parquet").to_pylist()
    rows = [
        _lake_row(settings, day, number, lead) | changes.get(lead["lead_id"], {})
        for number, lead in enumerate(leads)
    ]
    counts = {
        "received": len(rows) + QUARANTINED + DUPLICATES,
        "loaded": len(rows),
        "quarantined": QUARANTINED,
        "duplicates": DUPLICATES,
    }
    folder = settings.day_folder(settings.lake / "leads", day)
    with publishing(folder, {"counts": {"every-channel": counts}}) as new_folder:
        write_parquet(
            pa.Table.from_pylist(rows, load("leads").lake_schema), new_folder / "leads.parquet"
        )


def write_lake_catalogue(settings: Settings, day: date) -> None:
    """Publish the products, their fees and institutions of the marts as the lake has them."""
    path = settings.day_folder(settings.marts, day) / "products.parquet"
    products = pq.read_table(path).to_pylist()
    names = set(load("products").lake_schema.names)
    rows = [{name: row[name] for name in row.keys() & names} for row in products]
    write_feed(settings, "products", day, rows)
    names = set(load("institutions").lake_schema.names) - {"name"}
    lenders = {
        row["institution_id"]: {name: row[name] for name in row.keys() & names}
        | {"kind": row["institution_kind"]}
        for row in products
    }
    write_feed(settings, "institutions", day, lenders.values())
    fees = pq.read_table(path.with_name("product_fees.parquet")).to_pylist()
    rows = [{**fee, "when": fee["charged_when"]} for fee in fees]
    write_feed(
        settings,
        "product_fees",
        day,
        [{name: value for name, value in row.items() if name != "charged_when"} for row in rows],
    )


def run_matching(settings: Settings, day: date) -> dict[str, Any]:
    """Score and match `day`; return what the match step returns."""
    score(settings, day)
    return match_day.match(settings, day)


def _lake_row(settings: Settings, day: date, number: int, lead: dict[str, Any]) -> dict[str, Any]:
    names = load("leads").lake_schema.names
    phone = f"+86138{number:08d}"
    return {name: value for name, value in lead.items() if name in names} | {
        "full_name": f"Person, No. {number}",
        "phone": phone,
        "phone_sha256": sha(phone),
        "gender": "female",
        "consent_at": lead["captured_at"],
        "consent_version": "1",
        "consent_scope": lead["consent_scope"],
        "file": "leads.csv",
        "landed_on": day,
        "is_late": False,
        "known_at": lead["captured_at"],
    }
