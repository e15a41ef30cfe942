"""What restricts and could not be read, or closes what was loaded: restrictions and closing orders.

The contract says what stays closed (`on_unreadable`). A shard turns its quarantined rows and
rejected files into restrictions (of products, institutions, deliveries) and into closing orders (of
persons and leads, in the form of suppression orders). No restriction holds a value of a row except
the ids of institution and product.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core import restrictions
from pipelines.core.errors import FileRejected
from pipelines.ingest.landing import NOT_OPENED
from pipelines.ingest.plan import Task
from pipelines.ingest.reading.records import RejectedRecord

KEYS = ("institution_id", "product_id", "subject_type", "subject", "lead_id")
"""Columns that say what an unreadable row concerns."""

CUT_KEYS = ("institution_id", "product_id")
"""Keys that a row which may be cut does not name: without them it closes more."""

UNREADABLE = pa.schema(
    [
        ("task", pa.int32()),
        ("line", pa.int64()),
        ("column", pa.string()),
        ("rule", pa.string()),
        ("action", pa.string()),
        *((name, pa.string()) for name in KEYS),
        ("is_withdrawn", pa.bool_()),
    ]
)
"""One row per broken rule of a quarantined row of a feed that restricts; a key that can't be read
is null."""

KNOWN_ON = ("known_on", pa.string())
RESTRICTIONS = pa.schema([KNOWN_ON, *restrictions.SCHEMA])
ORDERS = pa.schema([KNOWN_ON, *restrictions.ORDERS])

HEAD = 65_536
"""Bytes of a file with an impossible name in which the name of a key column is looked for."""
PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")
"""First bytes of a file that may hold rows unseen: a spreadsheet or a compressed file."""


def describe_unreadable(
    contract: Contract, typed: pa.Table, violations: pa.Table, text: pa.Table
) -> pa.Table:
    """Return the critical violations of a batch by `UNREADABLE`.

    Args:
        contract: Says what stays closed.
        typed: The parsed rows of the batch.
        violations: Critical ones, with the row in `typed`.
        text: The rows as text, with `task` and `line`.
    """
    if contract.on_unreadable is None or not violations.num_rows:
        return UNREADABLE.empty_table()
    row = violations["row"]
    columns = {
        "task": text["task"].take(row),
        "line": text["line"].take(row),
        "column": violations["column"],
        "rule": violations["rule"],
        "action": _actions(contract, violations["column"]),
        "is_withdrawn": _is_withdrawn(contract, typed).take(row),
    } | {name: _readable_key(contract, typed, violations, name).take(row) for name in KEYS}
    return pa.table({name: columns[name] for name in UNREADABLE.names}, schema=UNREADABLE)


def describe_records(contract: Contract, rejected: list[tuple[int, RejectedRecord]]) -> pa.Table:
    """Return rejected records by `UNREADABLE`; of them nothing is known but file and line."""
    if contract.on_unreadable is None:
        return UNREADABLE.empty_table()
    rows = [
        {
            "task": task,
            "line": record.line,
            "rule": record.rule,
            "action": contract.on_unreadable.row,
            "is_withdrawn": False,
        }
        for task, record in rejected
    ]
    return pa.Table.from_pylist(rows, schema=UNREADABLE)


def _actions(contract: Contract, columns: pa.ChunkedArray) -> pa.Array:
    by_column = {name: contract.action_of(name) for name in pc.unique(columns).to_pylist()}
    return pa.array([by_column[name] for name in columns.to_pylist()], pa.string())


def _is_withdrawn(contract: Contract, typed: pa.Table) -> pa.ChunkedArray | pa.Array:
    if contract.withdrawal is None:
        return pa.array(np.zeros(typed.num_rows, bool))
    return typed[contract.withdrawal.withdrawn_at].is_valid()


def _readable_key(
    contract: Contract, typed: pa.Table, violations: pa.Table, name: str
) -> pa.ChunkedArray | pa.Array:
    """Return a key column of the batch, null where the row's value breaks a rule.

    A row that breaks a rule of no column may be cut: its institution or product may be another one.
    """
    if name not in contract.names:
        return pa.nulls(typed.num_rows, pa.string())
    is_broken = np.zeros(typed.num_rows, bool)
    concerns = pc.fill_null(pc.equal(violations["column"], name), name in CUT_KEYS)
    is_broken[violations.filter(concerns)["row"].to_numpy()] = True
    return pc.if_else(pa.array(is_broken), pa.scalar(None, pa.string()), typed[name])


def make_restrictions(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    tasks: Iterable[Task],
    rejected: Mapping[int, FileRejected],
    last_lines: Mapping[int, int],
    shard: Path,
    landing: Path,
) -> tuple[pa.Table, pa.Table]:
    """Return the restrictions (`RESTRICTIONS`) and closing orders (`ORDERS`) of a feed in a shard.

    Args:
        connection: Runs the queries; with the SQL function `keyed_hash`.
        contract: Says what stays closed.
        tasks: The files of the feed, in the order of their numbers.
        rejected: Rejected file -> its rule.
        last_lines: File -> its last line, if that has no line end.
        shard: Folder with the shard's `unreadable`, `rows`, `dropped`, `closing` and
            `contradictory` of the feed.
        landing: Folder of the landed files.
    """
    if contract.on_unreadable is None:
        return RESTRICTIONS.empty_table(), ORDERS.empty_table()
    connection.register("files", _list_files(contract, list(tasks), rejected, last_lines, landing))
    for name in ("unreadable", "rows", "dropped", "closing", "contradictory"):
        connection.execute(f"create or replace temp view shard_{name} as from {_read(shard, name)}")
    found = (
        connection.sql(_restrictions_sql(contract, contract.on_unreadable.file))
        .to_arrow_table()
        .cast(RESTRICTIONS)
    )
    orders = connection.sql(_orders_sql(contract)).to_arrow_table().cast(ORDERS)
    connection.unregister("files")
    return found, orders


def _list_files(
    contract: Contract,
    tasks: list[Task],
    rejected: Mapping[int, FileRejected],
    last_lines: Mapping[int, int],
    landing: Path,
) -> pa.Table:
    entries = [task.entry for task in tasks]
    read = {entry.content for number, entry in enumerate(entries) if number not in rejected}
    rules = [rejected[n].rule if n in rejected else None for n in range(len(tasks))]
    return pa.table(
        {
            "task": pa.array(range(len(tasks)), pa.int32()),
            "known_on": pa.array([entry.known_on for entry in entries], pa.string()),
            "source": pa.array([entry.source for entry in entries], pa.string()),
            "file": pa.array([entry.path for entry in entries], pa.string()),
            "rule": pa.array(rules, pa.string()),
            "last_line": pa.array([last_lines.get(n) for n in range(len(tasks))], pa.int64()),
            "restricts": pa.array(
                [
                    rule is not None
                    and task.entry.content not in read
                    and _may_restrict(contract, rule, task, landing)
                    for rule, task in zip(rules, tasks, strict=True)
                ]
            ),
        }
    )


def _may_restrict(contract: Contract, rule: str, task: Task, landing: Path) -> bool:
    """Return whether a rejected file may hold restrictions; a marker or note beside it does not.

    An empty file brings no lead, so it withdraws none. A file of leads with an impossible name is a
    note unless it looks like rows of the feed. Of a file that can't be opened nothing is known.
    """
    if task.entry.sha256 == NOT_OPENED:
        return True
    if rule == "empty":
        return contract.withdrawal is None
    if rule != "name" or contract.withdrawal is None:
        return rule != "name" or task.entry.bytes > 0
    return _looks_like_rows(contract, landing / task.entry.path)


def _looks_like_rows(contract: Contract, path: Path) -> bool:
    """Return whether a file names a key column, in any encoding of ASCII, or can hide one."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return True
    names = [name.encode() for name in contract.key if name in contract.names]
    return head.startswith(PACKED) or any(name in head.replace(b"\0", b"") for name in names)


def _restrictions_sql(contract: Contract, file_action: str) -> str:
    """Return SQL of the restrictions: one per quarantined row, or per rejected file."""
    institution = _OWNER if contract.source_column == "institution_id" else "null"
    return f"""
        with known as (
            select
                files.known_on,
                files.source,
                coalesce({institution}, institution_id) as institution_id,
                product_id,
                subject_type,
                {_row_action_sql(contract)} as action,
                shard_unreadable.rule || coalesce(' of ' || "column", '') as reason,
                files.file,
                line
            from shard_unreadable
            inner join files using (task)
            where files.rule is null
        ),
        ranked as (
            select
                *,
                row_number() over (
                    partition by file, line
                    order by list_position({list(restrictions.STRICTEST_FIRST)}, action), reason
                ) as rank
            from known
            where action in ({_quoted(restrictions.STRICTEST_FIRST)})
        )
        select
            known_on, '{contract.feed}' as feed, source, institution_id, product_id, subject_type,
            action, reason, file, line
        from ranked
        where rank = 1
        union all
        select
            known_on, '{contract.feed}', source,
            nullif({institution}, '') as institution_id, null, null,
            '{file_action}', rule, file, null
        from files
        where restricts
            and '{file_action}' in ({_quoted(restrictions.STRICTEST_FIRST)})
        {_contradictory_sql(contract)}
    """


def _contradictory_sql(contract: Contract) -> str:
    """Return SQL that adds the rows of a catalogue that contradict another one of their day."""
    if not contract.full_catalogue or contract.on_unreadable is None:
        return ""
    return f"""
        union all
        select
            rows.known_on, '{contract.feed}', files.source, institution_id,
            {"product_id" if "product_id" in contract.names else "null"}, null,
            '{contract.on_unreadable.row}', min(shard_contradictory.reason), files.file, line
        from shard_contradictory
        inner join shard_rows as rows using (row)
        inner join files using (task)
        group by all
    """


def _row_action_sql(contract: Contract) -> str:
    """Return SQL of what a quarantined row closes besides a subject that it names."""
    if contract.feed == "suppressions":
        return f"case when {_NAMES_SUBJECT} then 'suppress_subject' else 'hold_delivery' end"
    if contract.feed == "institutions":  # a row without an id lists nobody, so nobody is admitted
        return "case when institution_id is null then 'keep_previous' else action end"
    return "action"


_OWNER = "regexp_replace(lower(trim(files.source)), '[^a-z0-9_-]+', '_', 'g')"
"""SQL of the institution that a source's folder names, also where its name is written `Bank 01`."""

_IS_HASH = "coalesce(regexp_full_match(subject, '[0-9a-fA-F]{64}'), false)"
_IS_LEAD = "coalesce(regexp_full_match(subject, '[a-z0-9][a-z0-9_-]{0,63}/\\S{1,64}'), false)"
_NAMES_SUBJECT = f"({_IS_HASH} or {_IS_LEAD})"
"""SQL of whether a suppression row names its subject, by its type of subject or by its form."""


def _orders_sql(contract: Contract) -> str:
    """Return SQL of the closing orders: a subject each, with the file and line it comes from."""
    parts = {"leads": _LEAD_ORDERS, "suppressions": _SUPPRESSION_ORDERS}.get(contract.feed)
    if parts is None:
        return " union all ".join(
            [f"select {', '.join(f'null as {name}' for name in ORDERS.names)} where false"]
        )
    return f"""
        with orders as ({parts})
        select distinct
            known_on, '{contract.feed}' as feed, source, subject_type, subject, reason,
            institution_id, file, line
        from orders
    """


_SUPPRESSION_ORDERS = f"""
    select
        files.known_on, files.source, subject_types.subject_type,
        case
            when subject_types.subject_type = 'lead' then subject
            else keyed_hash(lower(subject))
        end as subject,
        'unreadable_order' as reason, institution_id, files.file, line
    from (
        select *, case
            when subject_type is not null then [subject_type]
            when {_IS_HASH} then ['id_number', 'phone']
            else ['lead']
        end as subject_types
        from shard_unreadable
    ) as unreadable
    inner join files using (task),
    unnest(unreadable.subject_types) as subject_types (subject_type)
    where {_NAMES_SUBJECT}
    union all
    -- the readable orders of a file that is rejected as a whole
    select
        files.known_on, files.source, subject_type, subject, 'unreadable_order', institution_id,
        files.file, line
    from shard_rows as rows
    inner join files using (task)
    where files.rule is not null
"""

_LEAD_ORDERS = """
    select
        files.known_on, files.source, 'lead' as subject_type,
        files.source || '/' || lead_id as subject,
        case when is_withdrawn then 'consent_withdrawn' else 'unreadable_consent' end as reason,
        null as institution_id, files.file, line
    from shard_unreadable
    inner join files using (task)
    where lead_id is not null and (is_withdrawn or action = 'suppress_subject')
    union all
    -- the readable withdrawals of a file that is rejected as a whole
    select
        files.known_on, files.source, 'lead', files.source || '/' || lead_id,
        'consent_withdrawn', null, files.file, line
    from shard_rows as rows
    inner join files using (task)
    where files.rule is not null and consent_withdrawn_at is not null
    union all
    select
        files.known_on, files.source, 'lead',
        files.source || '/' || lead_id,
        case when closing.reason = 'narrowed' then 'consent_narrowed' else 'consent_withdrawn' end,
        null, files.file, line
    from shard_closing as closing
    inner join shard_rows as rows using (row)
    inner join files using (task)
    union all
    -- a file that can't be read, or is cut off, may withdraw any lead that another one brought
    select
        files.known_on, files.source, 'lead', files.source || '/' || lead_id,
        'unreadable_consent', null, min(unread.file), null
    from shard_rows as rows
    anti join shard_dropped as dropped using (row)
    inner join files using (task)
    inner join (
        select source, known_on, file from files where restricts
        union all
        select files.source, files.known_on, files.file
        from files
        inner join shard_unreadable
            on files.task = shard_unreadable.task and files.last_line = shard_unreadable.line
    ) as unread
        on files.source = unread.source
            and files.known_on = unread.known_on
            and files.file <> unread.file
    group by files.known_on, files.source, lead_id
"""


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _read(folder: Path, name: str) -> str:
    path = str(folder / f"{name}.parquet").replace("'", "''")
    return f"read_parquet('{path}', hive_partitioning = false)"
