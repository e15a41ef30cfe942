"""The contracts of the feeds, read from YAML: the only hand-written schema of a feed.

Arrow schemas, Great Expectations suites, dbt sources and the data dictionary all derive from
what this module returns.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
import yaml
from pydantic import ValidationError, field_validator, model_validator

from expectations.policy_types import LocalizedText
from expectations.strict_model import ContractError, StrictModel

FOLDER = Path(__file__).parent / "contracts"

Severity = Literal["critical", "warning", "info"]
"""Effect of a broken rule: the row is quarantined; the value is emptied and kept in quarantine; or
the row is only counted."""

Action = Literal[
    "close_product", "close_institution", "hold_delivery", "suppress_subject", "keep_previous"
]
"""What stays closed where something that restricts can't be read: one product; every product of an
institution; every delivery that the order could concern; the person or lead that the row names; or
nothing further, because the row is absent and what is absent is closed already."""

Unknown = Literal[
    "absent",
    "other_product",
    "close_product",
    "close_institution",
    "other_lead",
    "no_institution",
    "every_institution",
    "not_sent",
    "any_text",
    "unknown_role",
    "reported",
]
"""What a readable value does that names nothing known, because it is misspelt.

`absent`: it lists another institution, and the one that is meant is absent, and so closed;
`other_product`: the same of a product, and the listed one closes where rules name the absent one;
`close_product`, `close_institution`: they close before the matching; `other_lead`: it is another
lead, of the same person; `no_institution`, `every_institution`: the ones that it concerns then;
`not_sent`: no such column is sent; `any_text`: no value is unknown; `unknown_role`: the lead is
loaded and not matched; `reported`: it restricts nobody, and the page says so."""

FeatureKind = Literal["number", "category", "rule"]
"""How a column is used: as a number or a category of the models, and then by product rules too; or
by product rules alone."""

FEATURE_TYPES = {
    "number": frozenset({"integer", "number", "boolean"}),
    "category": frozenset({"text"}),
    "rule": frozenset({"integer", "number", "boolean", "text"}),
}
"""Kind of feature -> the types that a column of that kind has."""

ARROW_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "list": pa.list_(pa.string()),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


class Wording(StrictModel):
    """The text of a feature as a reason; `expectations/policy/reasons.yml` explains it."""

    person: LocalizedText
    """For the applicant."""
    analyst: LocalizedText
    """For risk and compliance."""
    levels: tuple[tuple[str, LocalizedText], ...] = ()
    """Level of the value (high or low of a number, yes or no, or a category's own value) -> the
    phrase for the applicant; a mapping in YAML."""

    @field_validator("levels", mode="before")
    @classmethod
    def _list_items(cls, values: object) -> object:
        return tuple(values.items()) if isinstance(values, dict) else values


class MaximumBy(StrictModel):
    """A maximum that depends on the value of another column."""

    column: str
    values: tuple[tuple[str, float], ...]
    """Value of that column -> maximum; a mapping in YAML."""

    @field_validator("values", mode="before")
    @classmethod
    def _list_items(cls, values: object) -> object:
        return tuple(values.items()) if isinstance(values, dict) else values


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
    maximum_by: MaximumBy | None = None
    ceiling: int | None = None
    """A greater number counts as this one: to its sender it means that there is no limit."""
    currency: bool = False
    """Whether the value is a currency: a code of ISO 4217 (`policy/iso_4217.yml`)."""
    max_length: int | None = None
    days_ahead: int | None = None
    """Most days after the date on which the file counts; of a time to the end of the last day."""
    days_back: int | None = None
    """Most days before that date."""
    personal: bool = False
    """Identifies a person; leaves the lake only in a delivery."""
    protected: bool = False
    """A protected attribute; never a feature."""
    feature: FeatureKind | None = None
    """How models and product rules use it; the warehouse then carries it to every mart. Without it
    they can't."""
    wording: Wording | None = None
    """Of a feature that `policy/reasons.yml` doesn't have: its text as a reason. A feature with a
    wording here needs no line in `models/params.yml`."""
    placeholders: bool = True
    """Whether the words of `policy/placeholders.yml` are missing values; not where one is real."""
    placeholder_pattern: str | None = None
    """A pattern of further values that are missing ones, such as a device id of zeros."""
    assumed: bool = False
    """Whether a policy completes an empty value, so that losing a stated one replaces it."""
    restricts: bool = False
    """Whether the value can exclude somebody, so that losing it opens what it closes."""
    on_unreadable: Action | None = None
    """What stays closed where the value can't be read; else the row's action of the feed."""
    on_unknown: Unknown | None = None
    """Of a text or list that restricts: what a readable value does that names nothing known."""
    means_every: tuple[str, ...] = ()
    """Values (in any case) that mean the same as an empty one: every institution."""
    example: str | bool | int | float | tuple[str, ...] | None = None
    """Value of a sample file; money as text, with its two decimals."""

    @model_validator(mode="after")
    def _require_allowed_feature(self) -> Self:
        if self.feature and (self.personal or self.protected):
            raise ValueError(f"{self.name} is personal or protected, so it can't be a feature")
        if self.feature and self.type not in FEATURE_TYPES[self.feature]:
            allowed = ", ".join(sorted(FEATURE_TYPES[self.feature]))
            raise ValueError(
                f"{self.name} has type {self.type}, and `feature: {self.feature}` is for {allowed}"
            )
        if self.wording and not self.is_model_feature:
            raise ValueError(
                f"{self.name} has a wording, which only `feature: number` and `category` need"
            )
        return self

    @property
    def is_model_feature(self) -> bool:
        """Whether models read the column, and not only product rules."""
        return self.feature in ("number", "category")

    @property
    def is_open_text(self) -> bool:
        """Whether a misspelt value can be a readable one."""
        return self.type in {"text", "list"} and not self.allowed and not self.currency

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's type in Arrow and Parquet."""
        return ARROW_TYPES[self.type]


class Order(StrictModel):
    """Within a row, `later` is not before (or below) `earlier`, where both are known."""

    earlier: str
    later: str
    severity: Severity = "critical"


class ConditionalPattern(StrictModel):
    """A pattern of a column that applies where another column has one of some values."""

    column: str
    pattern: str
    requirement: str
    """The pattern in words: what the value must be."""
    when: str
    """The other column."""
    values: tuple[str, ...]
    severity: Severity = "critical"


class Withdrawal(StrictModel):
    """The columns of a consent that a later copy of the row can withdraw, narrow or dispute."""

    withdrawn_at: str
    scope: str
    role: str
    """Who consented for a business; two copies that differ in it dispute the consent."""
    owner: str
    """The number of a business's owner; two copies that differ in it dispute who the owner is."""

    @property
    def columns(self) -> tuple[str, str, str]:
        """The names of the columns."""
        return self.withdrawn_at, self.scope, self.role


class Unreadable(StrictModel):
    """What stays closed where a file, or a row of it, can't be read."""

    file: Action
    row: Action


class SaferFirst(StrictModel):
    """One criterion by which one of two rows of a key is the more careful one."""

    column: str
    known_first: bool = False
    order: tuple[str, ...] = ()
    smallest_first: bool = False
    """An empty value is no limit, so it comes last; of lists the shorter one comes first, and a
    list that names `all` last."""
    largest_first: bool = False

    @model_validator(mode="after")
    def _is_one_criterion(self) -> Self:
        stated = (self.known_first, self.order, self.smallest_first, self.largest_first)
        if sum(map(bool, stated)) != 1:
            raise ValueError(f"{self.column}: state exactly one criterion of safety")
        return self


class Contract(StrictModel):
    """The contract of one feed."""

    feed: str
    description: str
    source_column: str
    """Meaning of the folder's SOURCE, and its column in the lake."""
    key: tuple[str, ...]
    """Columns (with `source_column` where it counts) that no two rows of the feed share."""
    safer_first: tuple[SaferFirst, ...] = ()
    """Of rows that share a key on one day, the most careful one by these criteria is loaded."""
    duplicates: tuple[str, ...] = ()
    """Of equally careful rows the first by these columns is loaded, among equals the first by the
    values of all columns. The order of rows in the file never counts."""
    person: tuple[str, ...] = ()
    """The columns that name the person of a row: identity number, phone, name. Rows of one key that
    name different persons are no repeats; they are quarantined."""
    withdrawal: Withdrawal | None = None
    """Of a feed with consent: a copy of a key that withdraws or narrows it is obeyed, also where
    the copy itself is not loaded."""
    on_unreadable: Unreadable | None = None
    """Of a feed that restricts: what stays closed where a file or row of it can't be read."""
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
    conditional_patterns: tuple[ConditionalPattern, ...] = ()

    @model_validator(mode="after")
    def _require_known_names(self) -> Self:
        names = {column.name for column in self.columns} | {self.source_column}
        used = {
            *self.key,
            *self.duplicates,
            *self.person,
            *(self.withdrawal.columns if self.withdrawal else ()),
            *(criterion.column for criterion in self.safer_first),
            *(n for o in self.orders for n in (o.earlier, o.later)),
            *(n for p in self.conditional_patterns for n in (p.column, p.when)),
            *(c.maximum_by.column for c in self.columns if c.maximum_by),
        }
        if missing := used - names:
            raise ValueError(f"{self.feed}: no column is named {sorted(missing)}")
        return self

    @model_validator(mode="after")
    def _states_what_stays_closed(self) -> Self:
        restricting = {c.name for c in self.columns if c.restricts}
        stated = {c.name for c in self.columns if c.on_unreadable}
        if (restricting or stated) and self.on_unreadable is None:
            raise ValueError(f"{self.feed} restricts: state on_unreadable of its files and rows")
        if self.on_unreadable and not restricting:
            raise ValueError(f"{self.feed} states on_unreadable: mark the columns that restrict")
        if missing := {c.column for c in self.safer_first} - restricting:
            raise ValueError(
                f"{self.feed}: mark as restricting, as safer_first says: {sorted(missing)}"
            )
        if lenient := [c.name for c in self.columns if c.restricts and c.severity != "critical"]:
            raise ValueError(
                f"{self.feed}: {lenient} restrict, so an unreadable value can't just be emptied; "
                "their severity is critical"
            )
        if silent := [
            c.name for c in self.columns if c.restricts and c.is_open_text ^ bool(c.on_unknown)
        ]:
            raise ValueError(
                f"{self.feed}: state on_unknown of the texts and lists that restrict and may hold "
                f"any word, and of no other column: {silent}"
            )
        return self

    def action_of(self, column: str | None) -> Action | None:
        """Return what stays closed where a row's `column` (None: the whole row) can't be read."""
        if self.on_unreadable is None:
            return None
        own = self[column].on_unreadable if column in self.names else None
        return own or self.on_unreadable.row

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
    def worded_features(self) -> tuple[Column, ...]:
        """The features of models whose wording is in the contract."""
        return tuple(column for column in self.features if column.wording)

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
    """Return the contract of `feed`; `KeyError` names the feeds there are.

    Raises:
        ContractError: The contract is invalid.
    """
    path = FOLDER / f"{feed}.yml"
    if not path.is_file():
        raise KeyError(f"no feed is named {feed!r}; there are: {', '.join(feeds())}")
    return parse_contract(path.read_text("utf-8"), feed)


def parse_contract(text: str, feed: str) -> Contract:
    """Return the contract that YAML `text` states.

    Raises:
        ContractError: It is no YAML, or breaks the schema; with the column of each mistake.
    """
    content: object = None
    try:
        content = yaml.load(text, yaml.CSafeLoader)
        return Contract.model_validate(content)
    except (yaml.YAMLError, ValidationError) as error:
        raise ContractError("\n".join(_describe_mistakes(error, content, feed))) from None


def _describe_mistakes(error: Exception, content: object, feed: str) -> Iterator[str]:
    file = f"expectations/contracts/{feed}.yml"
    if not isinstance(error, ValidationError):
        yield f"{file} is no YAML: {' '.join(str(error).split())}"
        return
    for item in error.errors():
        group, *place = [*item["loc"], ""]
        message = item["msg"].removeprefix("Value error, ")
        if group in ("columns", "derived") and isinstance(content, dict) and place[:1]:
            column = content[group][place[0]]
            name = column.get("name", place[0]) if isinstance(column, dict) else column
            key = ".".join(str(part) for part in place[1:] if part != "")
            yield f"{file}, column {name}{f', {key}' if key else ''}: {message}"
        else:
            key = ".".join(str(part) for part in item["loc"])
            yield f"{file}{f', {key}' if key else ''}: {message}"


@cache
def feeds() -> tuple[str, ...]:
    """Return the names of all feeds, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yml")))


def contracts() -> Iterator[Contract]:
    """Yield every contract, by feed name."""
    return (load(feed) for feed in feeds())
