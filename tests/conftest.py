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
}
"""Folder of tests -> the reason why all its files share a worker."""


class PrefixScheduling(LoadScopeScheduling):
    """Schedule each file of tests as one unit, so that its fixtures are made once.

    The files of a folder in `SHARED_WORKER` are one unit. It replaces the mark `xdist_group`, which
    has no effect: pytest-xdist 3.8 writes it where pytest 9.2 no longer reads it.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((start for start in SHARED_WORKER if file.startswith(start)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> PrefixScheduling:
    """Return the scheduler."""
    return PrefixScheduling(config, log)
