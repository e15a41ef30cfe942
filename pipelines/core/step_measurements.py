"""What each step of a day cost: seconds, processor seconds, peak memory, and its counts.

They are for operators and no part of a day's output: equal inputs give other seconds. One file a
step (and shard) in `measurements/date=D/`; a step that is run again replaces its own.
"""

import hashlib
import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import BanyanError
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json

KILOBYTE = 1024
"""Bytes in the unit in which Linux states resident memory."""


@dataclass
class Measurement:
    """The cost of one run of a step.

    `cpu_seconds` counts the process and the children that it waited for; `peak_bytes` is the
    largest resident memory of the process while the step ran.
    """

    step: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    finished_at: float = 0.0
    """Seconds since 1970."""
    succeeded: bool = False
    counts: dict[str, float] = field(default_factory=dict)

    def add_counts(self, counts: object) -> None:
        """Keep the single numbers of what the step returned."""
        if isinstance(counts, dict):
            numbers = {name: value for name, value in counts.items() if _is_number(value)}
            self.counts |= numbers


@contextmanager
def measure_step(settings: Settings, day: date, step: str, shard: object) -> Iterator[Measurement]:
    """Measure the block and write the measurement, also of a block that fails.

    A measurement that can't be written is left out: it must not fail the step or hide its failure.
    """
    measurement = Measurement(step)
    _reset_peak_memory()
    started, cpu_started = time.monotonic(), _cpu_seconds()
    try:
        yield measurement
        measurement.succeeded = True
    finally:
        measurement.seconds = round(time.monotonic() - started, 3)
        measurement.cpu_seconds = round(_cpu_seconds() - cpu_started, 3)
        measurement.peak_bytes = _peak_memory()
        measurement.finished_at = round(time.time(), 3)
        with suppress(OSError):
            write_json(_file(settings, day, step, shard), asdict(measurement))


def read_measurements(settings: Settings, day: date) -> list[Measurement]:
    """Return the measurements of `day` by the time of their end, without damaged ones."""
    found = []
    for path in settings.day_folder(settings.measurements, day).glob("*.json"):
        with suppress(BanyanError, OSError, TypeError):
            found.append(Measurement(**read_json(path)))
    return sorted(found, key=lambda each: (each.finished_at, each.step))


def _file(settings: Settings, day: date, step: str, shard: object) -> Path:
    suffix = ""
    if shard:
        digest = hashlib.sha256(json.dumps(shard, sort_keys=True, default=str).encode())
        suffix = f".{digest.hexdigest()[:12]}"
    return settings.day_folder(settings.measurements, day) / f"{step}{suffix}.json"


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _reset_peak_memory() -> None:
    """Let the kernel begin a new peak (Linux: `proc(5)`, /proc/PID/clear_refs, value 5)."""
    with suppress(OSError):
        Path(f"/proc/{os.getpid()}/clear_refs").write_text("5", encoding="ascii")


def _peak_memory() -> int:
    """Return the peak of the resident memory in bytes since the last reset."""
    with suppress(OSError, ValueError, StopIteration):
        status = Path(f"/proc/{os.getpid()}/status").read_text("ascii", "replace").splitlines()
        line = next(each for each in status if each.startswith("VmHWM:"))
        return int(line.split()[1]) * KILOBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
