"""Check every delivered row against the landed files: may this institution have this person?

`python -m tests.independent.check --home var --from 2026-02-03 --to 2026-02-03` prints each
violation and ends with 1 if there is one. It imports nothing of Banyan and reads landing/,
outbox/ and the published limits in expectations/policy/.

A file is known to a delivery if it arrived (its time of modification) before the lead file was
written and its folder's date is not after `judged_as_of`. Copy a home with its times (`cp -a`).
"""

import argparse
import csv
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from tests.independent.landed import Landing, Row
from tests.independent.restrictions import (
    Knowledge,
    Lead,
    Policy,
    normalise_id,
    normalise_phone,
    number_or_none,
    read_moment,
)

MATCHED_BY = ("full_name", "id_number", "phone", "business_name", "lead_id", "term_months")


class Violation(NamedTuple):
    """A delivered row, or a lead file, that the landed files forbid."""

    date: date
    institution: str
    version: int
    product: str
    lead: str
    """CHANNEL/LEAD; empty where the violation is about several rows."""
    kind: str

    def __str__(self) -> str:
        row = f"{self.institution} v{self.version} {self.product} {self.lead}"
        return f"{self.date} {row}: {self.kind}"


@dataclass(frozen=True)
class Delivery:
    """One version of a lead file."""

    day: date
    institution: str
    version: int
    as_of: date
    written: float
    rows: tuple[Row, ...]
    schema_version: int
    """As the manifest states it."""

    @property
    def states_other_version(self) -> bool:
        """Return whether a row states another version; the first two versions stated none."""
        rows = [row for row in self.rows if not row.get("is_sealed")]
        stated = {row.get("schema_version") for row in rows}
        return bool(stated) and stated != {
            f"{self.schema_version}" if self.schema_version > 2 else None
        }

    @cached_property
    def ids(self) -> set[str]:
        return {row["match_id"] for row in self.rows}


def check_home(
    home: Path, first: date, last: date, *, landing: Path | None = None
) -> list[Violation]:
    """Return the violations of the lead files of some dates.

    Args:
        home: The home with the outbox.
        first: The first date.
        last: The last date.
        landing: Another folder than the home's landing/, with the files as they were meant.
    """
    return Check(home, landing or home / "landing").run(first, last)


@dataclass
class Check:
    """The check of one home; `rows` and `files` count what was checked."""

    home: Path
    landing: Path
    """The files as they were meant."""
    links: Path | None = None
    """The files as they arrived, if they differ: whose lead is whose is judged by them."""
    rows: int = 0
    files: int = 0
    receivers: set[str] = field(default_factory=set)
    """Institutions that were sent any row."""

    @cached_property
    def landed(self) -> Landing:
        return Landing(self.landing)

    @cached_property
    def arrived(self) -> Landing:
        return Landing(self.links) if self.links else self.landed

    @cached_property
    def policy(self) -> Policy:
        return Policy()

    def run(self, first: date, last: date) -> list[Violation]:
        found: list[Violation] = []
        for folder in sorted((self.home / "outbox").glob("date=*")):
            day = date.fromisoformat(folder.name.removeprefix("date="))
            if first <= day <= last:
                found += self.check_date(day, folder)
        return found

    def check_date(self, day: date, folder: Path) -> Iterator[Violation]:
        newest: list[tuple[Delivery, list[Lead | None]]] = []
        claimed = _read_claims(self.home / "matches" / folder.name / "matches.parquet")
        for manifest in sorted(folder.glob("*/manifest.json")):
            if manifest.parent.name.startswith("."):
                continue
            before: set[str] = set()
            leads: list[Lead | None] = []
            first_known: Knowledge | None = None
            for delivery in read_deliveries(day, manifest):
                self.files += 1
                self.rows += len(delivery.rows)
                self.receivers |= {manifest.parent.name} if delivery.rows else set()
                known = Knowledge(
                    *(self.landed, day, delivery.as_of, delivery.written, self.policy),
                    links=self.arrived,
                )
                leads = [self._find_lead(known, row, claimed) for row in delivery.rows]
                first_known = first_known or known
                yield from self._check_delivery(known, first_known, delivery, leads, before)
                before = delivery.ids
            if leads:
                newest.append((delivery, leads))
            yield from check_retractions(day, manifest)
        yield from self._check_persons(newest)

    def _find_lead(self, known: Knowledge, row: Row, claimed: dict[str, str]) -> Lead | None:
        """Return the landed lead with the delivered values; of several the claimed one."""
        if row.get("is_sealed"):
            candidates = known.named(claimed.get(row["match_id"], ""))
        else:
            candidates = [lead for lead in known.candidates(row) if _agrees(lead.values, row)]
        names = {lead.name for lead in candidates}
        if len(names) > 1 and claimed.get(row["match_id"]) in names:
            candidates = [lead for lead in candidates if lead.name == claimed[row["match_id"]]]
        return candidates[0] if candidates else None

    def _check_delivery(
        self,
        known: Knowledge,
        first_known: Knowledge,
        delivery: Delivery,
        leads: list[Lead | None],
        before: set[str],
    ) -> Iterator[Violation]:
        institution = delivery.institution

        def violation(kind: str, product: str = "", lead: str = "") -> Violation:
            return Violation(delivery.day, institution, delivery.version, product, lead, kind)

        if delivery.states_other_version:
            yield violation("rows state another schema version than the manifest")
        if delivery.rows and delivery.ids != before:  # an empty file only takes rows back
            yield from map(violation, known.check_admission(institution))
        for row, lead in zip(delivery.rows, leads, strict=True):
            # what an institution has already stays, unless the person objects
            is_new = row["match_id"] not in before or delivery.as_of == delivery.day
            kinds = _check_row(known, first_known, institution, row, lead, is_new=is_new)
            for kind in kinds:
                yield violation(kind, row["product_id"], lead.name if lead else "")
        new = delivery.ids - before
        counts = Counter(row["product_id"] for row in delivery.rows)
        has_new = {row["product_id"] for row in delivery.rows if row["match_id"] in new}
        for product in sorted(has_new):
            for kind in known.check_quota(institution, product, counts[product]):
                yield violation(kind, product)
        for contact, count in _count_contacts(leads).items():
            if count > 1:
                yield violation(f"one {contact[0]} {count} times in a file")

    def _check_persons(
        self, newest: list[tuple[Delivery, list[Lead | None]]]
    ) -> Iterator[Violation]:
        contacts: Counter[tuple[str, str]] = Counter()
        for _, leads in newest:
            contacts.update(_count_contacts(leads))
        for contact, count in contacts.items():
            if count > self.policy.max_offers:
                delivery = newest[0][0]
                kind = f"one {contact[0]} has {count} offers"
                yield Violation(delivery.day, "all", 0, "", "", kind)


def _check_row(
    known: Knowledge,
    first_known: Knowledge,
    institution: str,
    row: Row,
    lead: Lead | None,
    *,
    is_new: bool,
) -> Iterator[str]:
    """Yield what forbids a delivered row."""
    if lead is None:
        yield "no landed lead has these values"
        return
    yield from known.check_person(lead, institution)
    if is_new:
        yield from known.check_consent_age(lead)
        for on in sorted({known.day, known.as_of}):
            yield from known.check_open(institution, row["product_id"], on)
        yield from _check_terms(known, first_known, lead, institution, row)


def _check_terms(
    known: Knowledge, first_known: Knowledge, lead: Lead, institution: str, row: Row
) -> list[str]:
    """Return the terms and rules that a row breaks.

    A catalogue that arrived after the date's first lead file may count for the date or for the
    next one. So a row of a file that was written on a later date passes by either.
    """
    kinds = list(known.check_terms(lead, institution, row))
    if (
        kinds
        and known.as_of > known.day
        and not list(first_known.check_terms(lead, institution, row))
    ):
        return []
    return kinds


def _count_contacts(leads: Iterable[Lead | None]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for lead in leads:
        if lead is not None:
            if lead.id_number:
                counts["identity number", lead.id_number] += 1
            if lead.phone:
                counts["phone", lead.phone] += 1
    return counts


def _agrees(landed: Row, delivered: Row) -> bool:
    """Return whether the values that identify a delivered row are the ones of a landed row."""
    for name in MATCHED_BY:
        one, other = landed.get(name, ""), delivered.get(name, "")
        if name == "id_number":
            one, other = normalise_id(one), normalise_id(other)
        elif name == "phone":
            one, other = normalise_phone(one), normalise_phone(other)
        elif name == "term_months":
            one, other = (f"{number_or_none(value)}" for value in (one, other))
        if name in delivered and other not in {"", "None", one}:
            return False
    moments = [read_moment(row.get("consent_at", "")) for row in (landed, delivered)]
    return None in moments or moments[0] == moments[1]


def _read_claims(path: Path) -> dict[str, str]:
    """Return match id -> CHANNEL/LEAD as published; only to choose between equal landed leads."""
    if not path.is_file():
        return {}
    relation = duckdb.connect().read_parquet(str(path), hive_partitioning=False)
    rows = relation.project("match_id, channel_id || '/' || lead_id").fetchall()
    return dict(rows)


def read_deliveries(day: date, manifest: Path) -> Iterator[Delivery]:
    """Yield the versions of an institution's lead file, oldest first."""
    facts: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
    for version in facts["deliveries"]:
        path = manifest.parent / version["file"]
        read = _read_sealed if "sealed_with" in version else _read_lead_file
        yield Delivery(
            day,
            facts["institution_id"],
            version["version"],
            date.fromisoformat(version.get("judged_as_of", f"{day}")),
            path.stat().st_mtime,
            tuple(read(path, version)),
            version.get("schema_version", 1),
        )


def check_retractions(day: date, manifest: Path) -> Iterator[Violation]:
    """Yield what is wrong with the retraction lists of an institution.

    Every match that a correction no longer has is in a list, a list names only matches that the
    institution received, and each file is the one that the manifest states.
    """
    facts: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
    deliveries = list(read_deliveries(day, manifest))
    if not deliveries or deliveries[-1].schema_version <= 2:  # before there were lists
        return
    listed: set[str] = set()
    kinds = []
    for entry in facts.get("retractions", []):
        path = manifest.parent / entry["file"]
        rows = [] if "sealed_with" in entry else list(_read_lead_file(path, entry))
        listed |= {row["match_id"] for row in rows}
        kinds += _check_list(path, entry, rows)
    received: set[str] = set()
    missing: set[str] = set()
    for delivery in deliveries:
        missing |= received - delivery.ids - listed
        received |= delivery.ids
    is_sealed = any("sealed_with" in entry for entry in facts.get("retractions", []))
    if missing and not is_sealed:
        kinds.append("a match was taken back, and no retraction list has it")
    if listed - received:
        kinds.append("a retraction list has a match that was never sent")
    for kind in kinds:
        yield Violation(day, facts["institution_id"], len(deliveries), "", "", kind)


def _check_list(path: Path, entry: dict[str, Any], rows: list[Row]) -> Iterator[str]:
    """Yield how a retraction list differs from what the manifest states of it."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        yield "a retraction list is not the file of the manifest"
    if rows and len(rows) != entry["rows"]:
        yield "a retraction list has another number of rows than the manifest"
    if {row["schema_version"] for row in rows} - {f"{entry['schema_version']}"}:
        yield "a retraction list states another schema version than the manifest"


def _read_sealed(path: Path, version: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of a sealed file by the record of its match ids: nobody here can open it."""
    home, day, institution = path.parents[3], path.parents[1].name, path.parent.name
    name = f"{institution}.v{version['version']}.{version['content_sha256'][:16]}.txt"
    ids = (home / "delivered" / day / "sealed" / name).read_text().split()
    relation = duckdb.connect().read_parquet(str(home / "matches" / day / "matches.parquet"))
    columns = ("match_id", "product_id", "rank", "suggested_apr")
    known = set(ids)
    for values in relation.project(", ".join(columns)).fetchall():
        if values[0] in known:
            texts = ("" if value is None else str(value) for value in values)
            yield dict(zip(columns, texts, strict=True)) | {"is_sealed": "true"}


def _read_lead_file(path: Path, _version: dict[str, Any]) -> Iterator[Row]:
    if path.suffix == ".parquet":
        relation = duckdb.connect().read_parquet(str(path), hive_partitioning=False)
        for values in relation.fetchall():
            texts = ("" if value is None else str(value) for value in values)
            yield dict(zip(relation.columns, texts, strict=True))
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: value.removeprefix("'") for name, value in row.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date.min)
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date.max)
    arguments = parser.parse_args()
    check = Check(arguments.home, arguments.home / "landing")
    violations = check.run(arguments.first, arguments.last)
    for violation in violations:
        print(violation)
    by_kind: defaultdict[str, int] = defaultdict(int)
    for violation in violations:
        by_kind[violation.kind] += 1
    result = {
        "files": check.files,
        "rows": check.rows,
        "violations": len(violations),
        "by_kind": dict(sorted(by_kind.items())),
        "not_judged": dict(sorted(check.policy.not_judged.items())),
        "files_not_read": sorted(check.landed.unread),
    }
    print(json.dumps(result))
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main())
