"""A run and its terminal: library output goes to a log file, Ctrl-C and SIGTERM stop at once."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import current_thread, main_thread
from typing import TextIO

from pipelines.core.errors import INTERRUPTED, STOPPED


@contextmanager
def redirect_output(log: Path) -> Iterator[TextIO]:
    """Write the output of this process and its children to `log`; yield the real stderr.

    It redirects the file descriptors, because Airflow, dbt and LightGBM each print in another way.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        os.fdopen(os.dup(1), "w", encoding="utf-8") as out,
        os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace") as err,
        log.open("w", encoding="utf-8") as file,
    ):
        _point_at(file.fileno(), file.fileno())
        try:
            yield err
        finally:
            _point_at(out.fileno(), err.fileno())


def continue_output(log: Path) -> None:
    """Write the output to another file from now on, within `redirect_output`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        _point_at(file.fileno(), file.fileno())


@contextmanager
def stop_at_once(err: TextIO) -> Iterator[None]:
    """End the process at Ctrl-C and at SIGTERM until the block ends, in the midst of a step too.

    Airflow would take either for the failure of one step, and go on to the steps that follow a
    failed day up. No exception gets past it, and none is needed: a killed step is repaired by its
    next run.
    """
    if current_thread() is not main_thread():  # Python delivers signals to the main thread only
        yield
        return

    def stop(_signal: int, _frame: object) -> None:
        os.write(err.fileno(), f"{STOPPED}\n".encode())  # a signal may come while `err` is written
        os._exit(INTERRUPTED)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _point_at(out: int, err: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a full disk under the log must not hide the failure itself
            stream.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)


class StepProgress(logging.Handler):
    """Write each step's line as the step ends, and collect the messages of failed steps.

    On a terminal the name of the active step shows until its line replaces it.
    """

    def __init__(self, stream: TextIO):
        super().__init__()
        self.stream = stream
        self.failures: list[str] = []
        self.clear = "\r\x1b[K" if stream.isatty() else ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; collect a failure for the end of the output, where a reader looks."""
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            self.failures.append(message)
        elif record.levelno == logging.INFO:
            print(f"{self.clear}{message}", file=self.stream, flush=True)
        elif self.clear and record.levelno == logging.DEBUG:
            print(f"{self.clear}{message} ...", end="", file=self.stream, flush=True)
