"""What is left out of a backup can be made again: the published bytes are the same."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import CompletedRun
from tests.e2e.market import MONDAY, SUNDAY, banyan, run
from tests.e2e.published_bytes import differences


@pytest.mark.prove
def test_a_home_is_made_again_from_what_is_essential(ran: CompletedRun, tmp_path: Path):
    target, home = tmp_path / "backup.tar.gz", tmp_path / "restored"
    process = banyan(ran.home, "backup", str(target), "--essential")
    assert process.returncode == 0, process.stderr
    left_out = set(json.loads(process.stdout)["left_out"])
    assert left_out >= {"lake", "marts", "pairs", "matches", "reports", "warehouse.duckdb"}
    assert target.stat().st_size < sum(p.stat().st_size for p in ran.home.rglob("*.*")) / 4

    process = banyan(home, "restore", str(target))
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["dates_to_run"] == [f"{SUNDAY}", f"{MONDAY}"]
    assert not (home / "marts").exists()
    figures = run(home, SUNDAY, MONDAY)
    for day, before in ran.figures.items():
        assert figures[day] | {"seconds": 0} == before | {"seconds": 0}
    assert differences(ran.home, home) == []
    shutil.rmtree(home)
