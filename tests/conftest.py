"""Which tests share a worker, where several run side by side."""

from collections.abc import Mapping

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.helpers.matched_day", "tests.helpers.trained_market"]

TOGETHER: Mapping[str, str] = {
    "tests/e2e/": "one worker runs the market, once",
    "tests/bench/test_real_records.py": "one worker prepares the files, once",
    "tests/models/test_protected.py": "one worker trains the models, once",
}
"""Start of a test's path -> why all tests of that start share a worker."""


class Together(LoadScopeScheduling):
    """Hands out tests one by one, those of `TOGETHER` as one.

    In the place of marks `xdist_group`, which pytest-xdist 3.8 writes where pytest 9.2 doesn't read
    them any more, so that they do nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((start for start in TOGETHER if nodeid.startswith(start)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    """Return how tests are dealt out."""
    return Together(config, log)
