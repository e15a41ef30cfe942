"""Profile the columns of a foreign file from a sample of its rows; no value leaves it unmasked."""

import re
from dataclasses import dataclass
from typing import Any

import duckdb

from expectations import policy
from pipelines.importing.mapping_sql import literal, quote

PROFILED_ROWS = 2_000
"""Rows of the sample, evenly spaced, by which each column is profiled."""
FEW_VALUES = 30
"""A column with at most so many different values has categories, which may be shown."""
MOST = 0.9
"""Share of the known values from which on a pattern counts as that of the column."""
NEARLY_ALL = 0.99
"""Share of rows with a value of their own from which on a column names its rows; files come with
doubled lines and totals."""
DURATION = re.compile(
    r"(\d+) ?(?:个?月|期|months?|mths?|mos?\.?|m)|(\d+) ?(?:年|years?|yrs?\.?|y)", re.IGNORECASE
)
"""A whole text that states a time in months (first group) or years (second)."""

PATTERNS = {
    "integer": r"[-+]?\d+(\.0+)?",
    "number": r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?",
    "grouped": r"[-+]?[¥￥$€£]?\s?\d{1,3}(,\d{3})+(\.\d+)?|[¥￥$€£]\s?\d+(\.\d+)?",
    "decimal_comma": r"[-+]?(\d{1,3}(\.\d{3})+|\d+),\d{1,2}",
    "percent": r"[-+]?\d+(\.\d+)?\s?%",
    "scientific": r"\d(\.\d+)?E[+]\d+",
    "phone": r"(\+?86[- ]?|0086)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}|\+[1-9]\d{7,14}"
    r"|\(?\d{3}\)?[- ]\d{3}[- ]\d{4}",
    "resident_id": r"[1-9]\d{5}(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}[\dXx]",
    "uscc": r"[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXY]{10}",
    "ein": r"\d{2}-\d{7}",
    "email": r"[^@\s]+@[^@\s]+\.[a-zA-Z]{2,}",
    "offset_time": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)",
    "date_like": r"\d{1,4}[-/.年]\d{1,2}[-/.月]\d{1,4}日?.*|\d{8}|\d{1,2}-[A-Za-z]{3}-\d{2,4}.*",
    "chinese_name": r"[\x{4e00}-\x{9fff}·]{2,5}",
    "currency": r"[A-Z]{3}",
    "boolean": r"(?i)true|false|yes|no|y|n|0|1|是|否",
}
"""Name -> pattern that a whole value matches."""

DATE_FORMATS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S.%f",
    "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y.%m.%d", "%Y%m%d", "%Y年%m月%d日",
    "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M",
    "%d.%m.%Y %H:%M", "%d-%b-%Y", "%d-%b-%y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y",
)  # fmt: skip
"""Patterns of dates and times that are tried, in order of preference."""

PLAUSIBLE_YEARS = (1900, 2100)
"""A pattern that reads other years misreads the text: of 01.03.26, 26 is no day."""

PERSONAL = ("phone", "resident_id", "uscc", "ein", "email", "chinese_name")
"""Patterns of values that may identify a person."""


@dataclass(frozen=True)
class ColumnProfile:
    """What the sample says of one column; shares are of its known values."""

    name: str
    type: str
    """DuckDB's type: text, or of Parquet the native one."""
    rows: int
    known: int
    distinct: int
    shares: dict[str, float]
    """Pattern -> share of the values that match it."""
    formats: tuple[str, ...]
    """Date patterns that read nearly all values; several if the file leaves open which is meant."""
    years: tuple[int, int] | None
    """First and last year of these dates."""
    low: float | None
    median: float | None
    high: float | None
    missing: tuple[str, ...]
    """Texts that probably mean empty."""
    values: tuple[tuple[str, int], ...]
    """Different values with their number, most frequent first; of a column with few."""

    def share(self, *patterns: str) -> float:
        """Return the largest share of some patterns."""
        return max((self.shares.get(name, 0.0) for name in patterns), default=0.0)

    @property
    def is_numeric(self) -> bool:
        """Whether nearly all values are numbers, in any of the ways in which they are written."""
        plain = sum(self.shares.get(n, 0.0) for n in ("number", "grouped", "decimal_comma"))
        return plain + self.shares.get("percent", 0.0) >= MOST

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.known == self.rows == self.distinct > 1

    @property
    def is_nearly_unique(self) -> bool:
        """Whether nearly every row has a value of its own."""
        return self.distinct > 1 and self.distinct >= NEARLY_ALL * self.rows

    @property
    def months(self) -> dict[str, int]:
        """The months that each text of a column of times means; empty if one text is no time."""
        found = {text: read_months(text) for text, _ in self.values}
        months = {text: number for text, number in found.items() if number is not None}
        return months if len(months) == len(found) else {}

    @property
    def is_personal(self) -> bool:
        """Whether the values may identify a person."""
        return self.share(*PERSONAL) >= 0.5 and self.distinct > FEW_VALUES  # noqa: PLR2004 - half

    def describe(self) -> dict[str, Any]:
        """Return the profile as facts without any value that identifies a person."""
        facts: dict[str, Any] = {
            "column": self.name,
            "filled": round(self.known / self.rows, 3) if self.rows else 0.0,
            "distinct": self.distinct,
            "kind": self.kind,
        }
        if self.missing:
            facts["missing"] = list(self.missing)
        if self.formats:
            facts |= {"formats": list(self.formats), "years": list(self.years or ())}
        elif self.is_numeric and not self.is_personal:
            facts |= {"low": self.low, "median": self.median, "high": self.high}
        elif 0 < self.distinct <= FEW_VALUES and self.share(*PERSONAL) < MOST:
            facts["values"] = [mask_digits(value) for value, _ in self.values[:6]]
        return facts

    @property
    def kind(self) -> str:
        """The kind of value, in one word."""
        if not self.known:
            return "empty"
        for name in ("resident_id", "phone", "email", "offset_time"):
            if self.share(name) >= MOST:
                return name
        if self.formats:
            return "time" if any("%H" in pattern for pattern in self.formats) else "date"
        if self.is_numeric:
            return "integer" if self.share("integer") >= MOST else "number"
        return "category" if self.distinct <= FEW_VALUES else "text"


def read_months(text: str) -> int | None:
    """Return the months of a text such as `18个月` or `2 years`; None if it states no time."""
    found = DURATION.fullmatch(text.strip())
    if found is None:
        return None
    return int(found[1]) if found[1] else 12 * int(found[2])


def mask_digits(text: str) -> str:
    """Return a text with runs of four or more digits masked: they may be part of a number."""
    return re.sub(r"\d{4,}", lambda run: "#" * len(run[0]), text)[:40]


def profile_columns(
    connection: duckdb.DuckDBPyConnection, names: list[str]
) -> dict[str, ColumnProfile]:
    """Return the profile of each column of table `received`."""
    step = "greatest(1, (select count(*) from received) // $rows)"
    connection.execute(
        "create or replace table profiled as select * from received "
        f"qualify (row_number() over (order by row_line) - 1) % {step} = 0 limit $rows",
        {"rows": PROFILED_ROWS},
    )
    return {name: _profile_column(connection, name) for name in names}


def _profile_column(connection: duckdb.DuckDBPyConnection, name: str) -> ColumnProfile:
    text = f"nullif(trim(cast({quote(name)} as varchar)), '')"
    words = policy.placeholders()
    empties = ", ".join(map(literal, (*words.programs, *words.numbers, *words.people, "?", "NULL")))
    matched = ", ".join(
        f"count(*) filter (is_word is false and regexp_full_match(text, {literal(pattern)}))"
        f" as {quote(pattern_name)}"
        for pattern_name, pattern in PATTERNS.items()
    )
    connection.execute(
        f"create or replace temp table one as select {text} as text,"
        f" coalesce({text} in ({empties}), false) as is_word from profiled"
    )
    row = (
        connection.sql(
            f"""
        select
            count(*) as n_rows, count(text) as n_texts,
            count(*) filter (text is not null and not is_word) as n_known,
            count(distinct text) filter (not is_word) as n_distinct,
            quantile_cont(try_cast(text as double), [0.0, 0.5, 1.0])
                filter (isfinite(try_cast(text as double))) as ends,
            list(distinct text order by text) filter (is_word) as words,
            {matched}
        from one
        """
        )
        .to_arrow_table()
        .to_pylist()[0]
    )
    known = row["n_known"]
    shares = {pattern: row[pattern] / known if known else 0.0 for pattern in PATTERNS}
    values: list[tuple[str, int]] = []
    if row["n_distinct"] <= FEW_VALUES:
        values = connection.execute(
            "select text, count(*) as n from one where text is not null and not is_word"
            " group by text order by n desc, text"
        ).fetchall()
    kind = str(connection.table("received").select(duckdb.ColumnExpression(name)).types[0])
    formats: tuple[str, ...] = ()
    years: tuple[int, int] | None = None
    if shares["date_like"] >= MOST and shares["offset_time"] < MOST:
        formats, years = _find_formats(connection, known)
    low, median, high = row["ends"] or (None, None, None)
    return ColumnProfile(
        name, kind, row["n_rows"], known, row["n_distinct"], shares, formats, years,
        low, median, high, tuple(row["words"] or ()), tuple(values),
    )  # fmt: skip


def _find_formats(
    connection: duckdb.DuckDBPyConnection, known: int
) -> tuple[tuple[str, ...], tuple[int, int] | None]:
    """Return the date patterns that read the most values as plausible years, and these years."""
    low, high = PLAUSIBLE_YEARS
    columns = [
        f"count(*) filter (year({moment}) between {low} and {high}), min(year({moment})),"
        f" max(year({moment}))"
        for moment in (f"try_strptime(text, {literal(pattern)})" for pattern in DATE_FORMATS)
    ]
    (found,) = connection.execute(
        f"select {', '.join(columns)} from one where not is_word"
    ).fetchall()
    counts = found[::3]
    best = max(counts)
    if best < MOST * known:
        return (), None
    places = [place for place, count in enumerate(counts) if count == best]
    first = 3 * places[0]
    return tuple(DATE_FORMATS[place] for place in places), (found[first + 1], found[first + 2])
