"""The record splitter agrees with Python's csv for any chunks; a corruption rejects one line."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import FileRejected
from pipelines.ingest.reading import record_splitter
from pipelines.ingest.reading.record_splitter import RecordSplitter


def split(data: bytes, size: int = 10_000_000, *, quoted: bool = True, delimiter: str = ","):
    """Return the records as (line, text), and the rejected ones as (line, rule)."""
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    records, rejected = [], []
    for part in RecordSplitter(quoted=quoted, delimiter=delimiter).split(chunks):
        for i, line in enumerate(part.lines.tolist()):
            records.append((line, part.record(i).decode().rstrip("\r\n")))
        rejected += [(reject.line, reject.rule) for reject in part.rejected]
    return records, rejected


fields = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)
tables = st.lists(st.lists(fields, min_size=3, max_size=3), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(table=tables, size=st.integers(1, 60), line_end=st.sampled_from(["\n", "\r\n"]))
def test_a_well_formed_file_is_split_as_python_splits_it_for_any_chunks(table, size, line_end):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows(table)
    records, rejected = split(text.getvalue().encode(), size)
    assert rejected == []
    assert [next(csv.reader(io.StringIO(record, newline=""))) for _, record in records] == table


@settings(max_examples=60, deadline=None)
@given(data=st.text(alphabet='ab,"\n\r\0é', max_size=80), size=st.integers(1, 90))
def test_no_line_is_lost_in_any_corrupted_file(data, size):
    raw = data.encode()
    chunks = [raw[i : i + size] for i in range(0, len(raw), size)]
    parts = []
    for part in RecordSplitter(quoted=True).split(chunks):
        parts += [(line, part.record(i)) for i, line in enumerate(part.lines.tolist())]
        parts += [(reject.line, reject.received.encode()) for reject in part.rejected]
    covered = [
        line + i for line, record in parts for i in range(record.rstrip(b"\n").count(b"\n") + 1)
    ]
    lines = raw.decode().split("\n")
    written = [n for n, line in enumerate(lines, 1) if line not in {"", "\r"}]
    # A blank line inside quotes belongs to a record, so `covered` can have more lines.
    assert set(written) <= set(covered)
    assert len(covered) == len(set(covered))


def test_line_numbers_count_the_line_breaks_in_quotes():
    records, _ = split(b'a,b\n"x\ny\nz",1\n\n2,3\n')
    assert records == [(1, "a,b"), (2, '"x\ny\nz",1'), (6, "2,3")]


@pytest.mark.parametrize("size", [7, 16, 1000])
def test_an_unclosed_quote_rejects_its_own_line_only(size):
    records, rejected = split(b'a,b\n1,2\n3,"4\n5,6\n7,"8, or 9"\n1,"2\n3"\n', size)
    assert rejected == [(3, "quote")]
    assert [line for line, _ in records] == [1, 2, 4, 5, 6]


def test_two_broken_quotes_do_not_join_the_lines_between_them():
    records, rejected = split(b'a,b\n"1,2\n3,4\n5,6"\n7,8\n')
    assert [line for line, _ in records] == [1, 3, 4, 5]
    assert rejected == [(2, "quote")]


def test_a_quote_within_an_unquoted_field_is_text():
    records, rejected = split(b'a,b\n5" pipe,2\n3,4\n')
    assert records[1:] == [(2, '5" pipe,2'), (3, "3,4")]
    assert rejected == []


def test_text_after_a_closing_quote_rejects_the_line():
    assert split(b'a,b\n"1"x,2\n3,4\n') == ([(1, "a,b"), (3, "3,4")], [(2, "quote")])


def test_a_line_that_is_not_utf_8_is_rejected_and_escaped():
    parts = list(
        RecordSplitter(quoted=True).split(["a,b\n1,é\n".encode("latin-1") + "2,é\n".encode()])
    )
    assert [reject.received for part in parts for reject in part.rejected] == ["1,\\xe9"]
    assert [part.lines.tolist() for part in parts] == [[1, 3]]


def test_a_nul_byte_rejects_its_line():
    assert split(b"a,b\n1,\0\n2,3\n")[1] == [(2, "encoding")]


def test_a_bare_carriage_return_rejects_its_line_but_not_in_quotes():
    records, rejected = split(b'a,b\n1\r,2\n"1\r",2\n3,4\n')
    assert rejected == [(2, "line_end")]
    assert [line for line, _ in records] == [1, 3, 4]


def test_quotes_have_no_effect_where_a_record_is_a_line():
    assert split(b'{"a"\n"}\n', quoted=False)[0] == [(1, '{"a"'), (2, '"}')]


def test_a_file_without_line_ends_is_rejected_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(record_splitter, "MAX_BYTES_WITHOUT_END", 1000)
    with pytest.raises(FileRejected, match="line 1 does not end within 1,000 bytes"):
        split(b"x" * 5000, 500)
