"""What a mapping may say: the types that `expectations/mappings/*.yml` are checked against."""

from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from expectations.strict_model import StrictModel


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _constant(value: Any) -> Any:
    return {"default": value} if isinstance(value, str) else value


def _fraction(value: Any) -> Fraction:
    try:
        return Fraction(value)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is neither a number nor a fraction such as 1000/12") from None


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]
"""One text or several."""


class _Strict(StrictModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class ForeignFile(_Strict):
    """How the bytes of the foreign file become rows; nothing of it is ever guessed."""

    format: Literal["csv", "jsonl", "parquet"]
    encoding: Literal["utf-8", "gb18030", "latin-1", "utf-16"] = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    header: bool = True
    names: tuple[str, ...] = ()
    """Column names of a file without a header, or the keys that a JSON Lines file may hold."""
    skip_lines: int = Field(default=0, ge=0)
    """Lines before the header (or before the first row) that are not data."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.format == "csv" and self.header == bool(self.names):
            raise ValueError("a csv file has either `header: true` or `header: false` and `names`")
        if self.format == "jsonl" and not self.names:
            raise ValueError("a jsonl file needs `names`, the keys that its objects may hold")
        return self


class Value(_Strict):
    """How one value comes about. A plain text in its place is a constant.

    Each column in `from` is trimmed, emptied if it is one of `missing`, translated by `values`;
    several are joined by `separator`; then `format` or `scale` converts the text. A text that
    cannot be converted passes as it is, so that ingest quarantines it under the contract's rule.
    """

    from_: Texts = Field(default=(), alias="from")
    separator: str = " "
    missing: Texts = ()
    """Texts that mean empty, besides the mapping's own."""
    values: dict[str, str] = Field(default_factory=dict)
    """Translation; a text that isn't named stays, an empty translation empties."""
    format: Texts = ()
    """Patterns of strptime for a date or a time; the first that fits counts."""
    pivot: int | None = Field(default=None, ge=0, le=99)
    """Two-digit years from the pivot on are 19yy, those below it 20yy."""
    zone: str = "UTC"
    """Time zone of a time that `format` reads without an offset."""
    scale: Annotated[Fraction, BeforeValidator(_fraction)] | None = None
    """What a number is multiplied by, such as `0.01` or `1000/12`."""
    expression: str | None = None
    """A DuckDB SQL scalar over the file's columns, `define`d names, `row_line` and `row_sha256`."""
    default: str | None = None
    """What stands where all of the above gives nothing."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.from_ and self.expression:
            raise ValueError("say `from` or `expression`, not both")
        if not self.from_ and self.expression is None and self.default is None:
            raise ValueError("say `from`, `expression` or `default`")
        if self.format and self.scale is not None:
            raise ValueError("say `format` (dates) or `scale` (numbers), not both")
        if (self.pivot is not None) and not any("%y" in pattern for pattern in self.format):
            raise ValueError("`pivot` needs a `format` with %y, the two-digit year")
        if not self.from_ and (self.format or self.scale or self.values or self.missing):
            raise ValueError("`format`, `scale`, `values` and `missing` work on columns in `from`")
        return self

    @property
    def is_constant(self) -> bool:
        """Whether every row gets the same value."""
        return not self.from_ and self.expression is None


Said = Annotated[Value, BeforeValidator(_constant)]
"""A value, or a plain text that is a constant."""


class Route(_Strict):
    """Which rows go to which feed, and how."""

    feed: str
    where: str | None = None
    """A SQL condition; rows that don't meet it are not for this route. Empty: every row."""
    source: Said
    """The SOURCE folder below the feed."""
    date: Said
    """The business date on which the row is landed. A constant date is a standing catalogue,
    which is written whatever dates were asked for."""
    one_per: Texts = ()
    """Keep one row for each combination of these; for a catalogue that rows only mention."""
    columns: dict[str, Said]
    invented: dict[str, str] = Field(default_factory=dict)
    """Column (or `source`, `date`) -> the rule by which it was made up; the report says so."""


class Beside(_Strict):
    """A Parquet file that may lie beside the foreign file and says more about its rows."""

    file: str = Field(pattern=r"^[^/]+$")
    """Its name, in the same folder."""
    columns: dict[str, Literal["varchar", "bigint", "double", "date"]] = Field(min_length=1)
    """Those of its columns that are used, with their DuckDB types."""


class Mapping(_Strict):
    """How one foreign file becomes feed files."""

    description: str
    origin: str
    """Where the file comes from, and its licence."""
    file: ForeignFile
    beside: dict[str, Beside] = Field(default_factory=dict)
    """Name of a table that `define` and `where` may query -> what it holds; it is empty where no
    such file lies beside."""
    missing: Texts = ()
    """Texts that mean empty in every column."""
    define: dict[str, str] = Field(default_factory=dict)
    """Name -> SQL expression that the routes may use as a column; each may use those before it,
    and may look over other rows (`count(*) over (...)`)."""
    routes: tuple[Route, ...] = Field(min_length=1)
