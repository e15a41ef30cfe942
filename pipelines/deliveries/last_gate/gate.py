"""Last gate: an independent check of the bytes of a lead file, right before they leave.

The gate trusts no result of the matching but what a row claims: which lead it is, and how likely an
approval was. It looks everything else up in the sources: the lake, the catalogues, the orders up
to the moment, what the institutions received before, and the policies. It shares no code with the
matching nor with the judgement of rows by present knowledge.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.contracts import LINEAGE, load
from expectations.outbound_contracts import load_outbound
from pipelines.core.database import run_query
from pipelines.core.settings import Settings
from pipelines.deliveries.last_gate.evidence import load_evidence
from pipelines.deliveries.last_gate.outgoing_file import load_rows

SQL = Path(__file__).parent / "sql"

PLATFORM_COLUMNS = ("match_id", "product_id", "rank", "suggested_apr", "schema_version")
"""Columns of the platform's own, which every lead file has."""
SCHEMA_VERSION = load_outbound("lead_file").schema_version
LEADS = load("leads")
PERSONAL = tuple(column.name for column in LEADS.columns if column.personal)
PROTECTED = frozenset(column.name for column in LEADS.columns if column.protected)
LEAD_COLUMNS = frozenset(LEADS.lake_schema.names) - {column.name for column in LINEAGE}


@dataclass(frozen=True)
class Violation:
    """What an outgoing file must not have."""

    kind: str
    rows: int
    detail: str = ""
    """A product or a column; never a value of a lead."""

    def __str__(self) -> str:
        place = f" ({self.detail})" if self.detail else ""
        return f"{self.kind.replace('_', ' ')}{place} {self.rows:,}"


@dataclass(frozen=True)
class LastGate:
    """The evidence of the institutions of a shard for one day, and the check of each file."""

    connection: duckdb.DuckDBPyConnection
    """With the tables of `load_evidence` in the schema `gate`."""
    settings: Settings
    day: date
    """The business date of the matches."""
    as_of: date
    """The date up to which the lake is known."""

    @classmethod
    def prepare(
        cls,
        connection: duckdb.DuckDBPyConnection,
        settings: Settings,
        day: date,
        as_of: date,
        institutions: Iterable[str],
    ) -> "LastGate":
        """Load the evidence of `institutions` and return the gate."""
        load_evidence(connection, settings, day, as_of, list(institutions))
        return cls(connection, settings, day, as_of)

    def find_rows_closed_since(self, institution_id: str) -> pa.Table:
        """Return the matches that files forbid which landed and no run has read yet.

        Their columns are `match_id` and `reason`.
        """
        return self.connection.sql(
            """
            select claims.match_id, min(landed_since.reason) as reason
            from gate.claims
            inner join gate.landed_since
                on
                    claims.channel_id = landed_since.channel_id
                    and claims.lead_id = landed_since.lead_id
                    and coalesce(landed_since.institution_id, $institution) = $institution
            where claims.institution_id = $institution
            group by claims.match_id
            order by claims.match_id
            """,
            params={"institution": institution_id},
        ).to_arrow_table()

    def check_outgoing(
        self, institution_id: str, file: Path, rows: int, earlier: Sequence[str] = ()
    ) -> list[Violation]:
        """Return the violations of a file that is about to leave; none if it may.

        Args:
            institution_id: The recipient.
            file: The lead file as it is, before it is sealed: CSV or Parquet.
            rows: Number of rows that were meant to be written.
            earlier: Match ids that the institution has by the version before.
        """
        try:
            columns, found, formulas = load_rows(self.connection, file)
        except (duckdb.Error, OSError, ValueError):
            return [Violation("file_not_readable", rows)]
        if missing := sorted(set(PLATFORM_COLUMNS) - set(columns)):
            return [Violation("column_missing", found, name) for name in missing]
        violations = [*self._check_columns(institution_id, columns, found)]
        if found != rows:
            violations.append(Violation("rows_differ", abs(found - rows)))
        if wrong := self._count_wrong_versions():
            violations.append(Violation("schema_version_wrong", wrong))
        if formulas:
            violations.append(Violation("formula", formulas))
        if found:
            violations += self._check_rows(institution_id, columns, earlier)
        return violations

    def _check_columns(
        self, institution_id: str, columns: list[str], rows: int
    ) -> Iterable[Violation]:
        agreed = self._load_agreed_columns(institution_id)
        for name in columns:
            if name in PLATFORM_COLUMNS:
                continue
            if name in PROTECTED:
                yield Violation("protected_field", rows, name)
            elif name not in agreed & LEAD_COLUMNS:
                yield Violation("field_not_agreed", rows, name)

    def _count_wrong_versions(self) -> int:
        (wrong,) = self.connection.execute(
            "select count(*) from outgoing where schema_version is distinct from $version",
            {"version": f"{SCHEMA_VERSION}"},
        ).fetchall()[0]
        return int(wrong)

    def _load_agreed_columns(self, institution_id: str) -> set[str]:
        rows = self.connection.execute(
            "select unnest(agreed_fields) from gate.agreements where institution_id = $institution",
            {"institution": institution_id},
        ).fetchall()
        return {name for (name,) in rows}

    def _check_rows(
        self, institution_id: str, columns: list[str], earlier: Sequence[str]
    ) -> list[Violation]:
        connection = self.connection
        differences = [
            f"outgoing.{name} is distinct from cast(leads.{name} as varchar)"
            for name in PERSONAL
            if name in columns
        ]
        connection.register("earlier", pa.table({"match_id": pa.array(list(earlier), pa.string())}))
        connection.execute(
            f"""
            create or replace temp view outgoing_rows as
            select
                outgoing.match_id,
                outgoing.product_id,
                try_cast(outgoing.suggested_apr as double) as suggested_apr,
                {" or ".join(differences) or "false"} as has_other_personal_data
            from outgoing
            left join gate.claims
                on outgoing.match_id = claims.match_id
            left join gate.leads
                on claims.channel_id = leads.channel_id and claims.lead_id = leads.lead_id
            """
        )
        run_query(connection, SQL / "audited_rows.sql", self._parameters(institution_id))
        found = run_query(
            connection, SQL / "violations.sql", {"institution": institution_id}
        ).fetchall()
        connection.unregister("earlier")
        return [Violation(kind, count, detail) for kind, detail, count in found]

    def _parameters(self, institution_id: str) -> dict[str, Any]:
        consent, start = policy.consent(self.day), self.settings.day_start
        longest_now = policy.consent(self.as_of).longest_days
        least = {name: entry.of_match for name, entry in policy.least_odds(self.day).items()}
        texts = policy.consent_texts()
        return {
            "institution": institution_id,
            "every_institution": consent.every_institution,
            "oldest_consent": start(self.day - timedelta(days=consent.longest_days)),
            "oldest_consent_now": start(self.as_of - timedelta(days=longest_now)),
            "day_end": start(self.day + timedelta(days=1)),
            "day": self.day,
            "as_of": self.as_of,
            "catalogues": len({self.day, self.as_of}),
            "is_admitted": self._is_admitted(institution_id),
            "least_odds": least["default"],
            "time_zone": self.settings.time_zone,
            "has_texts": bool(texts.texts),
            "unknown_version_closes": texts.unknown_version == "close",
        }

    def _is_admitted(self, institution_id: str) -> bool:
        """Return whether the newest lists admit an institution on the day and now."""
        (dates,) = self.connection.execute(
            """
            select count(*) from gate.admissions
            where institution_id = $institution and is_admitted
            """,
            {"institution": institution_id},
        ).fetchall()[0]
        return bool(dates == len({self.day, self.as_of}))
