"""Watch where DuckDB writes what exceeds its memory."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

from pipelines.core.errors import BanyanError
from pipelines.core.settings import Settings

LIMITS = tuple(f"{amount}MB" for amount in (24, 32, 48, 64, 96, 128, 192, 256, 400, 800))
"""Memory limits to try, in order: a little more than what a step can't do without is enough."""
SPILLED = "duckdb_temp"
"""Beginning of the names of DuckDB's files; the folders have others as well."""
SECONDS = 0.001
"""Time between two looks; a connection that has spilled leaves a file there until it is closed."""

Result = TypeVar("Result")


@contextmanager
def watch_spills(home: Path) -> Iterator[set[str]]:
    """Yield the names of the files that DuckDB spills in the home while the block runs."""
    found: set[str] = set()
    ended = Event()

    def watch() -> None:
        while not ended.wait(SECONDS):
            for folder in (*home.glob(".spill-*"), home / ".dbt" / "spill"):
                with suppress(OSError):
                    names = (entry.name for entry in os.scandir(folder))
                    found.update(name for name in names if name.startswith(SPILLED))

    thread = Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def run_spilling(settings: Settings, work: Callable[[Settings], Result]) -> tuple[Result, bool]:
    """Run `work` with the least of `LIMITS` that suffices; return its result, and if it spilled.

    An attempt with too little memory fails with words, and changes nothing.
    """
    for limit in LIMITS:
        with watch_spills(settings.home) as spilled:
            try:
                result = work(settings.model_copy(update={"memory_limit": limit}))
            except BanyanError as error:
                if f"BANYAN_MEMORY_LIMIT is {limit}" not in str(error):
                    raise
                continue
        return result, bool(spilled)
    raise AssertionError(f"{LIMITS[-1]} does not suffice")
