"""Kill a run at its n-th disk operation, run it again, and print the published hashes.

It is a separate program, because it forks, and a process with DuckDB's threads must not.

    python -m tests.ingest.kill_runs HOME DAY EVERY
"""

import json
import os
import shutil
import sys
from datetime import date
from pathlib import Path

from expectations.contracts import load
from pipelines.core.publishing import code_version
from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from pipelines.ingest.validation.great_expectations_gate import check_contract
from tests.ingest.published import published

KILLED = 9


def count_down(steps: int) -> None:
    """End this process at the `steps`-th rename, sync or removal of a folder."""
    left = [steps]

    def counting(function):
        def call(*arguments, **options):
            left[0] -= 1
            if not left[0]:
                os._exit(KILLED)
            return function(*arguments, **options)

        return call

    Path.rename = counting(Path.rename)  # type: ignore[method-assign]
    os.fsync = counting(os.fsync)
    shutil.rmtree = counting(shutil.rmtree)  # type: ignore[assignment]


def run_forked(work) -> int:
    """Run `work` in a child process; return its exit code."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            print(repr(error), file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(home: Path, day: date, every: int) -> None:
    """Print the published hashes, as JSON, of an undisturbed run and after each killed run."""
    code_version()  # cached for every child, so that an edit in between makes no difference
    for feed in ("channel_spend", "suppressions"):  # the gate starts once, not in every child
        check_contract(load(feed), load(feed).received_schema.empty_table())
    hashes: dict[str, object] = {}
    landed = home / "landing"
    step = 0
    while True:
        settings = Settings(home=home / f"run{step}", threads=1, memory_limit="500MB")
        shutil.copytree(landed, settings.landing)

        def run(steps: int = step, settings: Settings = settings) -> None:
            if steps:
                count_down(steps)
            ingest_day.ingest(settings, day)

        exit_code = run_forked(run)
        if exit_code == KILLED:
            again = run_forked(lambda settings=settings: ingest_day.ingest(settings, day))
            assert again == 0, f"the run after the kill at step {step} ended with {again}"
        hashes[str(step)] = published(settings)
        shutil.rmtree(settings.home)
        if step and exit_code == 0:
            break
        assert exit_code == (KILLED if step else 0), (
            f"the run at step {step} ended with {exit_code}"
        )
        step += every
    print(json.dumps(hashes))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]), int(sys.argv[3]))
