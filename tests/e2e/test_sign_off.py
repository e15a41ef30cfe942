"""A day whose policy asks for a decision is delivered after it, and not before."""

import json
import shutil
from pathlib import Path

import pytest

from expectations import policy
from pipelines.core.publishing import read_manifest
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import SUNDAY, banyan
from tests.e2e.published_bytes import published

pytestmark = pytest.mark.prove

DAY = ("--date", f"{SUNDAY}")


def test_a_run_waits_for_a_decision_and_goes_on_after_it(
    landed: Path, ran: CompletedRun, tmp_path: Path
):
    home = copy_home(landed, tmp_path / "home")
    folder = Path(shutil.copytree(policy.FOLDER, tmp_path / "policy"))
    file = folder / "sign_off.yml"
    file.write_text(file.read_text("utf-8").replace("hold: 'off'", "hold: always"), "utf-8")
    rules = {"BANYAN_POLICY_FOLDER": str(folder)}

    held = banyan(home, "run", *DAY, **rules)
    assert held.returncode == 1
    assert f"{SUNDAY} waits for a decision" in held.stderr
    assert f"{SUNDAY} was not delivered." in held.stderr
    assert "Not done: close, deliver, plan_deliver." in held.stderr
    assert "Traceback" not in held.stderr
    assert not list((home / "outbox").glob(f"date={SUNDAY}/*/leads*"))
    assert not list((home / "step_failures").glob("*/*/*.json"))
    page = home / "reports" / f"date={SUNDAY}"
    assert read_manifest(page)["verdict"] in {"fit", "remarks"}
    assert banyan(home, "deliver", *DAY, **rules).returncode == 1
    assert banyan(home, "replay", *DAY, **rules).returncode == 1

    decision = ("--by", "Li Lei", "--decision")
    assert banyan(home, "signoff", *DAY, *decision, "not_fit", **rules).returncode == 0
    refused = banyan(home, "run", *DAY, **rules)
    assert refused.returncode == 1
    assert "was decided to be not fit by Li Lei" in refused.stderr
    assert not list((home / "outbox").glob(f"date={SUNDAY}/*/leads*"))

    assert banyan(home, "signoff", *DAY, *decision, "fit", **rules).returncode == 0
    done = banyan(home, "run", *DAY, **rules)
    assert done.returncode == 0, done.stderr
    hashes, expected = published(home), published(ran.home)
    delivered = [path for path in hashes if path.startswith("outbox/") and "leads" in path]
    assert delivered
    assert {path: hashes[path] for path in delivered} == {
        path: expected[path] for path in delivered
    }
    assert "Li Lei" in (page / "index.html").read_text("utf-8")
    replayed = banyan(home, "replay", *DAY, **rules)
    assert json.loads(replayed.stdout)["differences"] == {}
