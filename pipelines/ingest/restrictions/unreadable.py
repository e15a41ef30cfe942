"""What restricts and could not be read, or closes what was loaded: restrictions and closing orders.

The contract says what stays closed (`on_unreadable`). A shard turns its quarantined rows and
rejected files into restrictions (of products, institutions, deliveries) and into closing orders (of
persons and leads, in the form of suppression orders). No restriction holds a value of a row except
the ids of institution and product.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.contracts import Contract
from pipelines.core import restrictions
from pipelines.ingest.landing import NOT_OPENED
from pipelines.ingest.plan import Task
from pipelines.ingest.reading.reader import FeedReader
from pipelines.ingest.reading.records import RejectedRecord
from pipelines.ingest.restrictions.orders import NAMES_SUBJECT, orders_sql
from pipelines.ingest.restrictions.salvage import (
    create_unreadable_table,
    find_keys,
    key_column,
    normalise_ids,
)

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
        ("found_key", pa.string()),
    ]
)
"""One row per broken rule of a quarantined row of a feed that restricts, and per value in an
unknown column that restricts; a key that can't be read is null. `found_key` is a text that may be
that key; it counts if it is a known one."""

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
    """Return the violations of a batch that close something, by `UNREADABLE`.

    Args:
        contract: Says what stays closed.
        typed: The parsed rows of the batch.
        violations: Critical ones and unknown columns that restrict, with the row in `typed`.
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
        "action": _close_disputed_roles(
            contract, typed, row, _actions(contract, violations["column"])
        ),
        "is_withdrawn": _is_withdrawn(contract, typed).take(row),
    } | {name: _readable_key(contract, typed, violations, name).take(row) for name in KEYS}
    columns["found_key"] = _find_misspelt_key(contract, text, row, columns)
    return pa.table({name: columns[name] for name in UNREADABLE.names}, schema=UNREADABLE)


def _find_misspelt_key(
    contract: Contract,
    text: pa.Table,
    row: pa.ChunkedArray,
    keys: Mapping[str, pa.Array | pa.ChunkedArray],
) -> pa.Array:
    """Return the text of each key that can't be read, as it is compared with the known ones."""
    name = key_column(contract)
    if name is None:
        return pa.nulls(len(row), pa.string())
    texts = normalise_ids(contract, text[name].take(row).to_pylist())
    is_read = keys[name].is_valid().to_pylist()
    found = [None if known else value for value, known in zip(texts, is_read, strict=True)]
    return pa.array(found, pa.string())


def describe_records(reader: FeedReader) -> pa.Table:
    """Return the rejected records of a reader by `UNREADABLE`: one row for each key that one names.

    Of a record that names none, only file and line are known.
    """
    contract = reader.contract
    if contract.on_unreadable is None:
        return UNREADABLE.empty_table()
    action = "suppress_subject" if contract.withdrawal else contract.on_unreadable.row
    rows = [
        {
            "task": task,
            "line": record.line,
            "rule": record.rule,
            "action": action,
            "is_withdrawn": False,
            "found_key": key,
        }
        for task, record in reader.rejected
        for key in _list_found_keys(reader, task, record)
    ]
    return pa.Table.from_pylist(rows, schema=UNREADABLE)


def _list_found_keys(reader: FeedReader, task: int, record: RejectedRecord) -> list[str | None]:
    name = key_column(reader.contract)
    if name is None or task not in reader.headers:
        return [None]
    is_cut = reader.last_lines.get(task) == record.line
    found = [*find_keys(record, name, reader.headers[task], is_cut=is_cut)]
    return normalise_ids(reader.contract, found) or [None]


def _actions(contract: Contract, columns: pa.ChunkedArray) -> pa.Array:
    by_column = {name: contract.action_of(name) for name in pc.unique(columns).to_pylist()}
    if contract.withdrawal:  # an unknown column that restricts closes the lead that is loaded
        unknown = by_column.keys() - {*contract.names, None}
        by_column |= dict.fromkeys(unknown, "suppress_subject")
    return pa.array([by_column[name] for name in columns.to_pylist()], pa.string())


def _close_disputed_roles(
    contract: Contract, typed: pa.Table, row: pa.ChunkedArray, actions: pa.Array
) -> pa.ChunkedArray | pa.Array:
    """Return `actions`; a broken copy whose role may not consent everywhere closes its lead.

    It may dispute the role of the copy that is loaded, as `duplicates` finds for whole copies.
    """
    if contract.withdrawal is None:
        return actions
    text = pc.utf8_lower(pc.utf8_trim_whitespace(typed[contract.withdrawal.role]))
    role = pc.replace_substring_regex(text, r"[\s-]+", "_")
    allowed = pa.array(["", *policy.consent_roles().undisputed])
    is_consumer = pc.fill_null(pc.equal(typed["segment"], "consumer"), False)  # noqa: FBT003
    is_disputed = pc.and_(role.is_valid(), pc.invert(pc.is_in(role, value_set=allowed)))
    is_closed = pc.and_(is_disputed, pc.invert(is_consumer)).take(row)
    return pc.if_else(is_closed, pa.scalar("suppress_subject"), actions)


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
    reader: FeedReader, history: Sequence[Path], shard: Path
) -> tuple[pa.Table, pa.Table]:
    """Return the restrictions (`RESTRICTIONS`) and closing orders (`ORDERS`) of a feed in a shard.

    Args:
        reader: Has read the files; its connection has the SQL function `keyed_hash`.
        history: Lake files of the feed in partitions that this run does not build.
        shard: Folder with the shard's `unreadable`, `rows`, `dropped`, `closing` and
            `contradictory` of the feed.
    """
    connection, contract = reader.connection, reader.contract
    if contract.on_unreadable is None:
        return RESTRICTIONS.empty_table(), ORDERS.empty_table()
    connection.register("files", _list_files(reader))
    for name in ("rows", "dropped", "closing", "contradictory"):
        connection.execute(f"create or replace temp view shard_{name} as from {_read(shard, name)}")
    create_unreadable_table(connection, contract, history, _read(shard, "unreadable"))
    found = (
        connection.sql(_restrictions_sql(contract, contract.on_unreadable.file))
        .to_arrow_table()
        .cast(RESTRICTIONS)
    )
    orders = connection.sql(orders_sql(contract)).to_arrow_table().cast(ORDERS)
    connection.unregister("files")
    return found, orders


def _list_files(reader: FeedReader) -> pa.Table:
    tasks, rejected = reader.tasks, reader.rejected_files
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
            "last_line": pa.array(
                [reader.last_lines.get(n) for n in range(len(tasks))], pa.int64()
            ),
            "restricts": pa.array(
                [
                    rule is not None
                    and task.entry.content not in read
                    and _may_restrict(reader.contract, rule, task, reader.landing)
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
                    partition by file, line, institution_id, product_id
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
        return f"case when {NAMES_SUBJECT} then 'suppress_subject' else 'hold_delivery' end"
    if contract.on_unreadable is None:
        return "action"
    # a row whose id is found may end what another row lists
    found = f"when is_found then '{contract.on_unreadable.row}'"
    if contract.feed == "institutions":  # a row without an id lists nobody, so nobody is admitted
        found = f"when institution_id is null then 'keep_previous' {found}"
    return f"case {found} else action end"


_OWNER = "regexp_replace(lower(trim(files.source)), '[^a-z0-9_-]+', '_', 'g')"
"""SQL of the institution that a source's folder names, also where its name is written `Bank 01`."""


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _read(folder: Path, name: str) -> str:
    path = str(folder / f"{name}.parquet").replace("'", "''")
    return f"read_parquet('{path}', hive_partitioning = false)"
