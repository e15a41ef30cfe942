"""An institution that fetches its files gets no real one before it has acknowledged a test."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyrage
import pytest

from dags.local.replay import _find_not_live
from dags.steps import STEPS
from expectations import policy
from expectations.policy_types import Agreement
from pipelines.core.database import connect
from pipelines.core.home.schema_version import REPLAY
from pipelines.core.publishing import MANIFEST, SIGNATURE, read_manifest, sha256, write_json
from pipelines.core.settings import Settings
from pipelines.deliveries import going_live, lead_file
from pipelines.deliveries.deliver import deliver_released
from pipelines.deliveries.going_live import GOING_LIVE, read_tests
from pipelines.deliveries.signatures import ALLOWED_SIGNERS
from tests.deliveries.test_deliver import (
    CSV_BANK,
    PARQUET_BANK,
    deliver_all,
    folder_of,
    matches_of,
    replace_mart,
)
from tests.deliveries.test_present_knowledge import NEXT
from tests.helpers.lake import at, write_feed
from tests.helpers.matched_day import DAY
from tests.helpers.representatives import keep

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the agreements of two institutions ask for a test delivery."""
    agreements = [
        Agreement(institution_id=name, going_live="required") for name in (CSV_BANK, PARQUET_BANK)
    ]
    changed = policy.transport().model_copy(update={"agreements": tuple(agreements)})
    monkeypatch.setattr(policy, "transport", lambda: changed)


def newest_test(settings: Settings, bank: str = CSV_BANK) -> going_live.TestDelivery:
    return read_tests(settings, bank)[-1]


def answer(settings: Settings, bank: str = CSV_BANK, **changes: Any) -> None:
    """Take in, on the next date, a receipt for the institution's newest test delivery."""
    test = newest_test(settings, bank)
    receipt = {"institution_id": bank, "delivery_id": test.delivery_id, "sha256": test.sha256}
    receipt |= {"rows": 1, "at": at("2026-11-21 08:00")}
    write_feed(settings, "receipts", NEXT, [receipt | changes])


def state_of(settings: Settings, bank: str = CSV_BANK) -> tuple[str, list[str]]:
    manifest = read_manifest(folder_of(settings, bank))
    return manifest["state"], list(manifest["held_reasons"])


def test_by_the_policy_an_institution_that_fetches_needs_no_test(matched_copy):
    assert deliver_all(matched_copy)["held_back"] == 0
    assert not (matched_copy.outbox / GOING_LIVE).exists()


@pytest.mark.usefixtures("asked")
def test_the_first_file_is_held_until_the_test_in_the_outbox_is_acknowledged(matched_copy):
    assert deliver_all(matched_copy)["held_back"] == 2
    assert state_of(matched_copy) == ("held", [GOING_LIVE])
    names = {path.name for path in folder_of(matched_copy, CSV_BANK).iterdir()}
    assert names == {MANIFEST, SIGNATURE}
    (finding,) = read_manifest(folder_of(matched_copy, CSV_BANK))["findings"]
    assert finding == {"id": "delivery_not_live", "count": 1, "sources": [CSV_BANK]}
    folder = matched_copy.outbox / GOING_LIVE / CSV_BANK / "1"
    manifest = read_manifest(folder)
    assert (manifest["test"], manifest["delivery_id"]) == (True, f"test-{CSV_BANK}-1")
    assert {path.name for path in folder.iterdir()} == {
        *("leads.csv", MANIFEST, SIGNATURE, ALLOWED_SIGNERS)
    }
    (row,) = lead_file.read(folder / "leads.csv").to_pylist()
    assert row["match_id"] == f"test-{CSV_BANK}-1"
    assert list(row)[4:] == [*manifest["columns"], "schema_version"]
    assert deliver_released(matched_copy, NEXT, 14) == []
    answer(matched_copy)
    assert deliver_released(matched_copy, NEXT, 14) == [DAY]
    assert state_of(matched_copy) == ("delivered", [])
    assert state_of(matched_copy, PARQUET_BANK) == ("held", [GOING_LIVE])
    delivered = lead_file.read(folder_of(matched_copy, CSV_BANK) / "leads.csv")
    assert delivered.num_rows == len(matches_of(matched_copy, CSV_BANK))
    assert deliver_released(matched_copy, NEXT, 14) == []
    assert len(read_tests(matched_copy, CSV_BANK)) == 1


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    "changes",
    keep(
        (1, 3),
        [
            {"institution_id": PARQUET_BANK},
            {"sha256": "0" * 64},
            {"delivery_id": f"test-{CSV_BANK}-2"},
            {"status": "nak"},
        ],
    ),
)
def test_another_receipt_opens_nothing(matched_copy, changes):
    deliver_all(matched_copy)
    answer(matched_copy, **changes)
    assert deliver_released(matched_copy, NEXT, 14) == []
    assert state_of(matched_copy) == ("held", [GOING_LIVE])
    is_refused = changes.get("status") == "nak"
    assert len(read_tests(matched_copy, CSV_BANK)) == (2 if is_refused else 1)


@pytest.mark.usefixtures("asked")
def test_another_key_or_format_asks_again_and_the_first_terms_stay_acknowledged(matched_copy):
    identity = pyrage.x25519.Identity.generate()
    deliver_all(matched_copy)
    answer(matched_copy)
    replace_mart(matched_copy, "products", "public_key", f"{identity.to_public()}", CSV_BANK)
    deliver_all(matched_copy)
    sealed = matched_copy.outbox / GOING_LIVE / CSV_BANK / "2" / "leads.csv.age"
    assert f"test-{CSV_BANK}-2".encode() in pyrage.decrypt(sealed.read_bytes(), [identity])
    assert newest_test(matched_copy).sha256 == sha256(sealed)
    replace_mart(matched_copy, "products", "public_key", None, CSV_BANK)
    replace_mart(matched_copy, "products", "format", "parquet", CSV_BANK)
    deliver_all(matched_copy)
    assert (matched_copy.outbox / GOING_LIVE / CSV_BANK / "3" / "leads.parquet").is_file()
    assert state_of(matched_copy) == ("held", [GOING_LIVE])
    replace_mart(matched_copy, "products", "format", "csv", CSV_BANK)
    deliver_all(matched_copy)
    assert state_of(matched_copy) == ("delivered", [])


@pytest.mark.usefixtures("asked")
def test_the_receipts_are_read_once_for_all_institutions(matched_copy, monkeypatch):
    deliver_all(matched_copy)
    answer(matched_copy)
    reads = []

    def count_reads(settings: Settings) -> Any:
        reads.append(settings)
        return connect(settings)

    monkeypatch.setattr(going_live, "connect", count_reads)
    deliver_all(matched_copy)
    assert len(reads) == 1


@pytest.mark.usefixtures("asked")
def test_a_replay_holds_what_was_held_and_asks_nobody(matched_home, matched_copy, tmp_path):
    deliver_all(matched_copy)
    scratch = Settings(home=tmp_path / "scratch")
    shutil.copytree(matched_home.home, scratch.home)
    held = _find_not_live(matched_copy, DAY)
    assert sorted(held) == [CSV_BANK, PARQUET_BANK]
    write_json(scratch.ledger / REPLAY, {"date": f"{DAY}", GOING_LIVE: held})
    deliver_all(scratch)
    for bank in (CSV_BANK, PARQUET_BANK):
        first, second = (_state(settings, bank) for settings in (matched_copy, scratch))
        assert first == second
    assert not (scratch.outbox / GOING_LIVE).exists()
    answer(matched_copy)
    deliver_all(matched_copy)
    assert list(_find_not_live(matched_copy, DAY)) == [PARQUET_BANK]


def _state(settings: Settings, bank: str) -> dict[str, Any]:
    path: Path = folder_of(settings, bank) / MANIFEST
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return manifest


@pytest.mark.usefixtures("asked")
def test_the_step_that_runs_twice_an_hour_delivers_and_reports_it(matched_copy):
    deliver_all(matched_copy)
    answer(matched_copy)
    counts = STEPS["send_waiting"](matched_copy, NEXT)
    assert counts["dates_released"] == [f"{DAY}"]
    assert state_of(matched_copy) == ("delivered", [])
    record = json.loads((matched_copy.transport / f"date={DAY}" / f"{CSV_BANK}.json").read_text())
    assert record["state"] == "sent"
    assert (matched_copy.reports / f"date={DAY}" / "index.html").is_file()
