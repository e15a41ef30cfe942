"""Verdicts of Great Expectations that are looked up where the same table was checked before.

A verdict depends on the contract and the table alone. Checking a few rows costs half a second, and
many tests ingest or deliver the same rows before they change something else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from expectations.contracts import Contract
from expectations.outbound_contracts import OutboundContract
from pipelines.deliveries.last_gate import gate
from pipelines.ingest.validation import row_verdicts
from pipelines.ingest.validation.great_expectations_gate import check_contract, check_outgoing

VERDICTS: dict[tuple[str, bytes], Any] = {}
"""Text of a contract and bytes of a table -> the verdict, of this process."""


@contextmanager
def remembered_gate() -> Iterator[None]:
    """Look up the verdict on a table that was checked before, at intake and at the last gate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_verdicts, "check_contract", _check_contract_once)
        patch.setattr(gate, "check_outgoing", _check_outgoing_once)
        yield


def _check_contract_once(contract: Contract, table: pa.Table, _verdicts: Any = None) -> Any:
    columns = table.select([name for name in table.column_names if name in contract.names])
    return _look_up(repr(contract), columns, lambda: check_contract(contract, table))


def _check_outgoing_once(contract: OutboundContract, table: pa.Table) -> Any:
    return _look_up(repr(contract), table, lambda: check_outgoing(contract, table))


def _look_up(contract: str, table: pa.Table, check: Callable[[], Any]) -> Any:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    key = contract, sink.getvalue().to_pybytes()
    if key not in VERDICTS:
        VERDICTS[key] = check()
    return VERDICTS[key]
