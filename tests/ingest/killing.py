"""Kill a run at its n-th step to disk, run it again, and print what is published then.

A program of its own: it forks, and a process that has DuckDB's threads must not.
Usage: python -m tests.ingest.killing HOME DAY EVERY
"""

import json
import os
import shutil
import sys
from datetime import date
from pathlib import Path

from pipelines import ingest
from pipelines.core.publishing import code_version
from pipelines.core.settings import Settings
from tests.ingest.lake import published

KILLED = 9


def count_down(steps: int) -> None:
    """Let this process die at the `steps`-th rename, sync or removal of a folder."""
    left = [steps]

    def dying(function):
        def call(*arguments, **options):
            left[0] -= 1
            if not left[0]:
                os._exit(KILLED)
            return function(*arguments, **options)

        return call

    Path.rename = dying(Path.rename)  # type: ignore[method-assign]
    os.fsync = dying(os.fsync)
    shutil.rmtree = dying(shutil.rmtree)  # type: ignore[assignment]


def forked(work) -> int:
    """Run `work` in a child process; return how it ended."""
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
    """Print, as JSON, what is published undisturbed and after each killed run."""
    code_version()  # once, for every child: an edit meanwhile is no difference between the runs
    found: dict[str, object] = {}
    landed = home / "landing"
    step = 0
    while True:
        settings = Settings(home=home / f"run{step}", threads=1, memory_limit="500MB")
        shutil.copytree(landed, settings.landing)

        def run(steps: int = step, settings: Settings = settings) -> None:
            if steps:
                count_down(steps)
            ingest.ingest(settings, day)

        ended = forked(run)
        if ended == KILLED:
            again = forked(lambda settings=settings: ingest.ingest(settings, day))
            assert again == 0, f"the run after the kill at step {step} ended with {again}"
        found[str(step)] = published(settings)
        shutil.rmtree(settings.home)
        if step and ended == 0:
            break
        assert ended == (KILLED if step else 0), f"the run at step {step} ended with {ended}"
        step += every
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]), int(sys.argv[3]))
