"""CSV records are split into fields portion by portion, with the same result as all at once."""

import csv
import io

import pytest

from pipelines.ingest.reading import text_formats
from pipelines.ingest.reading.record_splitter import RecordSplitter

ROWS = [
    ["plain", "1"],
    ["two\nlines", "a, b"],
    ["a single field"],
    ['a "quoted" word', ""],
    ["\u6d4b\u8bd5", "3"],
    ["three", "fields", "here"],
] * 20


@pytest.mark.parametrize("portion", [1, 40, 100, 1 << 20])
def test_portions_end_between_records_and_misfits_keep_their_rows(monkeypatch, portion):
    monkeypatch.setattr(text_formats, "PORTION", portion)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(ROWS)
    (records,) = RecordSplitter(quoted=True).split([text.getvalue().encode()])
    fields, misfits = text_formats.split_fields(records, ["a", "b"])
    assert fields.to_pydict() == {
        "a": [row[0] for row in ROWS if len(row) == 2],
        "b": [row[1] for row in ROWS if len(row) == 2],
    }
    assert misfits == [(at, len(row)) for at, row in enumerate(ROWS) if len(row) != 2]
