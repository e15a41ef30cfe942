"""The parts that all benchmarks share: options, a temporary home, time, memory and progress.

A benchmark is a Click command that takes the settings from the context (`click.pass_obj`) and
returns its figures. The command line prints them.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from pipelines.core.settings import Settings

Figures = dict[str, Any]
Result = TypeVar("Result")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

KIB = 1024
"""Bytes in the unit in which Linux reports peak memory."""


def run_benchmark(command: click.Command, settings: Settings, options: Sequence[str]) -> Figures:
    """Run a benchmark with `options` as typed on the command line; return its figures.

    Raises:
        click.UsageError: An option is unknown or has an invalid value.
    """
    figures: Figures = command.main(list(options), obj=settings, standalone_mode=False)
    return figures


def count_option(name: str, default: int, description: str, least: int = 1) -> Decorator:
    """Return a Click option that takes a whole number from `least` on."""
    return click.option(
        name,
        type=click.IntRange(min=least),
        default=default,
        show_default=True,
        metavar="N",
        help=description,
    )


seed_option = click.option(
    "--seed", type=int, default=1, show_default=True, help="Seed of all random numbers."
)


def split_list(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    """Return the parts of an option that is a list with commas."""
    return tuple(filter(None, value.split(",")))


@contextmanager
def temporary_home(settings: Settings) -> Iterator[Settings]:
    """Yield `settings` with an empty temporary folder as home."""
    with tempfile.TemporaryDirectory(prefix="banyan-bench-") as folder:
        yield replace_home(settings, Path(folder))


def replace_home(settings: Settings, home: Path) -> Settings:
    """Return `settings` with another home."""
    return Settings(**(settings.model_dump() | {"home": home}))


class Stopwatch:
    """Wall-clock and processor time since its creation."""

    def __init__(self) -> None:
        self._clock, self._processor = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds by the clock."""
        return time.perf_counter() - self._clock

    @property
    def processor_seconds(self) -> float:
        """Seconds of all threads of this process."""
        return time.process_time() - self._processor

    def figures(self, digits: int = 2) -> Figures:
        """Return `seconds` and `processor_seconds`, rounded."""
        return {
            "seconds": round(self.seconds, digits),
            "processor_seconds": round(self.processor_seconds, digits),
        }


def peak_memory_mb(*, with_children: bool = False) -> int:
    """Return the peak memory of this process, or of it and its largest ended child, in MB."""
    processes = [resource.RUSAGE_SELF, *([resource.RUSAGE_CHILDREN] if with_children else [])]
    peak = max(resource.getrusage(process).ru_maxrss for process in processes)
    return round(peak * KIB / 1_000_000)


def run_in_new_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return the result of `function` in a new process, whose memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def show_progress(benchmark: str, message: str) -> None:
    """Write a line of progress to the standard error, at once.

    Without a terminal too: what a long benchmark has measured is in its log if it is stopped.
    """
    sys.stderr.write(f"bench {benchmark}: {message}\n")
    sys.stderr.flush()
