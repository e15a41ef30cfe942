"""The damaged landed files of each case of the table of restrictions, each case with a source."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from expectations.contracts import Column, Contract, load
from expectations.restriction_table import FILE, Case
from tests.helpers.landing import DAY, csv_bytes, row

BEFORE, NEXT = DAY - timedelta(days=1), DAY + timedelta(days=1)
LENDER = "lender"
"""An institution that the base list names."""
HASH = "ab" * 32

KEYS = {
    "institutions": "institution_id",
    "leads": "lead_id",
    "product_fees": "product_id",
    "product_rules": "product_id",
    "products": "product_id",
    "suppressions": "subject",
}
"""Feed -> the column that names what a row is about."""

LOOSE_AND_SAFE = {
    "admitted_from": ("2025-01-01", "2025-06-01"),
    "admitted_to": ("2027-01-01", "2026-12-01"),
    "fields": ("lead_id|amount", "amount"),
    "consent_withdrawn_at": ("", "2026-11-20T15:00:00+08:00"),
    "consent_scope": ("all", "bank_01"),
    "consent_at": ("2026-11-20T03:00:00+00:00", "2026-11-19T03:00:00+00:00"),
    "status": ("active", "paused"),
    "valid_to": ("2026-12-31", "2026-12-01"),
    "valid_from": ("2026-01-01", "2026-02-01"),
    "daily_quota": ("50", "10"),
    "daily_budget": ("20000", "100"),
    "monthly_quota": ("900", "90"),
    "monthly_budget": ("400000", "2000"),
    "target_cost_per_approval": ("900", "90"),
    "target_cost_per_funded": ("2000", "200"),
    "apr_max": ("0.2", "0.15"),
    "amount_max": ("300000", "200000"),
    "amount_min": ("10000", "20000"),
    "term_max_months": ("36", "24"),
    "term_min_months": ("6", "12"),
    "pd_max": ("0.06", "0.05"),
    "pd_min": ("0.01", "0.02"),
}
"""Column that ranks rows -> a looser and a safer value."""

OTHER_VALUES = {
    "segment": "consumer",
    "currency": "USD",
    "attribute": "bureau_score",
    "op": "in",
    "value": "25|60",
    "reason": "fraud",
    "effective_at": "2026-11-04T04:00:00+00:00",
    "institution_id": LENDER,
    "consent_version": "2025-01",
    "consent_by_role": "employee",
    "fee": "service_fee",
    "basis": "share_of_amount",
    "when": "at_end",
    "collector": "Second Guarantee",
    "is_contingent": "true",
}
"""Column that ranks no rows -> another valid value."""

OTHER_FEE = "0.002"
"""Another valid value of a fee; of a rule it is a text."""

WORDS = {
    "date": "31/12/2026",
    "timestamp": "20/11/2026 10:00",
    "integer": "unlimited",
    "number": "unlimited",
    "boolean": "perhaps",
    "text": "Two words",
}
WRONG_TYPE = {
    "date": "2026-13-45",
    "timestamp": "yesterday",
    "integer": "1,500",
    "number": "1.2.3",
    "boolean": "2",
    "list": "a||b",
}
UNKNOWN = {
    "fields": "lead_id|phonee",
    "attribute": "age_yers",
    "value": "abc",
    "consent_scope": "bnak_01",
    "consent_version": "no such text",
    "consent_by_role": "ownr",
    "fee": "guarantee fee",
    "collector": "Frist Guarantee",
}


@dataclass(frozen=True)
class File:
    """One landed file of a case."""

    path: str
    """Relative to landing/."""
    content: bytes
    is_after: bool = False
    """Whether it lands after the first run, which is for `DAY`."""


Row = dict[str, str]


@dataclass(frozen=True)
class Builder:
    """Builds the files of one case."""

    case: Case
    source: str

    @property
    def contract(self) -> Contract:
        return load(self.case.feed)

    @property
    def column(self) -> Column:
        return self.contract[self.case.column]

    @property
    def victim(self) -> str:
        """What the damaged row is about."""
        return self.name("v")

    def name(self, suffix: str) -> str:
        """Return the key of a row; ids of one case are no ids of another one."""
        by_feed = {
            "institutions": f"{self.source}-{suffix}",
            "suppressions": f"{self.source}/{suffix}",
        }
        return by_feed.get(self.case.feed, suffix)

    def row(self, suffix: str = "v", **changes: str) -> Row:
        """Return a valid row about `suffix`."""
        feed = self.case.feed
        person = int(self.source[1:]) * 10 + "vg123".find(suffix[0])
        by_feed = {
            "institutions": {"admitted_to": ""},
            "leads": {
                "consent_withdrawn_at": "",
                "id_number": "",
                "id_type": "",
                "device_id": "",
                "full_name": f"Person {self.source} {suffix}",
                "phone": f"+86138{person:08}",
            },
            "suppressions": {"subject_type": "lead", "institution_id": ""},
        }
        valid = row(feed) | by_feed.get(feed, {})
        return valid | {KEYS[feed]: self.name(suffix)} | changes

    def rows(self, *victims: Row) -> list[Row]:
        """Return three valid rows, then `victims`."""
        return [*(self.row(f"g{number}") for number in (1, 2, 3)), *victims]

    def file(
        self,
        content: bytes | list[Row],
        day: date = DAY,
        name: str = "rows.csv",
        *,
        is_after: bool = False,
    ) -> File:
        data = content if isinstance(content, bytes) else csv_bytes(content)
        return File(f"{self.case.feed}/{self.source}/{day}/{name}", data, is_after)

    @property
    def others(self) -> File:
        """A readable file of the source beside the damaged one; leads are closed by that one."""
        return self.file([self.row("g1"), self.row("g2")], name="others.csv")

    def beside(self, *files: File) -> list[File]:
        """Return `files`, of a channel beside a readable one."""
        if self.case.effect != "close_channel":
            return list(files)
        others = self.others
        if any(file.is_after for file in files):
            path = others.path.replace(f"{DAY}", f"{NEXT}")
            others = replace(others, path=path, is_after=True)
        return [*files, others]

    def build(self) -> list[File]:
        """Return the landed files of the case."""
        built: list[File] = getattr(self, f"_{'file' if self.case.column == FILE else 'column'}")()
        return built

    # columns

    def _column(self) -> list[File]:
        method = getattr(self, f"_column_{self.case.damage}", None)
        return method() if method else self._column_unreadable()

    def _changed(self, value: str) -> list[File]:
        """Return a file whose last row has another value of the column."""
        return self.beside(self.file(self.rows(self.row(**{self.case.column: value}))))

    def _column_missing(self) -> list[File]:
        if self.case.variant == "empty":
            return self._changed("")
        rows = self.rows(self.row())
        names = [name for name in rows[0] if name != self.case.column]
        rows = [{name: each[name] for name in names} for each in rows]
        return self.beside(self.file(rows))

    def _column_misspelt(self) -> list[File]:
        name = self.case.column
        if self.case.variant == "name_of_column":
            misspelt = name[:-1] + "_" + name[-1]
            rows = [
                {misspelt if key == name else key: value for key, value in each.items()}
                for each in self.rows(self.row())
            ]
            return self.beside(self.file(rows))
        if self.case.variant == "unknown":
            rules = [row("product_rules", product_id="v")]
            path = f"product_rules/{self.source}/{DAY}/rules.csv"
            named = [File(path, csv_bytes(rules))] if self.case.feed == "products" else []
            own = {KEYS[self.case.feed]: self.name("w")}
            value = own.get(name) or UNKNOWN.get(name, "bnak_01")
            return [*self._changed(value), *named]
        if self.case.variant == "below_the_least":
            return self._changed(f"{(self.column.minimum or 0) - 1:g}")
        return self._changed(WORDS[self.column.type])

    def _column_late(self) -> list[File]:
        if self.case.variant == "readable":
            late = self.file(self.rows(self.row()), name="late.csv", is_after=True)
            return [late]
        (file,) = self._column_unreadable()
        return [replace(file, is_after=True)]

    def _column_twice(self) -> list[File]:
        name = self.case.column
        if self.case.variant == "safer_value":
            loose, safe = (self.row(**{name: value}) for value in LOOSE_AND_SAFE[name])
            return [self.file(self.rows(loose, safe))]
        return [self.file(self.rows(self.row(), self._other_row()))]

    def _other_row(self) -> Row:
        name = self.case.column
        if name == "subject_type":
            return self.row(subject_type="phone", subject=HASH)
        if name == KEYS[self.case.feed]:
            return self.row(**{name: self.name("v2")})
        if (self.case.feed, name) == ("product_fees", "value"):
            return self.row(value=OTHER_FEE)
        return self.row(**{name: OTHER_VALUES[name]})

    def _column_contradictory(self) -> list[File]:
        return getattr(self, f"_{self.case.variant}")()  # type: ignore[no-any-return]

    def _reversed(self) -> list[File]:
        name = self.case.column
        order = next(o for o in self.contract.orders if name in (o.earlier, o.later))
        valid = row(self.case.feed)
        swapped = {order.earlier: valid[order.later], order.later: valid[order.earlier]}
        return [self.file(self.rows(self.row(**swapped)))]

    def _stricter_elsewhere(self) -> list[File]:
        name = self.case.column
        ranked = [criterion.column for criterion in self.contract.safer_first]
        other = next(each for each in reversed(ranked) if each != name and "pd_" not in each)
        (loose, safe), (open_, closed) = LOOSE_AND_SAFE[name], LOOSE_AND_SAFE[other]
        copies = (
            self.row(**{name: safe, other: open_}),
            self.row(**{name: loose, other: closed}),
        )
        return [self.file(self.rows(*copies))]

    def _one_list_only(self) -> list[File]:
        return self._two_lists()

    def _other_person(self) -> list[File]:
        other = self.row(full_name="Somebody Else", phone="+8613912345678")
        return [self.file(self.rows(self.row(), other))]

    def _two_scopes(self) -> list[File]:
        scopes = (self.row(consent_scope=scope) for scope in ("bank_01", "bank_02"))
        return [self.file(self.rows(*scopes))]

    def _later_role(self) -> list[File]:
        later = self.file([self.row(consent_by_role="employee"), *self.rows()], NEXT, is_after=True)
        return [self.file(self.rows(self.row())), later]

    def _later_copy(self) -> list[File]:
        withdrawn = self.row(consent_withdrawn_at="2026-11-21T15:00:00+08:00")
        later = self.file([withdrawn, *self.rows()], NEXT, is_after=True)
        return [self.file(self.rows(self.row())), later]

    def _opposite_rows(self) -> list[File]:
        return [self.file(self.rows(self.row(), self._other_row()))]

    def _two_lists(self) -> list[File]:
        whole, without = self.rows(self.row()), self.rows()
        return [self.file(whole, name="10h.csv"), self.file(without, name="16h.csv")]

    def _column_unreadable(self) -> list[File]:
        name, kind = self.case.column, self.column.type
        if kind in WRONG_TYPE:
            return self._changed(WRONG_TYPE[kind])
        rows = [*self.rows(), self.row() | {name: {"nested": 1}}]  # type: ignore[dict-item]
        text = "".join(json.dumps(each) + "\n" for each in rows)
        return [self.file(text.encode(), name="rows.jsonl")]

    # files

    def _file(self) -> list[File]:
        return self.beside(*getattr(self, f"_file_{self.case.variant}")())

    def _good(self, day: date = DAY, name: str = "rows.csv", *, is_after: bool = False) -> File:
        return self.file(self.rows(self.row()), day, name, is_after=is_after)

    def _file_no_file(self) -> Iterator[File]:
        yield self._good()

    def _file_no_rows(self) -> Iterator[File]:
        yield self._good()
        header = csv_bytes([], self.row())
        yield self.file(header, NEXT, is_after=True)

    def _file_name(self) -> Iterator[File]:
        yield self._good(name="rows.txt")

    def _file_feed(self) -> Iterator[File]:
        good = self._good()
        yield replace(good, path=good.path.replace(self.case.feed, self.case.feed[:-1], 1))

    def _file_source(self) -> Iterator[File]:
        yield self._good()
        if self.case.effect == "in_force":
            later = self._good(NEXT, is_after=True)
            yield replace(later, path=later.path.replace(self.source, f"{self.source}x"))

    def _file_readable(self) -> Iterator[File]:
        yield self._good(name="late.csv", is_after=True)

    def _file_unreadable(self) -> Iterator[File]:
        yield replace(next(self._file_encoding()), is_after=True)

    def _file_older_than_the_known(self) -> Iterator[File]:
        yield self._good()
        yield self.file(self.rows(self.row("v2")), BEFORE, "late.csv", is_after=True)

    def _file_same_content(self) -> Iterator[File]:
        yield self._good()
        yield self._good(name="again.csv")

    def _file_same_name(self) -> Iterator[File]:
        yield self._good()
        yield self.file(self.rows(self.row("v2")), is_after=True)

    def _file_two_lists(self) -> Iterator[File]:
        yield from self._two_lists()

    def _file_two_files(self) -> Iterator[File]:
        yield self.file(self.rows(self.row()), name="10h.csv")
        changes = {"leads": {"consent_withdrawn_at": "2026-11-20T15:00:00+08:00"}}
        suffix = "v" if self.case.feed == "leads" else "v2"
        again = self.row(suffix, **changes.get(self.case.feed, {}))
        yield self.file(self.rows(again), name="16h.csv")

    def _file_two_sources(self) -> Iterator[File]:
        yield self._good()
        other = self.file(self.rows(self.row(**self._stricter())))
        yield replace(other, path=other.path.replace(f"/{self.source}/", f"/{self.source}x/"))

    def _stricter(self) -> Row:
        return {"admitted_to": "2026-12-01"} if self.case.feed == "institutions" else {}

    def _file_encoding(self) -> Iterator[File]:
        text = csv_bytes(self.rows(self.row())).decode()
        yield self.file(text.encode("utf-16"), name="utf16.csv")

    def _file_truncated(self) -> Iterator[File]:
        packed = gzip.compress(csv_bytes(self.rows(self.row())), mtime=0)
        yield self.file(packed[: len(packed) // 2], name="rows.csv.gz")

    def _file_zero_bytes(self) -> Iterator[File]:
        yield self.file(b"")


def base_files(sources: list[tuple[str, str]]) -> Iterator[File]:
    """Yield the files of the day before that the cases build on.

    Args:
        sources: Feed and source of each case.
    """
    owned = ("products", "product_rules", "product_fees")
    owners = [source for feed, source in sources if feed in owned]
    lists = [row("institutions", institution_id=name) for name in (LENDER, *owners)]
    yield File(f"institutions/base/{BEFORE}/rows.csv", csv_bytes(lists))
    products = ("v", "g1", "g2", "g3")
    catalogue = csv_bytes([row("products", product_id=name) for name in products])
    for owner in owners:
        yield File(f"products/{owner}/{BEFORE}/base.csv", catalogue)
    for feed, source in sources:
        if feed == "institutions":
            for name in ("v", "g1"):
                path = f"products/{source}-{name}/{BEFORE}/base.csv"
                yield File(path, csv_bytes([row("products", product_id="v")]))
