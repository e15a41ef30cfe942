"""A replay computes a day from its recorded inputs and names the files that differ."""

import json
from pathlib import Path

from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, banyan


def test_a_replay_names_only_the_changed_file(ran: CompletedRun, tmp_path: Path):
    home = copy_home(ran.home, tmp_path)
    offers = home / "offers" / f"date={MONDAY}" / "offers.parquet"
    offers.write_bytes(offers.read_bytes() + b" ")
    process = banyan(home, "replay", "--date", f"{MONDAY}")
    assert process.returncode == 1
    comparison = json.loads(process.stdout)
    assert comparison["compared"] > 20
    assert comparison["is_same_code"]
    assert comparison["differences"] == {f"offers/date={MONDAY}/offers.parquet": "differs"}
    assert not list(home.glob(".replay-*"))
