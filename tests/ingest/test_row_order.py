"""Derived columns belong to their own row, also in a table of many chunks."""

import pyarrow as pa

from expectations.contracts import load
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.ingest.identity import derive_columns
from tests.helpers.feeds import good
from tests.helpers.identifier_key import TEST_KEY, keyed


def test_a_hash_is_computed_from_the_phone_of_its_own_row(tmp_path):
    contract, chunk = load("leads"), 300
    many = [good("leads", phone=f"+86138{number:08}") for number in range(100 * chunk)]
    whole = pa.Table.from_pylist(many, schema=contract.received_schema)
    whole = whole.append_column(contract.source_column, pa.array(["search"] * whole.num_rows))
    rows = pa.concat_tables(
        [whole.slice(start, chunk) for start in range(0, whole.num_rows, chunk)]
    )
    assert rows["phone"].num_chunks == 100
    with connect(Settings(home=tmp_path, threads=2)) as connection:
        derived = derive_columns(connection, contract, rows, "Asia/Shanghai", TEST_KEY)
    digests = [keyed(phone) for phone in rows["phone"].to_pylist()]
    assert derived["phone_sha256"].to_pylist() == digests
