"""A delivery arrives at a real OpenSSH server once and whole, or is a clear dead letter."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import paramiko
import pytest

from dags.sftp_connections import find_endpoint
from expectations import policy
from expectations.policy_types import Agreement, Tries
from pipelines.core.home.schema_version import REPLAY
from pipelines.core.publishing import SIGNATURE, publishing, sha256, write_json
from pipelines.core.settings import Settings
from pipelines.transport.records import TransportRecord, read_record, record_path
from pipelines.transport.send import send, send_waiting
from tests.helpers.representatives import keep
from tests.helpers.sftp_server import CuttingProxy, SftpServer, sftp_server

DAY = date(2026, 11, 20)
BANK = "bank-000"
FAST = Tries(
    attempts=4,
    first_pause_seconds=0.05,
    longest_pause_seconds=0.2,
    seconds_per_institution=60,
    silence_seconds=10,
    parallel=4,
)
SIZE = 600_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    with sftp_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(autouse=True)
def policy_without_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every institution be live."""
    lifted = policy.transport().model_copy(update={"going_live": {"sftp": "off"}})
    monkeypatch.setattr(policy, "transport", lambda: lifted)


@pytest.fixture
def settings(tmp_path: Path, server: SftpServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    shutil.rmtree(server.inbox, ignore_errors=True)
    server.inbox.mkdir()
    connect(monkeypatch, server.connection())
    return Settings(home=tmp_path / "home")


def connect(monkeypatch: pytest.MonkeyPatch, connection: str, bank: str = BANK) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_BANYAN_SFTP_{bank.upper()}", connection)


def publish(
    settings: Settings, bank: str = BANK, version: int = 1, delivery: str = "sftp", **files: bytes
) -> Path:
    """Publish a delivery with these files; `leads_csv` is `leads.csv`."""
    folder = settings.day_folder(settings.outbox, DAY) / bank
    facts = {"institution_id": bank, "delivery": delivery, "version": version, "rows": 3}
    facts |= {"format": "csv", "columns": [], "withheld_fields": []}
    with publishing(folder, facts) as fresh:
        for name, content in files.items():
            (fresh / name.replace("_", ".")).write_bytes(content)
    return folder


def send_day(settings: Settings, **options: Any) -> dict[str, Any]:
    return send(settings, DAY, find_endpoint, tries=FAST, **options)


def record_of(settings: Settings, bank: str = BANK) -> TransportRecord:
    record = read_record(settings, DAY, bank)
    assert record is not None
    return record


def arrived(server: SftpServer, bank: str = BANK) -> dict[str, str]:
    folder = server.inbox / f"20261120-{bank}"
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


def local(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


def test_every_file_arrives_and_the_record_says_so(settings, server):
    folder = publish(settings, leads_csv=os.urandom(SIZE))
    assert send_day(settings)["sent"] == 1
    assert arrived(server) == local(folder)
    record = record_of(settings)
    assert (record.state, record.version, record.delivery_id) == ("sent", 1, f"20261120-{BANK}")
    assert {file.name: file.sha256 for file in record.files} == local(folder)
    assert [file.name for file in record.files][-1] == "manifest.json"
    assert all(file.sent_at for file in record.files)
    assert [attempt.error for attempt in record.attempts] == [""]
    assert record.endpoint == f"sftp://127.0.0.1:{server.port}{server.inbox}"


def test_what_arrived_is_not_sent_again_even_if_the_institution_took_it_away(settings, server):
    publish(settings, leads_csv=b"one")
    send_day(settings)
    shutil.rmtree(server.inbox / f"20261120-{BANK}")
    assert send_day(settings) == {
        "sent": 0,
        "unchanged": 1,
        "waiting": 0,
        "dead_letters": 0,
        "messages": [],
    }
    assert not list(server.inbox.iterdir())


def test_a_correction_brings_only_what_is_new(settings, server):
    publish(settings, leads_csv=b"one")
    send_day(settings)
    (server.inbox / f"20261120-{BANK}" / "leads.csv").unlink()
    folder = publish(settings, version=2, leads_csv=b"one", leads_v2_csv=b"two")
    send_day(settings)
    expected = local(folder)
    del expected["leads.csv"]
    assert arrived(server) == expected
    assert record_of(settings).version == 2


def test_a_run_that_was_killed_before_its_record_sends_nothing_twice(settings, server):
    folder = publish(settings, leads_csv=b"one")
    send_day(settings)
    times = {path.name: path.stat().st_mtime_ns for path in server.inbox.rglob("*.csv")}
    record_path(settings, DAY, BANK).unlink()
    send_day(settings)
    assert arrived(server) == local(folder)
    assert {path.name: path.stat().st_mtime_ns for path in server.inbox.rglob("*.csv")} == times


def test_another_file_of_the_same_name_is_not_overwritten(settings, server):
    publish(settings, leads_csv=b"one")
    target = server.inbox / f"20261120-{BANK}"
    target.mkdir()
    (target / "leads.csv").write_bytes(b"not ours")
    assert send_day(settings)["dead_letters"] == 1
    assert record_of(settings).reason == "conflict"
    assert (target / "leads.csv").read_bytes() == b"not ours"
    assert not (target / "manifest.json").exists()


@pytest.mark.parametrize("tenth", keep((0, 4, 9), range(10)))
def test_a_link_cut_at_any_tenth_is_resumed(settings, server, monkeypatch, tenth):
    folder = publish(settings, leads_csv=os.urandom(SIZE))
    handshake = 6_000
    proxy = CuttingProxy(server.port, cuts=[handshake + SIZE * tenth // 10])
    connect(monkeypatch, server.connection(proxy.port))
    slower = FAST.model_copy(update={"first_pause_seconds": 0.5, "longest_pause_seconds": 0.5})
    assert send(settings, DAY, find_endpoint, tries=slower)["sent"] == 1
    proxy.close()
    assert arrived(server) == local(folder)
    assert [bool(attempt.error) for attempt in record_of(settings).attempts] == [True, False]
    if tenth >= 5:
        assert proxy.sent[1] < SIZE * 0.8  # the bytes that had arrived were not sent again


def test_the_attempt_after_a_cut_link_has_a_new_connection(settings, server, monkeypatch):
    folder = publish(settings, leads_csv=os.urandom(SIZE))
    proxy = CuttingProxy(server.port, cuts=[100_000])
    connect(monkeypatch, server.connection(proxy.port))

    def close_dead(client: paramiko.SFTPClient) -> None:
        raise OSError("Socket is closed")  # as when the link dies before the session is closed

    monkeypatch.setattr(paramiko.SFTPClient, "close", close_dead)
    assert send_day(settings)["sent"] == 1
    proxy.close()
    assert arrived(server) == local(folder)
    assert [bool(attempt.error) for attempt in record_of(settings).attempts] == [True, False]
    assert len(proxy.sent) == 2


def test_a_part_that_a_cut_link_makes_late_is_continued(settings, server, monkeypatch):
    content = os.urandom(100_000)
    folder = publish(settings, leads_csv=content)
    open_file, sizes = paramiko.SFTPClient.file, []

    def open_late(client: paramiko.SFTPClient, name: str, mode: str) -> paramiko.SFTPFile:
        part = Path(name)
        if not sizes:
            part.write_bytes(content[:40_000])  # between the look at its size and the opening
        try:
            return open_file(client, name, mode)
        finally:
            sizes.append(part.stat().st_size)

    monkeypatch.setattr(paramiko.SFTPClient, "file", open_late)
    assert send_day(settings)["sent"] == 1
    assert arrived(server) == local(folder)
    assert sizes[:2] == [40_000, 40_000]
    assert not record_of(settings).attempts[0].error


def test_a_link_that_is_always_cut_is_a_dead_letter_and_the_next_run_ends_it(
    settings, server, monkeypatch
):
    folder = publish(settings, leads_csv=os.urandom(SIZE))
    proxy = CuttingProxy(server.port, cuts=[50_000] * FAST.attempts)
    connect(monkeypatch, server.connection(proxy.port))
    result = send_day(settings)
    assert result["dead_letters"] == 1
    record = record_of(settings)
    assert (record.state, record.reason) == ("dead_letter", "link")
    assert len(record.attempts) == FAST.attempts
    assert not [name for name in arrived(server) if not name.endswith(".part")]
    assert send_day(settings)["sent"] == 1
    proxy.close()
    assert arrived(server) == local(folder)


def test_a_server_that_is_restarted_gets_the_file(settings, server):
    folder = publish(settings, leads_csv=b"one")
    server.stop()
    assert send_day(settings)["dead_letters"] == 1
    assert "link was cut" in record_of(settings).message
    server.start()
    assert send_day(settings)["sent"] == 1
    assert arrived(server) == local(folder)


def test_a_changed_host_key_gets_nothing(settings, server):
    publish(settings, leads_csv=b"one")
    server.stop()
    server.host_key = "other_host"
    server.start()
    try:
        assert send_day(settings)["dead_letters"] == 1
    finally:
        server.stop()
        server.host_key = "host"
        server.start()
    record = record_of(settings)
    assert (record.state, record.reason) == ("dead_letter", "host_key_changed")
    assert len(record.attempts) == 1
    assert not list(server.inbox.iterdir())


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"host_key": None}, "host_key_missing"),
        ({"host_key": None, "no_host_key_check": "true"}, "host_key_missing"),
        ({"allow_host_key_change": "true"}, "host_key_missing"),
        ({"host_key": "ssh-ed25519 AAAAnonsense"}, "connection_invalid"),
        ({"private_key": "no key"}, "connection_invalid"),
        ({"private_key": None}, "login"),
        ({"remote_folder": "/nowhere/at/all"}, "folder_missing"),
    ],
)
def test_what_a_person_must_change_is_a_dead_letter_at_once(
    settings, server, monkeypatch, extra, reason
):
    publish(settings, leads_csv=b"one")
    connect(monkeypatch, server.connection(**extra))
    assert send_day(settings)["dead_letters"] == 1
    record = record_of(settings)
    assert (record.state, record.reason) == ("dead_letter", reason)
    assert len(record.attempts) <= 1
    assert "PRIVATE KEY" not in record_path(settings, DAY, BANK).read_text()


def test_an_institution_without_a_connection_is_named(settings, monkeypatch):
    publish(settings, bank="bank-007", leads_csv=b"one")
    assert send_day(settings)["messages"][0].startswith("bank-007: Airflow has no connection")


def test_a_folder_without_permission_is_a_dead_letter(settings, server, monkeypatch):
    publish(settings, leads_csv=b"one")
    connect(monkeypatch, server.connection(remote_folder="/proc"))  # root may not write either
    assert send_day(settings)["dead_letters"] == 1
    assert record_of(settings).reason in {"permission", "folder_missing"}


def test_a_full_disk_is_a_dead_letter_until_there_is_room(settings, server):
    folder = publish(settings, leads_csv=os.urandom(SIZE))
    server.stop()
    server.start(file_limit=SIZE // 2)
    assert send_day(settings)["dead_letters"] == 1
    assert "quota" in record_of(settings).message
    server.stop()
    server.start()
    assert send_day(settings)["sent"] == 1
    assert arrived(server) == local(folder)


def test_a_dead_server_delays_no_other(settings, server, monkeypatch):
    folder = publish(settings, leads_csv=b"one")
    publish(settings, bank="bank-001", leads_csv=b"two")
    silent = socket.create_server(("127.0.0.1", 0))  # accepts and never answers
    port = silent.getsockname()[1]
    connect(monkeypatch, server.connection(port, conn_timeout=2), "bank-001")
    limits = FAST.model_copy(update={"seconds_per_institution": 2.0, "attempts": 2})
    started = monotonic()
    result = send(settings, DAY, find_endpoint, tries=limits)
    silent.close()
    assert (result["sent"], result["dead_letters"]) == (1, 1)
    assert arrived(server) == local(folder)
    sent_at = datetime.fromisoformat(record_of(settings).sent_at)
    dead_at = datetime.fromisoformat(record_of(settings, "bank-001").attempts[-1].at)
    assert sent_at <= dead_at
    assert monotonic() - started < 60


def test_a_file_that_was_changed_after_publishing_is_not_sent(settings, server, monkeypatch):
    folder = publish(settings, leads_csv=b"one")
    (folder / "leads.csv").write_bytes(b"changed by hand")
    assert send_day(settings)["dead_letters"] == 1
    assert record_of(settings).reason == "damaged"
    assert not list(server.inbox.iterdir())


def test_a_damaged_record_holds_only_its_institution(settings, server):
    publish(settings, leads_csv=b"one")
    publish(settings, bank="bank-001", delivery="folder", leads_csv=b"two")
    record_path(settings, DAY, BANK).parent.mkdir(parents=True)
    record_path(settings, DAY, BANK).write_text("{torn")
    result = send_day(settings)
    assert (result["sent"], result["dead_letters"]) == (1, 1)
    assert not list(server.inbox.iterdir())


def test_a_folder_delivery_is_sent_at_once_and_keeps_its_time(settings):
    publish(settings, delivery="folder", leads_csv=b"one")
    first = datetime(2026, 11, 21, 1, tzinfo=UTC)
    send_day(settings, now=first)
    send_day(settings, now=first + timedelta(days=1))
    record = record_of(settings)
    assert (record.state, record.endpoint) == ("sent", "folder")
    assert record.sent_at == "2026-11-21T01:00:00+00:00"


def test_an_institution_without_any_file_has_no_record(settings):
    publish(settings, version=0)
    assert send_day(settings)["sent"] == 0
    assert read_record(settings, DAY, BANK) is None


def test_a_replay_sends_nothing(settings, server):
    publish(settings, leads_csv=b"one")
    write_json(settings.ledger / REPLAY, {"date": f"{DAY}"})
    assert send_day(settings) == {"sent": 0, "replayed": True}
    assert not list(server.inbox.iterdir())


def agree(monkeypatch: pytest.MonkeyPatch, **terms: Any) -> None:
    agreement = Agreement(institution_id=BANK, **terms)
    lifted = policy.transport().model_copy(update={"agreements": (agreement,)})
    monkeypatch.setattr(policy, "transport", lambda: lifted)


def at(text: str, settings: Settings) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=settings.zone)


@pytest.mark.parametrize(
    ("moment", "terms", "state"),
    [
        ("2026-11-20 09:00", {}, "sent"),
        ("2026-11-20 07:59", {}, "waiting"),
        ("2026-11-20 18:01", {}, "waiting"),
        ("2026-11-21 12:00", {}, "sent"),  # a Saturday
        ("2026-11-21 12:00", {"banking_days": "CN"}, "waiting"),
        ("2026-10-01 12:00", {"banking_days": "CN"}, "waiting"),  # the National Day
        ("2026-10-10 12:00", {"banking_days": "CN"}, "sent"),  # a Saturday that is worked
        ("2026-11-20 12:00", {"banking_days": "ZZ"}, "dead_letter"),
    ],
)
def test_files_go_in_the_window_and_on_the_banking_days(
    settings, server, monkeypatch, moment, terms, state
):
    publish(settings, leads_csv=b"one")
    agree(monkeypatch, delivery_from="08:00", delivery_until="18:00", **terms)
    send_day(settings, now=at(moment, settings))
    assert record_of(settings).state == state
    assert bool(list(server.inbox.iterdir())) == (state == "sent")


def test_a_window_that_has_passed_is_overdue(settings, monkeypatch):
    publish(settings, leads_csv=b"one")
    agree(monkeypatch, delivery_from="08:00", delivery_until="18:00")
    send_day(settings, now=at("2026-11-20 07:00", settings))
    record = record_of(settings)
    assert not record.is_overdue
    assert "the next window begins 2026-11-20 08:00" in record.message
    send_day(settings, now=at("2026-11-20 19:00", settings))
    assert record_of(settings).is_overdue
    send_day(settings, now=at("2026-11-21 08:00", settings))
    assert (record_of(settings).state, record_of(settings).is_overdue) == ("sent", False)


def test_a_manifest_that_a_killed_step_left_unsigned_is_signed_before_it_leaves(settings, server):
    folder = publish(settings, leads_csv=b"one")
    assert not (folder / SIGNATURE).exists()
    send_day(settings)
    assert SIGNATURE in arrived(server)


def test_what_waited_is_sent_once_its_window_has_begun(settings, server, monkeypatch):
    publish(settings, leads_csv=b"one")
    agree(monkeypatch, delivery_from="08:00", delivery_until="18:00")
    send_day(settings, now=at("2026-11-20 07:00", settings))
    later = [at(f"2026-11-2{day} 09:00", settings) for day in (1, 2)]
    first, second = (
        send_waiting(settings, DAY + timedelta(days=1), find_endpoint, now=moment)
        for moment in later
    )
    assert (first["sent"], first["dates_arrived"]) == (1, [f"{DAY}"])
    assert (second["sent"], second["dates_arrived"]) == (0, [])
    assert record_of(settings).state == "sent"
    assert list(server.inbox.iterdir())


def test_a_record_has_the_agreed_fields(settings):
    publish(settings, delivery="folder", leads_csv=b"one")
    send_day(settings)
    stated = json.loads(record_path(settings, DAY, BANK).read_text())
    assert {
        *("delivery_id", "version", "files", "state", "attempts", "sent_at", "endpoint"),
    } <= stated.keys()
    assert {"name", "sha256", "bytes"} <= stated["files"][0].keys()
