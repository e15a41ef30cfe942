"""No real file reaches an institution before it has acknowledged a test delivery."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyrage
import pytest

from dags.sftp_connections import find_endpoint
from expectations import policy
from expectations.policy_types import Agreement
from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.going_live import read_tests
from pipelines.transport.records import read_record
from pipelines.transport.send import send
from tests.helpers.sftp_server import SftpServer, sftp_server
from tests.transport.test_send import BANK, DAY, FAST, connect

REAL = b"a real person"
RECEIVED = f"20261120-{BANK}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    with sftp_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: SftpServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    shutil.rmtree(server.inbox, ignore_errors=True)
    server.inbox.mkdir()
    connect(monkeypatch, server.connection())
    return Settings(home=tmp_path / "home")


def publish(settings: Settings, **facts: Any) -> None:
    stated = {"institution_id": BANK, "delivery": "sftp", "version": 1, "rows": 1}
    stated |= {"format": "csv", "columns": ["full_name", "captured_at"], "withheld_fields": []}
    folder = settings.day_folder(settings.outbox, DAY) / BANK
    with publishing(folder, stated | facts) as fresh:
        (fresh / "leads.csv").write_bytes(REAL)


def send_day(settings: Settings) -> dict[str, Any]:
    return send(settings, DAY, find_endpoint, tries=FAST)


def answer(settings: Settings, bank: str = BANK, day: int = 21, **changes: str) -> None:
    """Take in a receipt for the newest test delivery."""
    test = read_tests(settings, BANK)[-1]
    row = {"institution_id": bank, "delivery_id": test.delivery_id, "sha256": test.sha256}
    table = pa.Table.from_pylist([row | {"status": "ack"} | changes])
    folder = settings.day_folder(settings.lake / "receipts", date(2026, 11, day))
    write_parquet(table, folder / "receipts.parquet")


def inbox(server: SftpServer) -> list[str]:
    return sorted(path.name for path in server.inbox.iterdir())


def test_the_first_real_file_waits_for_the_receipt_of_a_test(settings, server):
    publish(settings)
    assert send_day(settings)["waiting"] == 1
    record = read_record(settings, DAY, BANK)
    assert (record.state, record.reason) == ("waiting", "going_live")
    assert not any(file.sent_at for file in record.files)
    assert inbox(server) == [f"test-{BANK}-1"]
    folder = server.inbox / f"test-{BANK}-1"
    manifest = read_manifest(folder)
    assert manifest["test"] is True
    assert manifest["delivery_id"] == f"test-{BANK}-1"
    (row,) = lead_file.read(folder / "leads.csv").to_pylist()
    assert list(row) == [
        *("match_id", "product_id", "rank", "suggested_apr"),
        *("captured_at", "full_name", "schema_version"),
    ]
    verify = [
        *("ssh-keygen", "-Y", "verify", "-f", f"{folder / 'allowed_signers'}", "-I", "banyan"),
        *("-n", "banyan-manifest", "-s", f"{folder / 'manifest.json.sig'}"),
    ]
    signed = (folder / "manifest.json").read_bytes()
    subprocess.run(verify, input=signed, check=True, capture_output=True)
    assert send_day(settings)["waiting"] == 1  # the test is not sent a second time
    assert len(read_tests(settings, BANK)) == 1
    answer(settings)
    assert send_day(settings)["sent"] == 1
    assert inbox(server) == [RECEIVED, f"test-{BANK}-1"]
    assert (server.inbox / RECEIVED / "leads.csv").read_bytes() == REAL


@pytest.mark.parametrize(
    "changes",
    [{"bank": "bank-001"}, {"sha256": "0" * 64}, {"delivery_id": "test-bank-000-2"}],
)
def test_a_receipt_of_another_institution_file_or_delivery_opens_nothing(settings, server, changes):
    publish(settings)
    send_day(settings)
    answer(settings, **changes)
    assert send_day(settings)["waiting"] == 1
    assert RECEIVED not in inbox(server)


def test_a_refused_test_is_followed_by_the_next(settings, server):
    publish(settings)
    send_day(settings)
    answer(settings, status="nak")
    assert send_day(settings)["waiting"] == 1
    assert inbox(server) == [f"test-{BANK}-1", f"test-{BANK}-2"]
    answer(settings, day=22)
    assert send_day(settings)["sent"] == 1


def test_a_change_of_key_format_or_address_asks_again(settings, server, monkeypatch):
    publish(settings)
    send_day(settings)
    answer(settings)
    identity = pyrage.x25519.Identity.generate()
    publish(settings, public_key=f"{identity.to_public()}")
    assert send_day(settings)["waiting"] == 1
    sealed = server.inbox / f"test-{BANK}-2" / "leads.csv.age"
    assert b"test-bank-000-2" in pyrage.decrypt(sealed.read_bytes(), [identity])
    publish(settings, format="parquet")
    assert send_day(settings)["waiting"] == 1
    (server.folder / "second").mkdir(exist_ok=True)
    connect(monkeypatch, server.connection(remote_folder=f"{server.folder / 'second'}"))
    publish(settings)
    assert send_day(settings)["waiting"] == 1
    connect(monkeypatch, server.connection())
    assert send_day(settings)["sent"] == 1  # the first terms were acknowledged


def test_an_agreement_may_waive_the_test(settings, server, monkeypatch):
    waived = Agreement(institution_id=BANK, going_live="off")
    changed = policy.transport().model_copy(update={"agreements": (waived,)})
    monkeypatch.setattr(policy, "transport", lambda: changed)
    publish(settings)
    assert send_day(settings)["sent"] == 1
    assert inbox(server) == [RECEIVED]


def test_a_test_that_cannot_be_sent_is_a_dead_letter_of_the_delivery(settings, server, monkeypatch):
    publish(settings)
    connect(monkeypatch, server.connection(remote_folder="/nowhere"))
    assert send_day(settings)["dead_letters"] == 1
    record = read_record(settings, DAY, BANK)
    assert (record.reason, record.delivery_id) == ("folder_missing", RECEIVED)
    assert not read_tests(settings, BANK)[0].sent_at
