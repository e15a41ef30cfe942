"""Files of `dbt_project/` that are derived from the contracts.

- `staging/_sources.yml`: the lake as dbt's source, one table a feed. dbt reads the Parquet files
  directly; for a feed without any file, an empty one with its columns (the run's `typed` folder) is
  read, so that every table has its source.
- `docs/feeds.md`: one docs block a column, `{{ doc('FEED__COLUMN') }}`.
- `macros/lead_attributes.sql`: the lead columns that the contract marks as features.
- the lines of these columns in the property files of the marts that carry them.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from expectations.contracts import Column, Contract, load
from expectations.strict_model import ContractError

DBT = "dbt_project"
SOURCES = f"{DBT}/staging/_sources.yml"
DOCS = f"{DBT}/docs/feeds.md"
ATTRIBUTES = f"{DBT}/macros/lead_attributes.sql"
MARTS = tuple(f"{DBT}/marts/{name}.yml" for name in ("lead_features", "leads", "training_pairs"))
"""Property files of the marts that carry every lead attribute."""

DUCKDB_TYPES = {
    "text": "varchar",
    "list": "varchar[]",
    "integer": "bigint",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
}

NOTICE = "Derived from expectations/contracts/*.yml by `make docs`; edit the contracts instead."

SOURCES_HEADER = f"""\
# {NOTICE}
sources:
  - name: lake
    description: The checked rows of every feed, by the business date on which they became known.
    tables:\
""".splitlines()

FRESHNESS = "{warn_after: {count: 2, period: day}}"
"""Of a feed that its sources send every day."""

COMPUTED_BESIDE = {"purpose": "age_years", "industry": "business_age_years"}
"""Contract column -> the computed column that the marts list after it."""

FIRST_LINE = "      # the next lines are derived from expectations/contracts/leads.yml\n"
LAST_LINE = "      # end of the derived lines\n"

PARTITION = Column(
    name="date", type="date", description="Business date on which the row became known."
)


def render_sources(contracts: Iterable[Contract]) -> str:
    """Return the text of `_sources.yml`."""
    lines = (*SOURCES_HEADER, *chain.from_iterable(map(_source_table, contracts)))
    return "".join(f"{line}\n" for line in lines)


def _source_table(contract: Contract) -> Iterator[str]:
    names = {column.name for column in contract.lake_columns}
    # A feed's own `date` would clash with the folder's; such a table has its day in `known_at`.
    partitioned = PARTITION.name not in names
    yield f"      - name: {contract.feed}"
    yield f"        description: {_quote(contract.description)}"
    yield "        config:"
    if contract.sent_daily:
        yield "          loaded_at_field: known_at"
        yield f"          freshness: {FRESHNESS}"
    yield "          meta:"
    yield "            external_location: >-"
    yield "              read_parquet(['{{ var(\"typed\") }}/{name}.parquet',"
    yield "              '{{ var(\"lake\") }}/{name}/date=*/{name}.parquet'],"
    yield (
        f"              hive_partitioning = {str(partitioned).lower()}, union_by_name = true, "
        "allow_empty = true)"
    )
    yield "        columns:"
    for column in (*contract.lake_columns, *((PARTITION,) if partitioned else ())):
        yield f"          - {_column(column, column.description)}"


def render_docs(contracts: Iterable[Contract]) -> str:
    """Return the text of `feeds.md`: the docs blocks of every feed's columns."""
    return "\n\n".join([NOTICE, *map(_feed_docs, contracts)]) + "\n"


def _feed_docs(contract: Contract) -> str:
    blocks = (
        f"{{% docs {contract.feed}__{column.name} %}}{column.description}{{% enddocs %}}"
        for column in (*contract.columns, *contract.derived)
    )
    return "\n".join([f"# {contract.feed}\n", *blocks])


def render_attributes() -> str:
    """Return the text of the macro `lead_attributes`."""
    names = "".join(f'        "{name}",\n' for name in _attribute_names())
    return (
        f"{{# The columns of a lead that models and product rules may use, in the order of the\n"
        f"   marts; no protected or personal one is among them.\n"
        f"   {NOTICE} #}}\n"
        f"{{% macro lead_attributes() %}}\n    {{{{ return([\n{names}    ]) }}}}\n"
        f"{{% endmacro %}}\n"
    )


def render_mart(text: str) -> str:
    """Return the text of a mart's property file with the lines of the lead attributes renewed."""
    before, _, rest = text.partition(FIRST_LINE)
    _, _, after = rest.partition(LAST_LINE)
    types = {column.name: column for column in load("leads").features}
    lines = "".join(f"      - {_attribute(name, types.get(name))}\n" for name in _attribute_names())
    return f"{before}{FIRST_LINE}{lines}{LAST_LINE}{after}"


def _attribute_names() -> Iterator[str]:
    for column in load("leads").features:
        if column.name not in COMPUTED_BESIDE.values():
            yield column.name
        if beside := COMPUTED_BESIDE.get(column.name):
            yield beside


def _attribute(name: str, column: Column | None) -> str:
    if column:
        return _column(column, f"{{{{ doc('leads__{name}') }}}}")
    description = _quote(f"{{{{ doc('lead_features__{name}') }}}}")
    return f"{{name: {name}, data_type: double, description: {description}}}"


def _column(column: Column, description: str) -> str:
    data_type = DUCKDB_TYPES[column.type]
    quoted = _quote(data_type) if "[" in data_type else data_type
    return f"{{name: {column.name}, data_type: {quoted}, description: {_quote(description)}}}"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def check_derived(root: Path, contracts: Iterable[Contract]) -> None:
    """Check that the files of dbt have every column of the contracts.

    Raises:
        ContractError: A file is not what the contracts give; with the first column that differs.
    """
    for name, text in render_all(root, contracts).items():
        path = root / name
        on_disk = path.read_text("utf-8") if path.is_file() else ""
        if on_disk != text:
            known = set(re.findall(r"\w+", on_disk))
            missing = [word for word in re.findall(r"\w+", text) if word not in known]
            what = f"lacks {missing[0]} of" if missing else "differs from"
            raise ContractError(
                f"{name} {what} expectations/contracts/. Nothing was done. Run `make docs`, which "
                "derives it, and commit the result"
            )


def render_all(root: Path, contracts: Iterable[Contract]) -> dict[str, str]:
    """Return the text of every derived dbt file, by its path below `root`."""
    feeds = tuple(contracts)
    marts = {name: render_mart((root / name).read_text("utf-8")) for name in MARTS}
    return {
        SOURCES: render_sources(feeds),
        DOCS: render_docs(feeds),
        ATTRIBUTES: render_attributes(),
    } | marts
