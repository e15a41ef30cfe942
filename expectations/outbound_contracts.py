"""The contracts of the files that go out, read from `expectations/outbound/*.yml`.

From each contract a JSON Schema, a contract in the Open Data Contract Standard (ODCS) and a sample
are derived, so that a receiver's tools can read and check the files. Each feed has a JSON Schema as
well, by which a sender checks its own file before it lands.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import yaml

from expectations.contracts import LINEAGE, Column, Contract, contracts, load
from expectations.strict_model import ContractError, StrictModel

FOLDER = Path(__file__).parent / "outbound"
DERIVED = "docs/reference/schemas"
"""Where the derived files of each contract are."""
FEEDS = f"{DERIVED}/feeds"
"""Where the JSON Schema of each feed is."""
ODCS_VERSION = "v3.0.2"

SAMPLE_CHANNEL = "search"
"""Source of the lead in the sample of a lead file."""

VERSION = "schema_version"
"""Name under which every outgoing file states the version of its contract: the last column of a
table, a name of a JSON object. A Parquet file also states it in its metadata."""

JSON_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "list": {"type": "array", "items": {"type": "string"}},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "timestamp": {"type": "string", "format": "date-time"},
}


class OutboundColumn(Column):
    """One column of an outgoing file, or one name of an outgoing JSON object."""

    unit: str | None = None
    members: tuple["OutboundColumn", ...] = ()
    """Of a JSON object its names; with the type `list` the names of each of its objects."""

    @property
    def has_rules(self) -> bool:
        """Return whether single values can break the column's rules, its type aside."""
        limits = (self.pattern, self.minimum, self.maximum, self.max_length)
        has_limit = any(limit is not None for limit in limits)
        return self.required or bool(self.allowed) or bool(self.currency) or has_limit


class OutboundContract(StrictModel):
    """The columns of an outgoing file, with the version of its schema."""

    name: str
    schema_version: int
    description: str
    form: Literal["table", "json"] = "table"
    with_lead_columns: bool = False
    """Whether the columns of a lead that the receiver agreed on follow the columns."""
    columns: tuple[OutboundColumn, ...]

    @property
    def schema(self) -> pa.Schema:
        """Return the columns as an Arrow schema."""
        return pa.schema([(column.name, column.arrow_type) for column in self.columns])

    @property
    def possible_columns(self) -> tuple[OutboundColumn, ...]:
        """Return the columns, every column of a lead that may follow them, and `VERSION`."""
        leads = _lead_columns() if self.with_lead_columns else ()
        return (*self.columns, *leads, self._version_column)

    @property
    def _version_column(self) -> OutboundColumn:
        return OutboundColumn(
            name=VERSION,
            type="integer",
            required=True,
            minimum=self.schema_version,
            maximum=self.schema_version,
            description="Version of the contract that the file keeps.",
        )


@cache
def load_outbound(name: str) -> OutboundContract:
    """Return the contract of the outgoing file `name`."""
    text = (FOLDER / f"{name}.yml").read_text("utf-8")
    return OutboundContract.model_validate(yaml.safe_load(text))


def derive_outbound_files() -> dict[str, str]:
    """Return the text of each file that is derived from the outbound contracts, by its path."""
    texts = {}
    for path in sorted(FOLDER.glob("*.yml")):
        contract = load_outbound(path.stem)
        place = f"{DERIVED}/{contract.name}"
        texts[f"{place}.schema.json"] = _to_json(make_json_schema(contract))
        texts[f"{place}.odcs.yaml"] = _make_odcs(contract)
        if contract.form == "json":
            texts[f"{place}.sample.json"] = _to_json(
                _drop_empty(make_sample(contract.possible_columns))
            )
        else:
            texts[f"{place}.sample.csv"] = _make_csv(contract.possible_columns)
    for feed in contracts():
        texts[f"{FEEDS}/{feed.feed}.schema.json"] = _to_json(make_feed_schema(feed))
    return texts


def make_json_schema(contract: OutboundContract) -> dict[str, Any]:
    """Return the JSON Schema of the object, or of one row of the table."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": contract.name,
        "description": contract.description,
        "$comment": f"schema_version {contract.schema_version}",
    } | _object_schema(contract.possible_columns, is_open=contract.form == "json")


def make_feed_schema(contract: Contract) -> dict[str, Any]:
    """Return the JSON Schema of one row of a feed, as its source sends it.

    A row that keeps it can still break a rule that JSON Schema can't state: between two columns,
    between a time and the date of its file, or of the list of currencies. Further columns are
    allowed, as the ingest keeps them.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": contract.feed,
        "description": contract.description,
    } | _object_schema(contract.columns, is_open=True)


def make_sample(columns: tuple[OutboundColumn, ...]) -> dict[str, Any]:
    """Return one object, or row, of a contract's examples; no value is a person's.

    Raises:
        ContractError: A required column has no example.
    """
    return {column.name: _sample_value(column) for column in columns}


def _lead_columns() -> Iterator[OutboundColumn]:
    internal = {column.name for column in LINEAGE}
    for column in load("leads").lake_columns:
        if column.name not in internal and not column.protected:
            facts = column.model_dump(include={"name", "type", "description", "allowed", "example"})
            if column.name == load("leads").source_column:
                facts["example"] = SAMPLE_CHANNEL
            yield OutboundColumn(**facts)


def _object_schema(columns: Sequence[Column], *, is_open: bool) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {column.name: _value_schema(column, is_open=is_open) for column in columns},
        "required": [column.name for column in columns if column.required],
        "additionalProperties": is_open,
    }


def _value_schema(column: Column, *, is_open: bool) -> dict[str, Any]:
    schema = dict(JSON_TYPES[column.type])
    outbound = column if isinstance(column, OutboundColumn) else None
    unit = f" Unit: {outbound.unit}." if outbound and outbound.unit else ""
    if members := outbound.members if outbound else ():
        inner = _object_schema(members, is_open=is_open)
        schema = {"type": "array", "items": inner} if column.type == "list" else inner
    if column.allowed:
        schema["enum"] = [*column.allowed] + ([] if column.required else [None])
    limits: dict[str, Any] = {"pattern": column.pattern, "maxLength": column.max_length}
    for name, limit in {"minimum": column.minimum, "maximum": column.maximum}.items():
        limits[name] = int(limit) if limit is not None and limit == int(limit) else limit
    schema |= {name: limit for name, limit in limits.items() if limit is not None}
    if not column.required:
        schema["type"] = [schema["type"], "null"]
    return schema | {"description": f"{column.description}{unit}"}


def _make_odcs(contract: OutboundContract) -> str:
    """Return the contract in the Open Data Contract Standard."""
    content = {
        "apiVersion": ODCS_VERSION,
        "kind": "DataContract",
        "id": f"banyan.{contract.name}",
        "name": contract.name,
        "version": f"{contract.schema_version}.0.0",
        "status": "active",
        "description": {"purpose": contract.description},
        "schema": [
            {
                "name": contract.name,
                "logicalType": "object",
                "physicalType": "object" if contract.form == "json" else "table",
                "description": contract.description,
                "properties": [*map(_odcs_property, contract.possible_columns)],
            }
        ],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return f"# Derived from expectations/outbound/{contract.name}.yml.\n{text}"


def _odcs_property(column: OutboundColumn) -> dict[str, Any]:
    kinds = {"text": "string", "list": "array", "timestamp": "date"}
    found: dict[str, Any] = {
        "name": column.name,
        "logicalType": kinds.get(column.type, column.type),
        "physicalType": column.type,
        "required": column.required,
        "description": column.description,
    }
    members = [*map(_odcs_property, column.members)]
    if column.type == "list":
        item = {"logicalType": "object", "properties": members} if members else {}
        found["items"] = item or {"logicalType": "string"}
    elif members:
        found |= {"logicalType": "object", "physicalType": "object", "properties": members}
    return found


def _sample_value(column: OutboundColumn) -> Any:
    if column.members:
        if not any(member.example is not None for member in column.members):
            return None
        inner = _drop_empty(make_sample(column.members))
        return [inner] if column.type == "list" else inner
    if column.name == VERSION and column.minimum is not None:
        return int(column.minimum)
    if column.example is None and column.required:
        raise ContractError(f"{column.name} is required and has no example for its sample")
    if isinstance(column.example, tuple):
        return [*column.example]
    if column.type == "number" and column.example is not None:
        return float(column.example)
    return column.example


def _drop_empty(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if value is not None}


def _make_csv(columns: tuple[OutboundColumn, ...]) -> str:
    """Return a header and one row; money that an example states as text keeps its decimals."""
    stated = {column.name: column.example for column in columns if isinstance(column.example, str)}
    sample = make_sample(columns) | stated
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(sample)
    rows.writerow(map(_csv_text, sample.values()))
    return text.getvalue()


def _csv_text(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(
            item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
            for item in value
        )
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _to_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
