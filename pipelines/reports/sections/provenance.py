"""What was put under `landing/` by Banyan itself, and what of it is made up."""

from pipelines.core.data_provenance import read_provenance
from pipelines.core.settings import Settings
from pipelines.reports.report_data import Invented, Origin


def origins_of(settings: Settings) -> tuple[Origin, ...]:
    """Return every import and simulation of this home, with the columns that it made up."""
    return tuple(
        Origin(
            name=said["name"],
            kind=said["kind"],
            description=said["description"],
            invented=tuple(
                Invented(feed, column, rule)
                for feed, columns in sorted(said["invented"].items())
                for column, rule in sorted(columns.items())
            ),
        )
        for said in read_provenance(settings)
    )
