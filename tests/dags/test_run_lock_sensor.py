"""A run takes the home when nobody works on it, and keeps it until it has ended."""

from dags.run_lock_sensor import acquire_run_lock


def test_the_first_run_takes_the_turn_and_may_come_again(tmp_path):
    token = tmp_path / "turn"
    assert acquire_run_lock(token, "first", lambda run: True)
    assert acquire_run_lock(token, "first", lambda run: True)


def test_a_run_waits_while_the_holder_works_and_takes_over_when_it_has_ended(tmp_path):
    token = tmp_path / "turn"
    acquire_run_lock(token, "first", lambda run: True)
    assert not acquire_run_lock(token, "second", lambda run: run == "first")
    assert acquire_run_lock(token, "second", lambda run: False)
    assert not acquire_run_lock(token, "first", lambda run: run == "second")
