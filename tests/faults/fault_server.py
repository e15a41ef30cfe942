"""Serve a disturbed day: read a request from each line of stdin, write its result to a descriptor.

    unshare --mount python -m tests.faults.fault_server FOLDER DATES DESCRIPTOR

A request is a case, or the seed of a walk through the day. The first line of the output has the
profile of each task, in the order of the DAG.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.disturbed_day import DisturbedDay
from tests.faults.faults import Fault
from tests.faults.prepared_day import PreparedDay
from tests.faults.schedule import Case
from tests.helpers.sftp_server import sftp_server


def main(folder: Path, dates: int, descriptor: int) -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(descriptor, "w", encoding="utf-8")
    with sftp_server(folder / "server") as server:
        prepared = PreparedDay(folder, dates, server)
        profiles = [asdict(profile) for profile in prepared.profiles.values()]
        print(json.dumps([prepared.cpu_seconds, profiles]), file=answers, flush=True)
        day = DisturbedDay(prepared)
        for line in sys.stdin:
            request = json.loads(line)
            is_walk = isinstance(request, int)
            result = day.run_walk(request) if is_walk else day.run_case(_make_case(request))
            print(json.dumps(asdict(result)), file=answers, flush=True)


def _make_case(fields: dict[str, Any]) -> Case:
    faults = tuple(Fault(**fault) for fault in fields["faults"])
    return Case(**fields | {"faults": faults, "order": tuple(fields["order"])})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
