"""Options of the tests, and their distribution over parallel workers."""

import gc
import os
from collections.abc import Iterator, Mapping

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.helpers.garbage import freeze_garbage_collector
from tests.helpers.identifier_key import TEST_KEY

os.environ.setdefault("BANYAN_IDENTIFIER_KEY", TEST_KEY)

gc.disable()  # the imports of the plugins and of the collection make no garbage to speak of

pytest_plugins = ["tests.helpers.matched_day", "tests.helpers.trained_market"]

SHARED_WORKER: Mapping[str, str] = {
    "tests/e2e/": "one worker runs the market, once",
    "tests/transform/": "one worker builds the tables of the random market, once",
    "tests/independent/": "one worker compiles the queries of the small markets, once",
}
"""Folder of tests -> the reason why all its files share a worker."""

LONGEST_FIRST = (
    *("tests/e2e/", "tests/transform/", "tests/faults/", "tests/models/", "tests/independent/"),
    *("tests/ingest/", "tests/matches/", "tests/deliveries/", "tests/simulate/"),
    *("tests/evaluation/", "tests/allocation/", "tests/reports/", "tests/billing/"),
    *("tests/importing/", "tests/bench/", "tests/docs/", "tests/core/", "tests/transport/"),
)
"""Folders in the order in which their files are started, before all others: a long file that is
started last keeps one worker busy while the others have nothing left."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by `LONGEST_FIRST`; within a folder they stay in their order."""
    places = {start: place for place, start in enumerate(LONGEST_FIRST)}

    def find_place(item: pytest.Item) -> int:
        return places.get("/".join(item.nodeid.split("/")[:2]) + "/", len(places))

    items.sort(key=find_place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect garbage from the end of the collection on, and not among what was made before it.

    Libraries and tests are some million objects that stay until the end. Looking through them again
    and again cost an eighth of the processor time of a build of the warehouse.
    """
    try:
        return (yield)
    finally:
        freeze_garbage_collector()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that repeat a schedule of faults (`tests/faults`)."""
    group = parser.getgroup("faults")
    group.addoption("--fault-seed", default="1", help="the seed of the schedule of faults")
    group.addoption("--fault-case", help="the one case of it to run, such as train/3")


class PrefixScheduling(LoadScopeScheduling):
    """Schedule each file of tests as one unit, so that its fixtures are made once.

    The files of a folder in `SHARED_WORKER` are one unit. It replaces the mark `xdist_group`, which
    has no effect: pytest-xdist 3.8 writes it where pytest 9.2 no longer reads it.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((start for start in SHARED_WORKER if file.startswith(start)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers of `-n auto`: one more than cores, since tests wait.

    They wait for disks, servers and Airflow's scheduler a quarter of the time.
    """
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> PrefixScheduling:
    """Return the scheduler; it starts the units in the order of the tests."""
    config.option.loadscopereorder = False  # else the unit with the most tests comes first
    return PrefixScheduling(config, log)
