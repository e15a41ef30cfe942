"""The contracts of the files that go out, read from `expectations/outbound/*.yml`."""

from functools import cache
from pathlib import Path

import pyarrow as pa
import yaml

from expectations.contracts import Column
from expectations.strict_model import StrictModel

FOLDER = Path(__file__).parent / "outbound"


class OutboundContract(StrictModel):
    """The columns of an outgoing file, with the version of its schema."""

    name: str
    schema_version: int
    description: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """Return the columns as an Arrow schema."""
        return pa.schema([(column.name, column.arrow_type) for column in self.columns])


@cache
def load_outbound(name: str) -> OutboundContract:
    """Return the contract of the outgoing file `name`."""
    text = (FOLDER / f"{name}.yml").read_text("utf-8")
    return OutboundContract.model_validate(yaml.safe_load(text))
