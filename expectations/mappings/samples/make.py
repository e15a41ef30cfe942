"""Make the sample files of this folder from the complete public files.

    python expectations/mappings/samples/make.py HMDA.parquet LENDERS.parquet SBA.csv

The choice depends only on the rows, so equal files give equal samples.
"""

import gzip
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

HERE = Path(__file__).parent

CHOICE = """
with hashed as (
    select *, md5(cast(whole as varchar)) as digest
    from read_parquet(?) as whole
),
ranked as (
    select
        *,
        row_number() over (partition by lei order by digest) as rank,
        count(*) over (partition by digest) as copies
    from hashed
),
lenders as (
    select lei, count(*) as applications, row_number() over (order by count(*) desc, lei) as size
    from hashed
    group by lei
),
chosen as (
    select lei, size <= 110 as is_large
    from lenders
    where size <= 110 or (applications between 3 and 20 and size % 100 = 0)
)
select ranked.* exclude (digest, rank, copies)
from ranked
join chosen using (lei)
where
    not is_large  -- all rows of a small lender, as at a cold start
    or rank <= 50  -- at least as many rows
    or ('0x' || digest[1:8])::bigint < 0.19 * 4294967296
    or copies > 1 or applicant_income_000s < 0 or loan_to_value_ratio > 500  -- invalid rows
order by lei, activity_year, digest
"""


def make(hmda: Path, lenders: Path, sba: Path) -> None:
    """Write the samples beside this script: parts of `hmda` and of its `lenders`, all of `sba`."""
    rows = duckdb.execute(CHOICE, [str(hmda)]).to_arrow_table()
    pq.write_table(rows, HERE / "hmda_sample.parquet", compression="zstd")
    lender_years = duckdb.from_parquet(str(lenders)).filter(
        f"lei in (select lei from '{HERE / 'hmda_sample.parquet'}')"
    )
    years = lender_years.order("lei, year").to_arrow_table()
    pq.write_table(years, HERE / "hmda_lenders_by_year.parquet", compression="zstd")
    packed = gzip.compress(sba.read_bytes(), compresslevel=9, mtime=0)
    (HERE / "sba_7a_loans.csv.gz").write_bytes(packed)


if __name__ == "__main__":
    make(*map(Path, sys.argv[1:4]))
