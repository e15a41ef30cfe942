"""The contracts of the eight feeds, read from YAML: the only hand-written schema of a feed.

Arrow schemas, Great Expectations suites, dbt sources and the data dictionary all derive from
what this module returns.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
import yaml
from pydantic import model_validator

from expectations.strict_model import StrictModel

FOLDER = Path(__file__).parent / "contracts"

Severity = Literal["critical", "warning", "info"]
"""Effect of a broken rule: the row is quarantined; the value is emptied and kept in quarantine; or
the row is only counted."""

ARROW_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "list": pa.list_(pa.string()),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


class Column(StrictModel):
    """One column of a feed, with every rule that a single value must keep."""

    name: str
    type: Literal["text", "list", "integer", "number", "boolean", "date", "timestamp"]
    description: str
    required: bool = False
    """Present in every file and filled in every row; a row without it is quarantined."""
    severity: Severity = "critical"
    """Effect of breaking one of the rules below. An empty required value is always critical."""
    allowed: tuple[str, ...] = ()
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    personal: bool = False
    """Identifies a person; leaves the lake only in a delivery."""
    protected: bool = False
    """A protected attribute; never a feature."""
    feature: bool = False
    """True if models and product rules may use it: the warehouse then carries it to every mart."""

    @model_validator(mode="after")
    def _require_allowed_feature(self) -> Self:
        if self.feature and (self.personal or self.protected):
            raise ValueError(f"{self.name} is personal or protected, so it can't be a feature")
        return self

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's type in Arrow and Parquet."""
        return ARROW_TYPES[self.type]


class Order(StrictModel):
    """Within a row, `later` is not before (or below) `earlier`, where both are known."""

    earlier: str
    later: str
    severity: Severity = "critical"


class Contract(StrictModel):
    """The contract of one feed."""

    feed: str
    description: str
    source_column: str
    """Meaning of the folder's SOURCE, and its column in the lake."""
    key: tuple[str, ...]
    """Columns (with `source_column` where it counts) that no two rows of the feed share."""
    duplicates: tuple[str, ...] = ()
    """Of rows that share a key, the first by these columns is loaded, among equals the first by the
    values of all columns. The order of rows in the file never counts."""
    unique_within: Literal["history", "day"] = "day"
    """Range within which the key is unique: all days ever received, or one business date."""
    recorded_at: str | None = None
    """The column that says when the source knew the row; else the day it was landed counts."""
    sent_daily: bool = False
    """True if its sources send it every day, so that its absence is a finding."""
    full_catalogue: bool = False
    """Each day's rows replace the source's earlier ones as a whole."""
    columns: tuple[Column, ...]
    derived: tuple[Column, ...] = ()
    """Columns that ingest adds."""
    orders: tuple[Order, ...] = ()

    @model_validator(mode="after")
    def _require_known_names(self) -> Self:
        names = {column.name for column in self.columns} | {self.source_column}
        used = {
            *self.key,
            *self.duplicates,
            *(n for o in self.orders for n in (o.earlier, o.later)),
        }
        if missing := used - names:
            raise ValueError(f"{self.feed}: no column is named {sorted(missing)}")
        return self

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> list[str]:
        """The names of the columns that a source may send."""
        return [column.name for column in self.columns]

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that models and product rules may use, as received and then as derived."""
        return tuple(column for column in (*self.columns, *self.derived) if column.feature)

    @property
    def required(self) -> list[str]:
        """The names of the columns that every file has and every row fills in."""
        return [column.name for column in self.columns if column.required]

    @property
    def received_schema(self) -> pa.Schema:
        """The typed columns as the source sends them."""
        return pa.schema([(column.name, column.arrow_type) for column in self.columns])

    @property
    def lake_schema(self) -> pa.Schema:
        """The columns of `lake/FEED/date=D/FEED.parquet`, in order."""
        return pa.schema([(column.name, column.arrow_type) for column in self.lake_columns])

    @property
    def lake_columns(self) -> tuple[Column, ...]:
        """The columns of the lake: the source, received columns, columns added by ingest."""
        source = Column(
            name=self.source_column,
            type="text",
            required=True,
            description=f"The {self.source_column.removesuffix('_id')} that sent the row.",
        )
        first = () if self.source_column in self.names else (source,)
        return (*first, *self.columns, *self.derived, *LINEAGE)


LINEAGE = (
    Column(
        name="extras",
        type="text",
        description="Columns that the contract doesn't know, as one JSON object.",
    ),
    Column(name="file", type="text", required=True, description="Name of the landed file."),
    Column(name="landed_on", type="date", required=True, description="Date of the landing folder."),
    Column(
        name="is_late",
        type="boolean",
        required=True,
        description="Whether the file came after its own business date had been run.",
    ),
    Column(
        name="known_at",
        type="timestamp",
        required=True,
        description=(
            "Time at which Banyan knew the row: the source's time of recording, but never before "
            "the start of the business date on which the file was taken in."
        ),
    ),
)


@cache
def load(feed: str) -> Contract:
    """Return the contract of `feed`; `KeyError` names the feeds there are."""
    path = FOLDER / f"{feed}.yml"
    if not path.is_file():
        raise KeyError(f"no feed is named {feed!r}; there are: {', '.join(feeds())}")
    return Contract.model_validate(yaml.safe_load(path.read_text("utf-8")))


@cache
def feeds() -> tuple[str, ...]:
    """Return the names of all feeds, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yml")))


def contracts() -> Iterator[Contract]:
    """Yield every contract, by feed name."""
    return (load(feed) for feed in feeds())
