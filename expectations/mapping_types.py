"""The keys of a mapping, with their types: the schema of `expectations/mappings/*.yml`."""

from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from expectations.strict_model import StrictModel


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _as_constant(value: Any) -> Any:
    return {"default": value} if isinstance(value, str) else value


def _as_fraction(value: Any) -> Fraction:
    try:
        return Fraction(value)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is neither a number nor a fraction such as 1000/12") from None


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""One text or several."""


class _Strict(StrictModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class ForeignFile(_Strict):
    """The format of the foreign file; nothing is guessed."""

    format: Literal["csv", "jsonl", "parquet"]
    encoding: Literal["utf-8", "gb18030", "latin-1", "utf-16"] = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    header: bool = True
    names: tuple[str, ...] = ()
    """Column names of a file without a header, or the keys that a JSON Lines file may hold."""
    skip_lines: int = Field(default=0, ge=0)
    """Lines before the header (or before the first row) that are not data."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.format == "csv" and self.header == bool(self.names):
            raise ValueError("a csv file has either `header: true` or `header: false` and `names`")
        if self.format == "jsonl" and not self.names:
            raise ValueError("a jsonl file needs `names`, the keys that its objects may hold")
        return self


class Value(_Strict):
    """How one value is computed; a text in its place is a constant.

    Each column in `from` is trimmed, emptied if it is one of `missing`, translated by `values`;
    several are joined by `separator`; then `format` or `scale` converts the text. Inconvertible
    text is passed on unchanged, so that ingest quarantines it by the contract's rule.
    """

    from_: Texts = Field(default=(), alias="from")
    separator: str = " "
    missing: Texts = ()
    """Texts that mean empty, besides the mapping's own."""
    values: dict[str, str] = Field(default_factory=dict)
    """Translation; other text is unchanged, an empty translation makes the value empty."""
    format: Texts = ()
    """Patterns of strptime for a date or a time; the first that matches is used."""
    pivot: int | None = Field(default=None, ge=0, le=99)
    """Two-digit years from the pivot on are 19yy, lower ones 20yy."""
    zone: str = "UTC"
    """Time zone of a time without an offset."""
    scale: Annotated[Fraction, BeforeValidator(_as_fraction)] | None = None
    """The factor of a number, such as `0.01` or `1000/12`."""
    expression: str | None = None
    """A DuckDB SQL scalar over the file's columns, `define`d names, `row_line` and `row_sha256`."""
    default: str | None = None
    """The value where the result of the keys above is empty."""

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.from_ and self.expression:
            raise ValueError("give `from` or `expression`, not both")
        if not self.from_ and self.expression is None and self.default is None:
            raise ValueError("give `from`, `expression` or `default`")
        if self.format and self.scale is not None:
            raise ValueError("give `format` (dates) or `scale` (numbers), not both")
        if (self.pivot is not None) and not any("%y" in pattern for pattern in self.format):
            raise ValueError("`pivot` needs a `format` with %y, the two-digit year")
        if not self.from_ and (self.format or self.scale or self.values or self.missing):
            raise ValueError("`format`, `scale`, `values` and `missing` work on columns in `from`")
        return self

    @property
    def is_constant(self) -> bool:
        """True if every row gets the same value."""
        return not self.from_ and self.expression is None


ValueOrConstant = Annotated[Value, BeforeValidator(_as_constant)]
"""A value, or a text that is a constant."""


class Route(_Strict):
    """The rows of one feed, and the values of its columns."""

    feed: str
    where: str | None = None
    """A SQL condition that selects rows; without it, every row."""
    source: ValueOrConstant
    """The SOURCE folder below the feed."""
    date: ValueOrConstant
    """The landing date of the row. A constant date marks a reference catalogue, which is written
    for every range of dates."""
    one_per: Texts = ()
    """One row for each combination of these columns; for a catalogue that rows only mention."""
    columns: dict[str, ValueOrConstant]
    invented: dict[str, str] = Field(default_factory=dict)
    """Column (or `source`, `date`) -> the rule that made it up; the report shows it."""


class Beside(_Strict):
    """An optional Parquet file in the same folder, with more facts on the rows."""

    file: str = Field(pattern=r"^[^/]+$")
    """The name of the file."""
    columns: dict[str, Literal["varchar", "bigint", "double", "date"]] = Field(min_length=1)
    """The columns that are used, with their DuckDB types."""


class Mapping(_Strict):
    """A mapping from one foreign file to feed files."""

    description: str
    origin: str
    """Where the file comes from, and its licence."""
    file: ForeignFile
    beside: dict[str, Beside] = Field(default_factory=dict)
    """Name of a table that `define` and `where` can query -> its file; without that file the
    table is empty."""
    missing: Texts = ()
    """Texts that mean empty in every column."""
    define: dict[str, str] = Field(default_factory=dict)
    """Name -> SQL expression that the routes use as a column; each can use the earlier names, and
    other rows by window functions (`count(*) over (...)`)."""
    routes: tuple[Route, ...] = Field(min_length=1)
