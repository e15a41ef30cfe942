"""Fixtures of the tests of the contracts."""

import duckdb
import pytest


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        yield opened
