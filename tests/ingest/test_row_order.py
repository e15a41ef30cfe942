"""What is computed of a row comes back in its place, whatever chunks the rows came in."""

import pyarrow as pa

from pipelines.database import connect
from pipelines.ingest.text import query
from pipelines.settings import Settings


def test_rows_keep_their_order_through_sql_that_takes_its_time(tmp_path):
    rows, chunks = 40_000, 80
    whole = pa.table({"number": range(rows), "name": [f"x{number}" for number in range(rows)]})
    step = rows // chunks
    table = pa.concat_tables([whole.slice(start, step) for start in range(0, rows, step)])
    assert table["number"].num_chunks == chunks
    work = " or ".join(f"regexp_matches(name, '(a|b)+[0-9]*{digit}$')" for digit in range(60))
    with connect(Settings(home=tmp_path, threads=2)) as connection:
        answer = query(connection, f"select number, {work} as is_found from received", table)
    assert answer["number"].to_pylist() == list(range(rows))
