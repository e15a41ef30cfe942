"""A damaged file, a full disk and too little memory: one message with the file and what to do."""

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy.exc import OperationalError

from dags.steps import run_step
from pipelines.core.database import connect
from pipelines.core.errors import IntegrityError
from pipelines.core.library_errors import describe_error, find_damaged_files, in_words
from pipelines.core.publishing import publishing, read_manifest, require_unchanged, write_parquet
from pipelines.core.settings import PROJECT, Settings
from pipelines.core.step_failures import read_step_failures
from pipelines.core.stored_files import how_to_restore
from pipelines.ingest.ledger import read_ledger

DAY = date(2026, 3, 5)
ENTRY = (
    '{"feed": "leads", "source": "a", "landed_on": "2026-03-05", '
    '"path": "leads/a/2026-03-05/x.csv", "version": 1, '
    '"sha256": "0", "bytes": 1, "known_on": "2026-03-05", "is_late": false}'
)


def database_error(text):
    """Return an error as SQLAlchemy raises it for SQLite."""
    return OperationalError("insert", {"value": "a secret"}, sqlite3.OperationalError(text))


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, threads=1)


@pytest.fixture
def marts(settings):
    folder = settings.day_folder(settings.marts, DAY)
    with publishing(folder, {}) as fresh:
        write_parquet(pa.table({"lead_id": ["a secret"] * 1000}), fresh / "leads.parquet")
    return folder


def damage(path, how):
    content = path.read_bytes()
    match how:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            path.write_bytes(content[:-12] + bytes([content[-12] ^ 1]) + content[-11:])
        case "emptied":
            path.write_bytes(b"")
        case "removed":
            path.unlink()


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "removed"])
def test_a_damaged_parquet_file_is_named_with_what_to_do(settings, marts, how):
    path = marts / "leads.parquet"
    damage(path, how)
    words = describe_error(settings, pa.ArrowInvalid("a secret"))
    assert f"{path} was {'removed' if how == 'removed' else 'changed'}" in words
    assert f"`python -m pipelines run --date {DAY}`" in words
    assert "a secret" not in words


def test_duckdb_on_a_truncated_file_names_the_file(settings, marts):
    damage(marts / "leads.parquet", "truncated")
    with (
        pytest.raises(IntegrityError, match=r"leads\.parquet was changed"),
        in_words(settings),
        connect(settings) as connection,
    ):
        connection.read_parquet(str(marts / "leads.parquet")).fetchall()


def test_arrow_on_a_truncated_file_names_the_file(settings, marts):
    damage(marts / "leads.parquet", "truncated")
    with pytest.raises(IntegrityError, match=r"leads\.parquet was changed"), in_words(settings):
        pq.read_table(marts / "leads.parquet")


@pytest.mark.parametrize("content", [b"", b'{"files": {"le', b"[]", b"\xff\xfe{}", b"null", b"{}x"])
def test_a_torn_manifest_is_named_with_what_to_do(settings, marts, content):
    (marts / "manifest.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"manifest\.json is damaged: .* run the date again"):
        read_manifest(marts)
    assert [path.name for path, _ in find_damaged_files(settings)] == ["manifest.json"]


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (f"{ENTRY}\n{ENTRY[:90]}", "line 2 of 2 is no JSON object"),
        (f"{ENTRY[:90]}\n{ENTRY}\n", "line 1 of 2 is no JSON object"),
        (f"{ENTRY}\n[]\n7\n", "line 3 of 3|an entry lacks"),
        ('{"feed": "leads"}\n', "an entry lacks a key"),
        ("\udcff\n", "it is no UTF-8 text"),
    ],
)
def test_a_torn_ledger_line_is_named_with_what_to_do(settings, content, how):
    path = settings.ledger / f"date={DAY}.jsonl"
    path.parent.mkdir()
    path.write_text(content, "utf-8", "surrogateescape")
    with pytest.raises(IntegrityError, match=how) as raised:
        read_ledger(settings)
    assert str(path) in str(raised.value)
    assert f"lake/*/date={DAY}/manifest.json > ledger/date={DAY}.jsonl" in str(raised.value)


@pytest.mark.parametrize("content", ["", "{}", '{"closed_through": "yesterday"}', '{"closed'])
def test_a_torn_closing_date_is_named(settings, content):
    settings.ledger.mkdir()
    (settings.ledger / "closed.json").write_text(content, "utf-8")
    with pytest.raises(IntegrityError, match=r"closed\.json is damaged: .*the last date"):
        read_ledger(settings)


@pytest.mark.parametrize("lost", [f"date={DAY}.jsonl", "closed.json"])
def test_a_lost_file_of_the_ledger_is_named_unless_a_killed_run_left_its_work(settings, lost):
    with publishing(settings.day_folder(settings.lake / "leads", DAY), {"ledger": [ENTRY]}):
        pass
    settings.ledger.mkdir()
    (settings.ledger / f"date={DAY}.jsonl").write_text(f"{ENTRY}\n", "utf-8")
    (settings.ledger / "closed.json").write_text(f'{{"closed_through": "{DAY}"}}', "utf-8")
    assert len(read_ledger(settings).entries) == 1
    (settings.ledger / lost).unlink()
    with pytest.raises(IntegrityError, match=f"{lost} is damaged: it was removed"):
        read_ledger(settings)
    (settings.home / "work" / "ingest" / f"date={DAY}").mkdir(parents=True)
    read_ledger(settings)


@pytest.mark.parametrize("how", ["truncated", "flipped", "removed"])
def test_a_changed_file_of_a_model_is_refused_before_it_scores(settings, how):
    folder = settings.registry / f"as_of={DAY}"
    with publishing(folder, {}) as fresh:
        for name in ("approval", "approval_old"):
            (fresh / name).mkdir()
            (fresh / name / "model.txt").write_text("tree\nversion=v4\nend of trees\n", "utf-8")
    require_unchanged(folder, "approval/")
    damage(folder / "approval" / "model.txt", how)
    with pytest.raises(IntegrityError, match=rf"model\.txt is damaged: .*train --date {DAY}"):
        require_unchanged(folder, "approval/")
    require_unchanged(folder, "approval_old/")


def test_too_little_memory_names_the_setting(settings):
    small = settings.model_copy(update={"memory_limit": "4MB"})
    with (
        pytest.raises(IntegrityError, match="BANYAN_MEMORY_LIMIT is 4MB"),
        in_words(small),
        connect(small) as connection,
    ):
        connection.sql("select len(list(hash(i))) from range(3000000) t(i)").fetchall()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "Raise BANYAN_MEMORY_LIMIT"),
        (pa.ArrowMemoryError("malloc of size 9 failed"), "Raise BANYAN_MEMORY_LIMIT"),
        (OSError(errno.ENOSPC, "No space left on device"), "Free space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Free space"),
        (duckdb.IOException("IO Error: Could not write: No space left on device"), "Free space"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/y"),
            "/x/y can't be read or written",
        ),
        (OSError(errno.EROFS, "Read-only file system", "/x/y"), "/x/y can't be read or written"),
        (
            OSError(errno.EIO, "Input/output error", "/x/y"),
            "/x/y can't be read or written: the disk",
        ),
        (database_error("disk I/O error"), "airflow.db can't be written"),
        (database_error("database disk image is malformed"), "airflow.db is damaged"),
        (database_error("file is not a database"), "delete it and run the date again"),
        (database_error("unable to open database file"), "airflow.db can't be opened"),
        (database_error("attempt to write a readonly database"), "Give the user"),
        (database_error("database is locked"), "is held by another process"),
        (database_error("database or disk is full"), "Free space"),
        (database_error("no such table: dag"), ""),
        (KeyError("a secret"), ""),
    ],
)
def test_an_error_of_the_machine_has_words_without_a_value(settings, error, words):
    found = describe_error(settings, error)
    assert words in found
    assert bool(words) == bool(found)
    assert "a secret" not in found


def test_a_failing_step_records_the_words(settings):
    path = settings.day_folder(settings.lake / "leads", DAY) / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text("{", "utf-8")
    with pytest.raises(IntegrityError, match="is damaged"):
        run_step("staging", settings, DAY)
    assert "lake/leads" in read_step_failures(settings, DAY)[0][1]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("lake/leads/date=2026-03-05/leads.parquet", "builds it again from landing/"),
        ("quarantine/leads/date=2026-03-05/manifest.json", "builds it again from landing/"),
        ("marts/date=2026-03-05/leads.parquet", "run --date 2026-03-05"),
        ("marts/history/outcomes/2026-03-04/0f.parquet", "grep -l 0f marts/*/history.json"),
        ("registry/as_of=2026-03-02/risk/model.txt", "train --date 2026-03-02"),
        ("outbox/date=2026-03-05/lender/leads.csv", "ask the institution"),
        ("ledger/closed.json", "closed_through"),
        (".dbt/built.json", "writes it again"),
        ("truth/world.json", "ask the developers"),
    ],
)
def test_each_file_of_a_home_has_advice(tmp_path, name, advice):
    assert advice in how_to_restore(tmp_path / name)


@pytest.mark.prove  # tests/faults has a full disk in every task
def test_a_full_disk_ends_with_1_and_words(tmp_path):
    """The limit of a file's size is the full disk that a test may make."""
    folder = tmp_path / "landing" / "leads" / "search" / f"{DAY}"
    folder.mkdir(parents=True)
    (folder / "leads.csv").write_text("lead_id\n" + "x\n" * 20_000, "utf-8")
    limit = 4096
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "ingest", "--date", f"{DAY}", "--home", str(tmp_path)],
        cwd=PROJECT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"There was no space left for a file below {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr
