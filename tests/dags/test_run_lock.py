"""A run acquires the lock of a home when no active run holds it, and holds it until its end."""

import asyncio

import pytest

from dags import run_lock
from dags.run_lock import RunLockTrigger, acquire_run_lock, read_holder, release_run_lock


def test_a_run_may_acquire_its_own_lock_again(tmp_path):
    file = tmp_path / "turn"
    assert acquire_run_lock(file, "first", lambda run: True)
    assert acquire_run_lock(file, "first", lambda run: True)


def test_a_run_waits_for_the_holder_and_acquires_the_lock_after_its_end(tmp_path):
    file = tmp_path / "turn"
    acquire_run_lock(file, "first", lambda run: True)
    assert not acquire_run_lock(file, "second", lambda run: run == "first")
    assert acquire_run_lock(file, "second", lambda run: False)
    assert not acquire_run_lock(file, "first", lambda run: run == "second")


def test_a_run_that_gives_the_lock_back_lets_another_active_run_work(tmp_path):
    file = tmp_path / "turn"
    acquire_run_lock(file, "second", lambda run: True)
    assert not acquire_run_lock(file, "first", lambda run: True)
    release_run_lock(file, "second")
    assert acquire_run_lock(file, "first", lambda run: True)


def test_a_run_gives_back_its_own_lock_only(tmp_path):
    file = tmp_path / "turn"
    release_run_lock(file, "second")
    acquire_run_lock(file, "first", lambda run: True)
    release_run_lock(file, "second")
    assert read_holder(file) == "first"


@pytest.mark.parametrize("lock_becomes", ["free", "ended"])
def test_the_trigger_fires_when_the_lock_is_free_and_not_before(
    tmp_path, monkeypatch, lock_becomes
):
    file, looks = tmp_path / "turn", []

    def is_active(run: str) -> bool:
        looks.append(run)
        if len(looks) == 2 and lock_becomes == "free":
            release_run_lock(file, "first")
        return len(looks) < 3 or lock_becomes == "free"

    acquire_run_lock(file, "first", lambda run: True)
    for name in ("PAUSE", "INTERVAL"):
        monkeypatch.setattr(run_lock, name, 0.01)
    monkeypatch.setattr(run_lock, "is_active", is_active)

    async def wait_for_event() -> object:
        return await anext(RunLockTrigger(f"{file}", "second").run())

    assert asyncio.run(wait_for_event())
    assert looks == ["first"] * (2 if lock_becomes == "free" else 3)


def test_the_trigger_is_stored_with_the_arguments_that_make_it_again():
    trigger = RunLockTrigger("/home/.turn", "daily_match scheduled__2026-01-13")
    path, arguments = trigger.serialize()
    assert path == "dags.run_lock.RunLockTrigger"
    assert RunLockTrigger(**arguments).serialize() == trigger.serialize()
