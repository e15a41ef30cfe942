"""Retraction list: the matches that a delivery takes back, as a file beside its lead file.

A correction takes back the matches of the version before that it no longer has; a delivery that is
held can take matches back without a new lead file. A list that was published never changes, and
what the newest list says is not said again. It is encrypted, signed, sent and acknowledged like
the lead file.
"""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from expectations.outbound_contracts import load_outbound
from pipelines.core.publishing import MANIFEST, read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.ledger.delivery_versions import RETRACTION
from pipelines.deliveries.recipient import Recipient
from pipelines.deliveries.sealing import seal_to

CONTRACT = load_outbound("retraction_list")
LISTS = "retractions"
"""The lists in a manifest, oldest first; also the name of the files."""

Facts = dict[str, Any]


def read_lists(folder: Path) -> list[Facts]:
    """Return the published retraction lists of an institution's folder, oldest first."""
    if not (folder / MANIFEST).is_file():
        return []
    lists: list[Facts] = read_manifest(folder).get(LISTS, [])
    return lists


def add_list(
    settings: Settings,
    recipient: Recipient,
    facts: Facts,
    version: int,
    folders: tuple[Path, Path],
    moment: datetime,
) -> None:
    """Write the list of the matches that a manifest takes back, and state it there.

    Args:
        settings: Settings of the home.
        recipient: The institution.
        facts: The manifest, with the matches and the earlier lists; the new list is added.
        version: The version of the lead file that has the matches.
        folders: A scratch folder outside the outbox, and the folder that is about to be published.
        moment: When the public key must be valid.

    Raises:
        KeyUnusable: The list can't be encrypted.
    """
    lists, retracted = facts.get(LISTS, []), sorted(facts["retracted"])
    if not retracted:
        return
    scratch, fresh = folders
    number = len(lists) + 1
    plain = scratch / f"{LISTS}{f'.v{number}' if lists else ''}.{recipient.format}"
    rows = _make_rows(facts["delivery_id"], version, retracted)
    lead_file.write(rows, plain, schema_version=CONTRACT.schema_version, bom=recipient.csv_bom)
    if lists and lists[-1]["content_sha256"] == sha256(plain):
        return
    file, sealing = seal_to(settings, plain, recipient.public_key, moment)
    entry = {
        "delivery_id": f"{RETRACTION}{facts['delivery_id']}",
        "version": number,
        "rows": len(retracted),
        "schema_version": CONTRACT.schema_version,
        "judged_as_of": facts["judged_as_of"],
        "lead_version": facts["version"],
    }
    facts[LISTS] = [*lists, entry | sealing]
    shutil.move(file, fresh / file.name)


def _make_rows(delivery_id: str, version: int, match_ids: list[str]) -> pa.Table:
    values = {
        "match_id": pa.array(match_ids, pa.string()),
        "delivery_id": pa.repeat(pa.scalar(delivery_id), len(match_ids)),
        "version": pa.repeat(pa.scalar(version), len(match_ids)),
    }
    return pa.table(values).select(CONTRACT.schema.names).cast(CONTRACT.schema)
