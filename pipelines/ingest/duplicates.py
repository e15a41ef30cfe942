"""Rows that are not loaded: copies of a key, mixed-up keys, catalogues older than a known one.

Of rows that share a key the first is loaded: by the day it became known, then the most careful one
(the contract's `safer_first`), then by the contract's `duplicates`, then by all columns. The order
of rows in a file, and of files, has no effect. Rows of one key that name different persons are no
copies: all of one day are quarantined, and one of a later day is quarantined itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.contracts import Column, Contract, SaferFirst
from pipelines.ingest.catalogues import CONTRADICTORY, find_rows_of_one_list
from pipelines.ingest.lake_history import list_names, parquet_sql, select_history

DROPPED = pa.schema(
    [
        ("row", pa.int64()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("message", pa.string()),
    ]
)
CLOSING_COPIES = pa.schema([("row", pa.int64()), ("reason", pa.string())])
"""Rows that are not loaded but withdraw or narrow the consent of the row of their key that is."""

OTHER_PERSON = "key_of_different_persons"
EVERY_INSTITUTION = "all"
OTHER_LIMITS = "stricter in another column than the row of its key that was loaded"
"""Reason of a row that is as a whole no more careful than the loaded one, but is in a column."""


@dataclass(frozen=True)
class DroppedRows:
    """The result of `find_dropped_rows`, by `row`."""

    dropped: pa.Table
    """The rows that are not loaded, and why (`DROPPED`)."""
    closing: pa.Table
    """The dropped rows that close what was loaded (`CLOSING_COPIES`)."""
    contradictory: pa.Table
    """The rows of a catalogue that another one of its day contradicts (`CONTRADICTORY`)."""


def find_dropped_rows(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    rows: Path,
    rejected_files: Sequence[int],
    history: Sequence[Path],
) -> DroppedRows:
    """Return the rows of a shard that are not loaded.

    Args:
        connection: Runs the queries.
        contract: The feed's key and rules for duplicates.
        rows: Parquet of the rows that passed the gate.
        rejected_files: Rejected files (by `task`); their rows are dropped without a message.
        history: Lake files of the feed in partitions that this run does not build.
    """
    tasks = pa.table({"task": pa.array(rejected_files, pa.int32())})
    connection.register("rejected", tasks)
    connection.execute(
        f"create or replace temp view arrived as from {parquet_sql(rows)} "
        "where task not in (select task from rejected)"
    )
    connection.execute(
        "create or replace temp table dropped (row bigint, rule text, severity text, message text)"
    )
    connection.execute("create or replace temp table closing (row bigint, reason text)")
    connection.execute("create or replace temp table contradictory (row bigint, reason text)")
    connection.execute(
        f"insert into dropped select row, 'rejected', 'info', '' from {parquet_sql(rows)} "
        "where task in (select task from rejected)"
    )
    if contract.full_catalogue:
        connection.execute(_drop_superseded_sql(contract, history))
    if contract.person:
        connection.execute(_drop_mixed_keys_sql(contract))
        if contract.withdrawal:  # whichever person the key means, one of them withdrew
            connection.execute(
                "insert into closing select row, 'withdrawn' from arrived "
                f"where {contract.withdrawal.withdrawn_at} is not null and row in "
                f"(select row from dropped where rule = '{OTHER_PERSON}')"
            )
    if contract.unique_within == "history" and history:
        _drop_known(connection, contract, history)
    if contract.full_catalogue and contract.safer_first:
        connection.execute(f"insert into contradictory {find_rows_of_one_list(contract)}")
    _drop_copies(connection, contract)
    dropped = connection.sql("from dropped order by row").to_arrow_table().cast(DROPPED)
    closing = connection.sql("from closing order by row").to_arrow_table().cast(CLOSING_COPIES)
    contradictory = connection.sql("from contradictory order by all").to_arrow_table()
    connection.unregister("rejected")
    return DroppedRows(dropped, closing, contradictory.cast(CONTRADICTORY))


def _drop_superseded_sql(contract: Contract, history: Sequence[Path]) -> str:
    """Return SQL that drops a catalogue if one of a later date was known by then."""
    source = contract.source_column
    known = f"select {source}, known_on, landed_on from arrived"
    if history:
        known += f" union all select {source}, known_on, landed_on from ({select_history(history)})"
    return f"""
        insert into dropped
        select
            arrived.row, 'superseded', 'info',
            'a catalogue of a later date was already known; this one came too late to count'
        from arrived
        where exists (
            select 1 from ({known}) as other
            where other.{source} = arrived.{source}
                and other.known_on <= arrived.known_on
                and other.landed_on > arrived.landed_on
        )
    """


def _drop_mixed_keys_sql(contract: Contract) -> str:
    """Return SQL that drops all rows of a key and day if they name different persons.

    They do where identity numbers differ, unless phone and name are the same (a corrected number);
    without an identity number in each row, where phones or names differ and neither is shared.
    """
    key = [*contract.key, "known_on"]
    number, phone, name = (_normalise_sql(column, "remaining") for column in contract.person)
    names = ", ".join(contract.key)
    return f"""
        insert into dropped
        with remaining as (from arrived anti join dropped using (row)),
        repeated as (select {list_names(key)} from remaining group by all having count(*) > 1),
        copies as (
            select row, {list_names(key)}, {number} as number, {phone} as phone, {name} as name
            from remaining
            where exists (select 1 from repeated where {_equal_sql(key, "repeated", "remaining")})
        ),
        mixed as (
            select {list_names(key)}
            from copies
            group by all
            having case
                when min(number) != max(number)
                    then not ({_shared_sql("phone")} and {_shared_sql("name")})
                when count(number) = count(*) then false
                else
                    (coalesce(min(phone) != max(phone), false)
                        or coalesce(min(name) != max(name), false))
                    and not {_shared_sql("phone")}
                    and not {_shared_sql("name")}
            end
        )
        select
            row, '{OTHER_PERSON}', 'critical',
            'rows with the same {names} name different persons, so none of them was loaded; give '
            || 'each lead an id of its own'
        from copies
        where exists (select 1 from mixed where {_equal_sql(key, "mixed", "copies")})
    """


def _shared_sql(column: str) -> str:
    """Return SQL of whether all rows of a group have one value of `column`."""
    return f"(count({column}) = count(*) and min({column}) = max({column}))"


def _drop_known(
    connection: duckdb.DuckDBPyConnection, contract: Contract, history: Sequence[Path]
) -> None:
    """Drop the rows whose key is in an earlier partition of the lake.

    Columns that older partitions lack are null.
    """
    connection.register("lake_columns", contract.lake_schema.empty_table())
    connection.execute(
        f"""
        create or replace temp table known as
        select
            arrived.row,
            bool_or({_names_other_person_sql(contract, "arrived", "earlier")}) as is_other,
            max({_closing_reason_sql(contract, "arrived", "earlier")}) as closing_reason
        from (from arrived anti join dropped using (row)) as arrived
        inner join ({select_history(history)} union all by name from lake_columns) as earlier
            on {_equal_sql(contract.key, "earlier", "arrived")}
                and earlier.known_on < arrived.known_on
        group by arrived.row
        """
    )
    connection.unregister("lake_columns")
    _insert_copies(connection, contract, "known", _known_message(contract))


def _drop_copies(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Drop all rows of a key but the first; only repeated keys are sorted."""
    key = [*contract.key, *(["known_on"] if contract.unique_within == "day" else [])]
    columns = [name for name in contract.names if name not in contract.duplicates]
    lineage = ["extras", "landed_on", "file", "line"]
    # To read the received texts of all rows would take longer than all else.
    compared = dict.fromkeys([*key, *contract.names, *lineage, "known_on", "row"])
    order = [
        "known_on",
        *_safer_first_sql(contract),
        # orders that name the owner of a firm hold for it
        *([f"{contract.withdrawal.owner} is null"] if contract.withdrawal else []),
        *(f'"{name}" nulls last' for name in contract.duplicates),
        *(f'"{name}" nulls last' for name in (*columns, *lineage)),
    ]
    # Keys of one hash that differ are ranked in vain. A table, because DuckDB takes a query of
    # groups for large, and would then hold all rows whole.
    key_hash = f"hash({list_names(key)})"
    connection.execute(
        f"""
        create or replace temp table repeated as
        select {key_hash} as key_hash
        from (from arrived anti join dropped using (row))
        group by all
        having count(*) > 1
        """
    )
    connection.execute(
        f"""
        create or replace temp table ranked as
        select
            {list_names(compared)},
            row_number() over (
                partition by {list_names(key)} order by {", ".join(order)}
            ) as rank
        from (from arrived anti join dropped using (row)) as remaining
        where {key_hash} in (select key_hash from repeated)
        """
    )
    connection.execute(
        f"""
        create or replace temp table copies as
        select
            other.row,
            other.known_on > loaded.known_on as is_later,
            is_later and {_names_other_person_sql(contract, "other", "loaded")} as is_other,
            {_closing_reason_sql(contract, "other", "loaded")} as closing_reason,
            {_contradicts_sql(contract, "other", "loaded")} as is_contradictory
        from ranked as other
        inner join (from ranked where rank = 1) as loaded
            on {_equal_sql(key, "other", "loaded")}
        where other.rank > 1
        """
    )
    connection.execute(
        f"insert into contradictory select row, '{OTHER_LIMITS}' from copies "
        "where is_contradictory and not is_later"
    )
    by = [*(criterion.column for criterion in contract.safer_first), *contract.duplicates]
    named = f" by {', '.join(by)}" if by else ""
    message = (
        f"another row with the same {', '.join(contract.key)} is the first{named} and was loaded"
    )
    connection.execute("create or replace temp view later as from copies where is_later")
    connection.execute("create or replace temp view same_day as from copies where not is_later")
    _insert_copies(connection, contract, "later", _known_message(contract))
    _insert_copies(connection, contract, "same_day", message)


def _insert_copies(
    connection: duckdb.DuckDBPyConnection, contract: Contract, copies: str, message: str
) -> None:
    """Add the rows of `copies` (`row`, `is_other`, `closing_reason`) to the tables of results."""
    remaining = f"(from {copies} anti join dropped using (row))"
    connection.execute(
        f"insert into closing select row, closing_reason from {copies} "
        "where closing_reason is not null"
    )
    connection.execute(
        f"""
        insert into dropped
        select
            row,
            case when is_other then '{OTHER_PERSON}' else 'duplicate' end,
            case when is_other then 'critical' else 'info' end,
            case
                when is_other
                    then 'the row with the same {", ".join(contract.key)} that was loaded on an '
                    || 'earlier day names another person; give each lead an id of its own'
                else '{message}'
            end
        from {remaining}
        """
    )


def _safer_first_sql(contract: Contract) -> Iterator[str]:
    """Yield the terms of `order by` that put the most careful row first."""
    for criterion in contract.safer_first:
        column = criterion.column
        if criterion.known_first:
            yield f"{column} is null"
        elif criterion.order:
            values = ", ".join(f"'{value}'" for value in criterion.order)
            yield f"list_position([{values}], {column}) nulls last"
        elif criterion.largest_first:
            yield f"{column} desc nulls last"
        else:
            yield f"{_size_sql(contract[column])} nulls last"


def _contradicts_sql(contract: Contract, copy: str, loaded: str) -> str:
    """Return SQL of whether a row of a catalogue closes something that the loaded one opens.

    It does where it is more careful in one column, and where a column differs that restricts in
    both directions, such as the segment of a product.
    """
    if not contract.full_catalogue:
        return "false"
    ranked = {criterion.column for criterion in contract.safer_first}
    terms = [_is_safer_sql(contract, each, copy, loaded) for each in contract.safer_first] + [
        f"{copy}.{column.name} is distinct from {loaded}.{column.name}"
        for column in contract.columns
        if column.restricts and column.name not in {*ranked, *contract.key}
    ]
    return f"({' or '.join(terms)})" if terms else "false"


def _is_safer_sql(contract: Contract, criterion: SaferFirst, copy: str, loaded: str) -> str:
    """Return SQL of whether `copy` is more careful than `loaded` by one criterion."""
    name = criterion.column
    one, other = f"{copy}.{name}", f"{loaded}.{name}"
    if criterion.known_first:
        return f"({one} is not null and {other} is null)"
    if criterion.order:
        values = ", ".join(f"'{value}'" for value in criterion.order)
        return f"(list_position([{values}], {one}) < list_position([{values}], {other}))"
    if contract[name].type == "list":
        is_limit = f"not list_contains({one}, '{EVERY_INSTITUTION}')"
        return f"({is_limit} and not list_has_all({one}, {other}))"
    sign = ">" if criterion.largest_first else "<"
    return f"({one} is not null and coalesce({one} {sign} {other}, true))"


def _size_sql(column: Column) -> str:
    """Return SQL of a value's size: of a list its length; null where it has no limit."""
    if column.type != "list":
        return column.name
    everything = f"list_contains({column.name}, '{EVERY_INSTITUTION}')"
    return f"case when not {everything} then len({column.name}) end"


def _names_other_person_sql(contract: Contract, one: str, other: str) -> str:
    """Return SQL of whether two rows of a key name different persons, as far as they say."""
    if not contract.person:
        return "false"
    number, phone, name = (
        f"{_normalise_sql(column, one)} = {_normalise_sql(column, other)}"
        for column in contract.person
    )
    return (
        f"coalesce(case when {number} then false "
        f"when not {number} then not coalesce({phone} and {name}, false) "
        f"else (coalesce(not {phone}, false) or coalesce(not {name}, false)) "
        f"and not coalesce({phone}, false) and not coalesce({name}, false) end, false)"
    )


def _closing_reason_sql(contract: Contract, copy: str, loaded: str) -> str:
    """Return SQL of why `copy` closes what the row `loaded` opens; null where it doesn't."""
    consent = contract.withdrawal
    if consent is None:
        return "cast(null as text)"
    at, scope = consent.withdrawn_at, consent.scope
    return (
        f"case when {loaded}.{at} is not null then null "
        f"when {copy}.{at} is not null then 'withdrawn' "
        f"when not list_contains({copy}.{scope}, '{EVERY_INSTITUTION}') "
        f"and not list_has_all({copy}.{scope}, {loaded}.{scope}) then 'narrowed' "
        f"when {_disputes_role_sql(consent.role, copy, loaded)} then 'role' "
        f"when {_disputes_owner_sql(consent.owner, copy, loaded)} then 'owner' end"
    )


def _disputes_role_sql(role: str, copy: str, loaded: str) -> str:
    """Return SQL of whether two copies of a business's lead dispute who consented for it.

    They do where they state different roles, unless every policy allows both: nobody knows then
    which one is right. A copy that states none disputes nothing.
    """
    one, other = normalise_role_sql(f"{copy}.{role}"), normalise_role_sql(f"{loaded}.{role}")
    allowed = ", ".join(f"'{name}'" for name in ("", *policy.consent_roles().undisputed))
    return (
        f"'business' in ({copy}.segment, {loaded}.segment) and {one} not in ('', {other}) "
        f"and ({one} not in ({allowed}) or {other} not in ({allowed}))"
    )


def _disputes_owner_sql(owner: str, copy: str, loaded: str) -> str:
    """Return SQL of whether two copies of a business's lead state different owners.

    An order that names the owner of the copy would not find the loaded lead.
    """
    one, other = _normalise_sql(owner, copy), _normalise_sql(owner, loaded)
    return f"'business' in ({copy}.segment, {loaded}.segment) and {one} <> {other}"


def normalise_role_sql(column: str) -> str:
    """Return SQL of a role as policies name it, in small letters with `_`; empty: none stated."""
    return f"coalesce(regexp_replace(lower(trim({column})), '[\\s-]+', '_', 'g'), '')"


def _normalise_sql(column: str, table: str) -> str:
    """Return SQL of a value that names a person, without spaces, punctuation and case."""
    return f"nullif(lower(regexp_replace({table}.{column}, '[\\s().·-]', '', 'g')), '')"


def _known_message(contract: Contract) -> str:
    return f"a row with the same {', '.join(contract.key)} was loaded on an earlier day"


def _equal_sql(names: Sequence[str], one: str, other: str) -> str:
    return " and ".join(f"{one}.{name} is not distinct from {other}.{name}" for name in names)
