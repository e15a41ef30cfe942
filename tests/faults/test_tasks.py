"""Faults befall each task of the day; in the end it has published what it would have anyway.

A fault is a kill at a random point, a disk that is full, read-only or can't sync, or a link that is
cut. `--fault-seed N` draws another schedule; a test that fails prints it.
`--fault-case TASK/NUMBER` runs one case of it alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.faults.conftest import DayServer, serve_day
from tests.faults.faults import DISK_FAULTS
from tests.faults.schedule import LIKE_MARTS, Case, describe, draw_case
from tests.helpers.representatives import keep

KILLS, PROOF_KILLS = 45, 500
ROUNDS = 9
"""Cases of each task in a proof."""
WALKS = 4


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DayServer]:
    """The first date of a small market."""
    with serve_day(tmp_path_factory.mktemp("first"), dates=1) as day:
        yield day


@pytest.fixture(scope="module")
def second_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DayServer]:
    """A date that has deliveries, receipts, returns and orders of the date before."""
    with serve_day(tmp_path_factory.mktemp("second"), dates=2) as day:
        yield day


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--fault-seed"))


@pytest.fixture
def chosen(request: pytest.FixtureRequest) -> str | None:
    """The one case to run; None: all."""
    name: str | None = request.config.getoption("--fault-case")
    return name


def run_cases(
    day: DayServer, seed: int, cases: Sequence[Case], chosen: str | None
) -> list[tuple[Case, dict[str, Any]]]:
    """Run the cases, or the chosen one, and require that none has a problem."""
    cases = [case for case in cases if chosen in {None, case.name}]
    assert cases, f"no case of this test is {chosen}"
    print(describe(seed, cases))  # noqa: T201 - pytest shows it if the test fails
    results = [(case, day.run(case)) for case in cases]
    problems = [
        f"{case}\n  {problem}\n  repeat it: --fault-seed {seed} --fault-case {case.name}"
        for case, result in results
        for problem in result["problems"]
    ]
    assert not problems, "\n".join(problems)
    return results


def count_kills(results: Sequence[tuple[Case, dict[str, Any]]]) -> int:
    return sum(result["kills"] for _, result in results)


def count_refusals(results: Sequence[tuple[Case, dict[str, Any]]]) -> Counter[tuple[str, str]]:
    """Count by task and fault how often the task refused because of it."""
    counts: Counter[tuple[str, str]] = Counter()
    for case, result in results:
        counts.update({(case.task, kind): times for kind, times in result["refusals"].items()})
    return counts


@pytest.mark.parametrize("is_like_marts", keep((0,), [False, True]))
def test_kills_and_a_failing_disk_change_nothing_that_a_task_publishes(
    first_day, seed, chosen, is_like_marts
):
    profiles = [
        profile
        for task, profile in first_day.profiles.items()
        if (task in LIKE_MARTS) == is_like_marts
    ]
    cases = [draw_case(seed, 0, profile, is_proof=False) for profile in profiles]
    if not any(chosen in {None, case.name} for case in cases):
        pytest.skip(f"{chosen} is no case of this test")
    results = run_cases(first_day, seed, cases, chosen)
    if is_like_marts:
        assert {case.task for case in cases} == LIKE_MARTS
    elif chosen is None:
        assert count_kills(results) >= KILLS
        assert {kind for _, kind in count_refusals(results)} == set(DISK_FAULTS)


@pytest.mark.prove
def test_500_kills_and_every_fault_in_every_task(second_day, seed, chosen):
    profiles = second_day.profiles.values()
    cases = [
        draw_case(seed, number, profile, is_proof=True)
        for number in range(ROUNDS)
        for profile in profiles
    ]
    results = run_cases(second_day, seed, cases, chosen)
    if chosen is not None:
        return
    assert count_kills(results) >= PROOF_KILLS
    refusals = count_refusals(results)
    for profile in profiles:
        if profile.writes:
            assert refusals[profile.task, "read_only"], profile.task
        if profile.needs_space:
            assert refusals[profile.task, "disk_full"], profile.task
        if profile.syncs:
            assert refusals[profile.task, "fsync_fails"], profile.task


@pytest.mark.prove
@pytest.mark.parametrize("walk", range(WALKS))
def test_tasks_in_any_order_that_the_dag_allows_and_a_day_that_is_run_again(second_day, seed, walk):
    result = second_day.walk(seed + walk)
    assert not result["problems"], "\n".join(result["problems"])


def test_the_same_seed_draws_the_same_schedule(first_day):
    profiles = first_day.profiles.values()
    one, other, third = (
        [f"{draw_case(seed, 3, profile, is_proof=True)}" for profile in profiles]
        for seed in (1, 1, 2)
    )
    assert one == other
    assert one != third
