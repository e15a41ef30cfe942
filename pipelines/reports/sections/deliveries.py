"""What was handed to each institution, from the manifests of the outbox."""

from datetime import date
from typing import Any

from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.reports.report_data import Delivery


def deliveries(settings: Settings, day: date) -> tuple[Delivery, ...]:
    """Return the delivery of every institution that has one for `day`, by institution."""
    manifests = settings.day_folder(settings.outbox, day).glob(f"*/{MANIFEST}")
    return tuple(_delivery(read_manifest(path.parent)) for path in sorted(manifests))


def _delivery(manifest: dict[str, Any]) -> Delivery:
    return Delivery(
        institution_id=manifest["institution_id"],
        rows=manifest["rows"],
        version=manifest["version"],
        held_back=manifest.get("held_back", 0),
        message=manifest.get("message", ""),
        withheld_fields=tuple(manifest["withheld_fields"]),
    )
