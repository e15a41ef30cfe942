"""A run acquires the lock of a home when no active run holds it, and holds it until its end."""

from dags.run_lock_sensor import acquire_run_lock


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
