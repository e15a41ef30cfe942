"""What the tests of the contracts share."""

import duckdb
import pytest


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        yield opened
