"""Output of a run: library output goes to a log file, the run's own lines to the terminal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


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
