"""Pack a home of an older version as test data: `tests/data/home_schema_N.tar.gz`.

    git worktree add /tmp/before VERSION && cd /tmp/before
    python -m pipelines simulate --home HOME --start 2026-02-27 --days 5 --leads-per-day 40 \
        --institutions 5 --channels 2 --seed 7
    python -m pipelines run --home HOME --date 2026-02-28 --to 2026-03-02
    python tests/data/make_home.py HOME tests/data/home_schema_1.tar.gz

What the next run makes again is left out, and so is the hidden truth of the simulated market.
"""

import sys
import tarfile
from pathlib import Path

LEFT_OUT = {
    *("warehouse.duckdb", ".dbt", "work", "logs", "airflow", "truth", "scorecards"),
    *(".run.lock", ".turn"),
}


def pack_home(home: Path, archive: Path) -> None:
    """Write the files of `home` that a run does not make again into `archive`."""
    with tarfile.open(archive, "w:gz", compresslevel=9) as packed:
        for path in sorted(home.iterdir()):
            if path.name not in LEFT_OUT:
                packed.add(path, path.name, filter=_without_owner)


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    pack_home(Path(sys.argv[1]), Path(sys.argv[2]))
