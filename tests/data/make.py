"""Make the small real files beside this script from the whole public ones, for tests.

    python tests/data/make.py HMDA.parquet LENDERS.parquet SBA.csv

Home loans: the applications that the mapping dates to the 5th or 6th of a month, at the 40 largest
lenders and some small ones. SBA: the loans approved on the 27 days with the most loans, four of
them late. So the files have few days, which keeps preparation short, and enough rows for a model.
The selection depends on the rows only.
"""

import gzip
import io
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from expectations import mapping
from pipelines.importing.read_source import read_companion_tables, read_source
from pipelines.importing.split_by_feed import DateWindow, FeedSplitter

HERE = Path(__file__).parent

LARGEST_LENDERS = 40
HMDA = """
select {columns} from prepared
where day(applied_on) in (5, 6) and lei in (
    select lei from (
        select lei, row_number() over (order by count(*) desc, lei) as size, count(*) as rows
        from prepared group by lei
    )
    where size <= {large} or (rows between 10 and 20 and size % 37 = 0)
)
order by lei, activity_year, row_sha256
"""
SBA = """
with days as (
    select
        approved_on, count(*) as loans,
        row_number() over (
            partition by approved_on >= date '2004-12-01' order by loans desc, approved_on
        ) as number
    from prepared where approved_on >= date '2003-01-01' group by approved_on
)
select {columns} from prepared
where approved_on in (
    select approved_on from days
    where number <= if(approved_on >= date '2004-12-01', 4, 23)
)
order by LoanNr_ChkDgt
"""


def make(hmda: Path, lenders: Path, sba: Path) -> None:
    """Write the three files."""
    selected = _select_rows("hmda", hmda, HMDA.replace("{large}", f"{LARGEST_LENDERS}"))
    pq.write_table(selected, HERE / "hmda_applications_2022_2024.parquet", compression="zstd")
    lender_years = duckdb.from_parquet(str(lenders)).filter(
        f"lei in (select lei from '{HERE}/hmda_applications_2022_2024.parquet')"
    )
    pq.write_table(
        lender_years.order("lei, year").to_arrow_table(),
        HERE / "hmda_lenders_by_year.parquet",
        compression="zstd",
    )
    text = io.BytesIO()
    csv.write_csv(_select_rows("sba", sba, SBA), text)
    packed = gzip.compress(text.getvalue(), compresslevel=9, mtime=0)
    (HERE / "sba_7a_loans.csv.gz").write_bytes(packed)


def _select_rows(name: str, file: Path, query: str) -> pa.Table:
    loaded = mapping.load(name)
    with duckdb.connect() as connection:
        columns = read_source(connection, file, loaded.mapping.file)
        read_companion_tables(connection, file, loaded.mapping.beside)
        FeedSplitter(connection, loaded, columns, DateWindow(None, None)).prepare_rows()
        names = ", ".join(f'"{column}"' for column in columns)
        return connection.sql(query.replace("{columns}", names)).to_arrow_table()


if __name__ == "__main__":
    make(*map(Path, sys.argv[1:4]))
