"""Corrupt some rows and files of each feed, as real feeds are, and log every corruption.

In each file a share of the rows is corrupted, each by one kind of `corruption_kinds`, and some rows
are sent twice. Each kind of file corruption affects the same share of files. All of it is a
function of the seed, the file and the row.

Only rows that the log names are lost, so figures of the clean market hold for the corrupted one:

* At most half of a file's rows are corrupted. Ingest refuses a file with more, and would lose its
  intact rows.
* A corrupted copy is sent beside the intact file, with a name that sorts after it and a few of its
  rows. Refused, it loses nothing; read, its rows are duplicates.
* A catalogue is valid until the next one, so a row missing from it would close a product, or admit
  people that a rule refuses, for weeks. Its corrupted rows are sent beside the intact ones.
"""

from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.simulate.corruption.corruption_kinds import (
    AFTER,
    BEFORE,
    CORRUPTED_COPIES,
    HARMLESS_VARIANTS,
    PARQUET,
    FileCorruption,
    ValueCorruption,
    kinds_table,
    rewrite_text,
    value_corruptions,
)
from pipelines.simulate.corruption.corruption_log import (
    LOG_SCHEMA,
    FeedFile,
    log_file,
    log_repeated_rows,
    log_values,
)
from pipelines.simulate.keyed_random import KeyedRandom
from pipelines.simulate.population.people import BUREAU_COLUMNS
from pipelines.simulate.world import World
from pipelines.simulate.write_feeds import format_table, format_utc, write_feed_file

INTACT_COLUMNS = (*BUREAU_COLUMNS, "consent_by_role")
"""Columns of leads that are newer than the corruptions, and are never corrupted."""
ROWS_OF_A_COPY = 4
"""Rows of a corrupted copy; with so few, ingest refuses none of them for one lost line."""
REPEATED = 0.25
"""Rows that are sent twice, for each corrupted row."""
SECTION_ROWS = 4096
"""Rows of the section of a file that holds its corrupted rows,"""
SECTION_FACTOR = 8
"""or this many times the corrupted rows, if that is more."""


@dataclass
class FeedCorruptor:
    """Writes the files of a world with their corruptions, and keeps the log."""

    world: World
    share: float
    """Share of rows that are corrupted, and of files that each file corruption affects; 0 to 1."""
    _log: list[pa.Table] = field(default_factory=list)
    _files: list[str] = field(default_factory=list)

    def write(self, file: FeedFile, table: pa.Table) -> tuple[int, int]:
        """Write a file, and corrupted copies beside it.

        Returns:
            The rows of the file itself, and the number of files.
        """
        variants = self._affecting(HARMLESS_VARIANTS, "harmless variants", file)
        sent = table
        for variant in variants:
            sent = variant.table(sent, file.contract) if variant.table else sent
            self._log.append(log_file(file, file.path, variant, sent.num_rows))
        sent, corrupted, log = corrupt_rows(self.world.random, file, sent, self.share)
        self._log.append(log)
        settings = self.world.settings
        folder = settings.landing / file.folder
        write_feed_file(sent, folder, file.name, file.file_format, settings.threads)
        if changes := [variant.text for variant in variants if variant.text]:
            rewrite_text(settings.landing / file.path, changes)
        self._files.append(file.path)
        return sent.num_rows, 1 + self._write_copies(file, table, corrupted)

    def take_files(self, feed: str) -> list[Path]:
        """Return the files of `feed` written since the last call."""
        landing, files = self.world.settings.landing, sorted(self._files)
        self._files.clear()
        return [landing / path for path in files if path.startswith(f"{feed}/")]

    def take_log(self) -> pa.Table:
        """Return the log of the files written since the last call, in its sort order."""
        log = pa.concat_tables([LOG_SCHEMA.empty_table(), *self._log])
        self._log.clear()
        return log.sort_by([(name, "ascending") for name in LOG_SCHEMA.names])

    def _write_copies(self, file: FeedFile, table: pa.Table, corrupted: IntArray) -> int:
        """Write the corrupted copies of an intact file; return their number."""
        intact = np.arange(min(table.num_rows, ROWS_OF_A_COPY + corrupted.size))
        intact = np.setdiff1d(intact, corrupted)
        kinds = self._affecting(CORRUPTED_COPIES, "corrupted copies", file) if intact.size else []
        rows = table.take(pa.array(np.resize(intact, ROWS_OF_A_COPY))) if kinds else table
        folder = self.world.settings.landing / file.folder
        for kind in kinds:
            name = f"{file.name}_{kind.name}"
            written = kind.write(file.contract, rows, folder, name, file.file_format)
            self._log.append(log_file(file, f"{file.folder}/{written}", kind, ROWS_OF_A_COPY))
            self._files.append(f"{file.folder}/{written}")
        return len(kinds)

    def _affecting(
        self, kinds: tuple[FileCorruption, ...], topic: str, file: FeedFile
    ) -> list[FileCorruption]:
        """Return the kinds that affect a file."""
        number = np.arange(len(kinds))
        is_affected = self.world.random.uniform(topic, file.address, number) < self.share
        return [kind for kind in compress(kinds, is_affected) if file.file_format in kind.formats]


def corrupt_rows(
    random: KeyedRandom, file: FeedFile, table: pa.Table, share: float
) -> tuple[pa.Table, IntArray, pa.Table]:
    """Corrupt some rows of a file, and repeat some.

    A sender's error lasts for a while, so the corrupted rows of a file are in one section. Only
    this section is copied: a large file is not rewritten for a few rows.

    Args:
        random: The world's random numbers.
        file: The file.
        table: Its rows, typed or as text.
        share: Share of rows that are corrupted, about, 0 to 1.

    Returns:
        The rows as they are sent, the positions in `table` of the rows that are sent corrupted
        only, and the log (`LOG_SCHEMA`). A column with a value of the wrong type is text as a
        whole; in Parquet a column keeps its type, so there it has no such value.
    """
    contract, rows = file.contract, table.num_rows
    most = rows if contract.full_catalogue else rows // 2
    count = min(most, _round_randomly(random, "corrupted rows", file, share * rows))
    repeats = _round_randomly(random, "repeated rows", file, share * rows * REPEATED)
    if not count + repeats:
        return table, np.arange(0), LOG_SCHEMA.empty_table()
    length = min(rows, max(SECTION_ROWS, SECTION_FACTOR * count))
    begin = int(random.integers("corrupted section", rows - length + 1, file.address)[0])
    row = np.unique(random.integers("corrupted row", length, file.address, np.arange(count)))
    # Newer columns stay intact: the other corruptions are as in markets without them.
    names = tuple(name for name in table.column_names if name not in INTACT_COLUMNS)
    possible = value_corruptions(file.feed, names, _typed_columns(file, table))
    kind = random.integers("kind of corruption", len(possible), file.address, begin + row)
    section = table.slice(begin, length)
    is_applicable = _is_applicable(contract, section, row, possible, kind)
    row, kinds = row[is_applicable], kinds_table(possible).take(pa.array(kind[is_applicable]))
    is_added = contract.full_catalogue & np.asarray(pc.equal(kinds["severity"], "critical"))
    corrupted, added = begin + row[~is_added], section.take(pa.array(row[is_added]))
    row[is_added] = np.arange(length, length + added.num_rows)
    position = np.concatenate(
        [np.arange(begin, begin + length), np.arange(rows, rows + added.num_rows)]
    )
    changed, log = corrupt_values(file, pa.concat_tables([section, added]), position, row, kinds)
    repeated = random.integers("repeated", rows, file.address, np.arange(repeats))
    repeated = np.setdiff1d(repeated, corrupted)
    pieces = [
        table.slice(0, begin),
        changed.slice(0, length),
        table.slice(begin + length),
        changed.slice(length),
        table.take(pa.array(repeated)),
    ]
    sent = pa.concat_tables([_match_types(piece, changed.schema) for piece in pieces])
    repeated_rows = np.arange(sent.num_rows - repeated.size, sent.num_rows)
    return sent, corrupted, pa.concat_tables([log, log_repeated_rows(file, repeated_rows)])


def _round_randomly(random: KeyedRandom, topic: str, file: FeedFile, expected: float) -> int:
    """Return a whole number with the expected value `expected`."""
    return int(expected + random.uniform(topic, file.address)[0])


def _match_types(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with the columns as text that are text in `schema`."""
    for number, column in enumerate(schema):
        if table.schema.field(number).type != column.type:
            text = format_table(table.select([column.name]), format_utc)[column.name]
            table = table.set_column(number, column.name, text)
    return table


def _typed_columns(file: FeedFile, table: pa.Table) -> tuple[str, ...]:
    """Return the columns that cannot hold text."""
    if file.file_format not in PARQUET:
        return ()
    return tuple(column.name for column in table.schema if not pa.types.is_string(column.type))


def _is_applicable(
    contract: Contract,
    table: pa.Table,
    rows: IntArray,
    possible: tuple[ValueCorruption, ...],
    kind: IntArray,
) -> BoolArray:
    """Return which rows the kind chosen for them can corrupt: some kinds need a value."""
    is_applicable = np.ones(rows.size, bool)
    for number in np.unique(kind).tolist():
        chosen, selected = possible[number], kind == number
        if chosen.is_padded or chosen.earlier:
            value = table[chosen.earlier or chosen.column].take(pa.array(rows[selected]))
            breaks = value.is_valid()
            if chosen.earlier:
                type_ = contract[chosen.earlier].arrow_type
                breaks = pc.greater(value.cast(type_), pa.scalar(chosen.sent).cast(type_))
            is_applicable[selected] = pc.coalesce(breaks, pa.scalar(value=False)).to_numpy()
    return is_applicable


def corrupt_values(
    file: FeedFile, table: pa.Table, position: IntArray, rows: IntArray, kinds: pa.RecordBatch
) -> tuple[pa.Table, pa.Table]:
    """Return `table` with one value corrupted in some rows, and the log.

    Args:
        file: The file.
        table: Some of its rows.
        position: Their positions in the file.
        rows: Rows of `table` to corrupt, each once.
        kinds: The kind of each corruption, see `kinds_table`.
    """
    order = np.argsort(rows)
    rows, kinds = rows[order], kinds.take(pa.array(order))
    logs = []
    for name in pc.unique(kinds["column"]).to_pylist():
        selected = pc.equal(kinds["column"], name)
        of_column, at = kinds.filter(selected), rows[np.asarray(selected)]
        column = table[name]
        if pc.any(of_column["is_text"]).as_py():
            column = format_table(table.select([name]), format_utc)[name]
        sent = of_column["sent"]
        if pc.any(of_column["is_padded"]).as_py():
            value = column.take(pa.array(at)).combine_chunks()
            padded = pc.binary_join_element_wise(BEFORE, value, AFTER, "")
            sent = pc.if_else(of_column["is_padded"], padded, sent)
        is_corrupted = np.zeros(table.num_rows, bool)
        is_corrupted[at] = True
        column = pc.replace_with_mask(column, pa.array(is_corrupted), sent.cast(column.type))
        table = table.set_column(table.schema.get_field_index(name), name, column)
        logs.append(log_values(file, position[at], of_column, sent))
    return table, pa.concat_tables([LOG_SCHEMA.empty_table(), *logs])
