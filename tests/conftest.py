"""Distribution of the tests over parallel workers."""

import os
from collections.abc import Mapping

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.helpers.identifier_key import TEST_KEY

os.environ.setdefault("BANYAN_IDENTIFIER_KEY", TEST_KEY)

pytest_plugins = ["tests.helpers.matched_day", "tests.helpers.trained_market"]

SHARED_WORKER: Mapping[str, str] = {
    "tests/e2e/": "one worker runs the market, once",
    "tests/independent/test_planted_violations.py": "one worker runs the small home, once",
    "tests/bench/test_real_records.py": "one worker prepares the files, once",
    "tests/models/test_protected.py": "one worker trains the models, once",
}
"""Prefix of a test's path -> the reason why all tests with that prefix share a worker."""


class PrefixScheduling(LoadScopeScheduling):
    """Schedule each test alone, and the tests of a prefix in `SHARED_WORKER` as one unit.

    It replaces the mark `xdist_group`, which has no effect: pytest-xdist 3.8 writes it where pytest
    9.2 no longer reads it.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((start for start in SHARED_WORKER if nodeid.startswith(start)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> PrefixScheduling:
    """Return the scheduler."""
    return PrefixScheduling(config, log)
