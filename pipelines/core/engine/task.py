"""Task: a pure function of one portion of leads, which an engine may run in another process."""

from abc import ABC, abstractmethod
from typing import ClassVar

import duckdb
import pyarrow as pa

LEAD_ROW = "lead_row"
"""The number of a lead in the order of its key. Each portion and each lead table has it as a
column, and a portion holds all leads between its first and its last one."""


class Task(ABC):
    """A function of one portion of leads.

    A task is sent to other processes, so its class is at the top level of a module and its fields
    can be pickled. It holds no connection and reads no file of the home.
    """

    catalogue: ClassVar[tuple[str, ...]] = ()
    """Tables that every portion reads as a whole."""
    lead_tables: ClassVar[tuple[str, ...]] = ()
    """Tables with `lead_row`, of which a portion reads the rows of its leads only."""

    @abstractmethod
    def run(self, connection: duckdb.DuckDBPyConnection, portion: pa.Table, /) -> pa.Table:
        """Return the result of one portion.

        Args:
            connection: With the tables `catalogue` and `lead_tables`; the latter hold at least
                the leads of the portion.
            portion: Rows by `lead_row`.
        """
