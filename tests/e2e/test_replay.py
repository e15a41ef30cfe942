"""A day comes out of its recorded inputs again; what doesn't is named."""

import json
from pathlib import Path

from tests.e2e.conftest import Ran, copied
from tests.e2e.market import MONDAY, banyan


def test_a_day_is_replayed_byte_for_byte_and_a_changed_file_is_named(ran: Ran, tmp_path: Path):
    home = copied(ran.home, tmp_path)
    offers = home / "offers" / f"date={MONDAY}" / "offers.parquet"
    offers.write_bytes(offers.read_bytes() + b" ")
    ended = banyan(home, "replay", "--date", f"{MONDAY}")
    assert ended.returncode == 1
    found = json.loads(ended.stdout)
    assert found["compared"] > 20
    assert found["is_same_code"]
    assert found["differences"] == {f"offers/date={MONDAY}/offers.parquet": "differs"}
    assert not list(home.glob(".replay-*"))
