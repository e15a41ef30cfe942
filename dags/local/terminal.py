"""Keep the terminal for people: what libraries print goes to a log file, ours to the terminal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def printing_to(log: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Send all that this process and its children print to `log`; yield the real stdout, stderr.

    It works on file descriptors, because Airflow, dbt and LightGBM each print in another way.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        os.fdopen(os.dup(1), "w", encoding="utf-8") as out,
        os.fdopen(os.dup(2), "w", encoding="utf-8") as err,
        log.open("w", encoding="utf-8") as file,
    ):
        _point_at(file.fileno(), file.fileno())
        try:
            yield out, err
        finally:
            _point_at(out.fileno(), err.fileno())


def _point_at(out: int, err: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)


class Lines(logging.Handler):
    """Shows each step's line as it ends, and keeps what the steps that failed said.

    Where a person watches, the step that is at work shows until its own line replaces it.
    """

    def __init__(self, stream: TextIO):
        super().__init__()
        self.stream = stream
        self.failures: list[str] = []
        self.clear = "\r\x1b[K" if stream.isatty() else ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a failure is kept for the end, where it is looked for."""
        said = record.getMessage()
        if record.levelno >= logging.ERROR:
            self.failures.append(said)
        elif record.levelno == logging.INFO:
            print(f"{self.clear}{said}", file=self.stream, flush=True)
        elif self.clear and record.levelno == logging.DEBUG:
            print(f"{self.clear}{said} ...", end="", file=self.stream, flush=True)
