"""Last gate: an independent check of the bytes of a lead file, right before they leave.

The gate trusts no result of the matching but what a row claims: which lead it is, and how likely an
approval was. It looks everything else up in the sources: the lake, the catalogues, the orders up
to the moment, what the institutions received before, and the policies. It shares no code with the
matching nor with the judgement of rows by present knowledge.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
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
from pipelines.deliveries.last_gate.outgoing_file import (
    OutgoingFile,
    append_rows,
    count_rows,
    create_outgoing_table,
    read_columns,
)

SQL = Path(__file__).parent / "sql"

PLATFORM_COLUMNS = ("match_id", "product_id", "rank", "suggested_apr", "schema_version")
"""Columns of the platform's own, which every lead file has."""
SCHEMA_VERSION = load_outbound("lead_file").schema_version
LEADS = load("leads")
PERSONAL = tuple(column.name for column in LEADS.columns if column.personal)
PROTECTED = frozenset(column.name for column in LEADS.columns if column.protected)
LEAD_COLUMNS = frozenset(LEADS.lake_schema.names) - {column.name for column in LINEAGE}
COMPARED = (*PLATFORM_COLUMNS, *PERSONAL)
"""Columns of a file that are compared with the sources."""


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

    def find_rows_closed_since(self) -> pa.Table:
        """Return the matches that files forbid which landed and no run has read yet.

        Their columns are `institution_id`, `match_id` and `reason`.
        """
        return self.connection.sql(
            """
            select claims.institution_id, claims.match_id, min(landed_since.reason) as reason
            from gate.claims
            inner join gate.landed_since
                on
                    claims.channel_id = landed_since.channel_id
                    and claims.lead_id = landed_since.lead_id
                    and claims.institution_id
                    = coalesce(landed_since.institution_id, claims.institution_id)
            group by claims.institution_id, claims.match_id
            order by claims.institution_id, claims.match_id
            """
        ).to_arrow_table()

    def check_outgoing(self, files: Sequence[OutgoingFile]) -> dict[str, list[Violation]]:
        """Return the violations of files that are about to leave, by institution.

        A file without any may leave. The files are read one by one, so that one that can't be read
        stops no other, and their rows are checked together: a query costs more than the rows of
        one file.
        """
        create_outgoing_table(self.connection, COMPARED)
        agreed = self._load_agreed_columns()
        violations: dict[str, list[Violation]] = {}
        columns: dict[str, list[str]] = {}
        for file in files:
            try:
                names = read_columns(self.connection, file.path)
                violations[file.institution_id] = self._load_file(file, names, agreed)
                columns[file.institution_id] = names
            except (duckdb.Error, OSError, ValueError):
                violations[file.institution_id] = [Violation("file_not_readable", file.rows)]
        for name, violation in (*self._check_cells(), *self._check_rows(files, columns)):
            violations[name].append(violation)
        return violations

    def _load_file(
        self, file: OutgoingFile, names: list[str], agreed: Mapping[str, Set[str]]
    ) -> list[Violation]:
        """Load the rows of a file and return the violations of its columns and of their number."""
        if missing := sorted(set(PLATFORM_COLUMNS) - set(names)):
            found = count_rows(self.connection, file.path, names)
            return [Violation("column_missing", found, name) for name in missing]
        found = append_rows(self.connection, file, names, COMPARED)
        allowed = LEAD_COLUMNS & agreed.get(file.institution_id, frozenset())
        kinds = {
            name: "protected_field" if name in PROTECTED else "field_not_agreed"
            for name in names
            if name not in PLATFORM_COLUMNS and (name in PROTECTED or name not in allowed)
        }
        violations = [Violation(kind, found, name) for name, kind in kinds.items()]
        if found != file.rows:
            violations.append(Violation("rows_differ", abs(found - file.rows)))
        return violations

    def _load_agreed_columns(self) -> dict[str, Set[str]]:
        rows = self.connection.execute(
            "select institution_id, agreed_fields from gate.agreements"
        ).fetchall()
        return {institution: frozenset(fields or ()) for institution, fields in rows}

    def _check_cells(self) -> Iterator[tuple[str, Violation]]:
        """Yield the violations that single cells of the loaded rows show, by institution."""
        rows = self.connection.execute(
            """
            select
                institution_id,
                count(*) filter (schema_version is distinct from $version) as schema_version_wrong,
                cast(sum(formulas) as bigint) as formula
            from outgoing group by institution_id order by institution_id
            """,
            {"version": f"{SCHEMA_VERSION}"},
        ).fetchall()
        for institution, wrong_versions, formulas in rows:
            if wrong_versions:
                yield institution, Violation("schema_version_wrong", wrong_versions)
            if formulas:
                yield institution, Violation("formula", formulas)

    def _check_rows(
        self, files: Sequence[OutgoingFile], columns: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[str, Violation]]:
        """Yield the violations of the loaded rows by institution."""
        connection = self.connection
        owners = [pa.repeat(file.institution_id, len(file.earlier)) for file in files]
        earlier = {
            "institution_id": pa.chunked_array(owners, pa.string()),
            "match_id": pa.chunked_array([[*file.earlier] for file in files], pa.string()),
        }
        names = {
            "institution_id": pa.array([*columns], pa.string()),
            "names": pa.array([*columns.values()], pa.list_(pa.string())),
        }
        connection.register("earlier", pa.table(earlier))
        connection.register("file_columns", pa.table(names))
        differences = [
            f"(list_contains(file_columns.names, '{name}') "
            f"and outgoing.{name} is distinct from cast(leads.{name} as varchar))"
            for name in PERSONAL
        ]
        connection.execute(
            f"""
            create or replace temp view outgoing_rows as
            select
                outgoing.institution_id,
                outgoing.match_id,
                outgoing.product_id,
                try_cast(outgoing.suggested_apr as double) as suggested_apr,
                {" or ".join(differences)} as has_other_personal_data
            from outgoing
            inner join file_columns on outgoing.institution_id = file_columns.institution_id
            left join gate.claims
                on outgoing.match_id = claims.match_id
            left join gate.leads
                on claims.channel_id = leads.channel_id and claims.lead_id = leads.lead_id
            """
        )
        run_query(connection, SQL / "audited_rows.sql", self._parameters())
        rows = run_query(connection, SQL / "violations.sql").fetchall()
        for institution, kind, detail, count in rows:
            yield institution, Violation(kind, count, detail)

    def _parameters(self) -> dict[str, Any]:
        consent, start = policy.consent(self.day), self.settings.day_start
        longest_now = policy.consent(self.as_of).longest_days
        least = {name: entry.of_match for name, entry in policy.least_odds(self.day).items()}
        texts = policy.consent_texts()
        return {
            "every_institution": consent.every_institution,
            "oldest_consent": start(self.day - timedelta(days=consent.longest_days)),
            "oldest_consent_now": start(self.as_of - timedelta(days=longest_now)),
            "day_end": start(self.day + timedelta(days=1)),
            "day": self.day,
            "as_of": self.as_of,
            "catalogues": len({self.day, self.as_of}),
            "least_odds": least["default"],
            "time_zone": self.settings.time_zone,
            "has_texts": bool(texts.texts),
            "unknown_version_closes": texts.unknown_version == "close",
        }
