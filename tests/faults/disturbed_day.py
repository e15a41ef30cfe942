"""Let faults befall the tasks of a prepared day, and compare what they publish."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from random import Random

from tests.faults.arrivals import find_wrong_arrivals, list_arrivals
from tests.faults.faults import CORRUPTION, DISK_FAULTS, KILLS, LINK_FAULT, Fault
from tests.faults.forked import Outcome, run_together
from tests.faults.home_state import (
    count_sent,
    find_differences,
    find_torn,
    list_half_written,
    read_home,
)
from tests.faults.prepared_day import PreparedDay
from tests.faults.schedule import Case, draw_kill
from tests.helpers.sftp_server import CuttingProxy

ADVICE = ("Free space", "Give the user that runs Banyan the right", "Check the disk")
"""What a message about a disk tells a person to do."""
MAX_CUTS = 20
MAX_PROBLEMS = 5


@dataclass
class Result:
    """What happened in a case, or in a walk through the day."""

    kills: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    """Kind of fault -> how often a task refused because of it."""
    problems: list[str] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def add(self, where: str, problems: list[str]) -> None:
        """Add problems, and where they were found; the first ones suffice."""
        self.problems += [f"{where}: {problem}" for problem in problems[:MAX_PROBLEMS]]

    def add_outcome(self, fault: Fault, outcome: Outcome, home: str) -> None:
        """Count what a fault did; a disk that fails must give one clear error."""
        if outcome.state == "killed" and fault.kind in KILLS:
            self.kills += 1
        elif outcome.state == "refused" and fault.kind in DISK_FAULTS:
            self.refusals[fault.kind] = self.refusals.get(fault.kind, 0) + 1
            if home not in outcome.message or not any(map(outcome.message.__contains__, ADVICE)):
                self.problems.append(f"{fault}: no clear error: {outcome.message}")
        elif outcome.state != "done":
            self.problems.append(f"{fault}: {outcome.state}: {outcome.message}")


class DisturbedDay:
    """A prepared day whose tasks are disturbed."""

    def __init__(self, day: PreparedDay):
        self.day = day

    def run_case(self, case: Case) -> Result:
        """Let the faults of `case` befall its task, run it to its end and compare."""
        day, result, started = self.day, Result(), self.day.cpu_seconds
        number = day.tasks.index(case.task)
        before, after = day.states[number], day.states[number + 1]
        is_cut = any(fault.kind == LINK_FAULT for fault in case.faults)
        day.restore(number)
        arrived = list_arrivals(day.server.inbox)
        for fault in case.faults:
            if fault.kind == CORRUPTION:
                for path in list_half_written(day.home, before):
                    content = path.read_bytes()
                    path.write_bytes(content[: len(content) // 2] + b"\0 torn")
                continue
            outcome = self._befall(case.task, fault)
            result.add_outcome(fault, outcome, f"{day.home}")
            found = read_home(day.home)
            if not is_cut:
                result.add(f"after {fault}", find_torn(day.home, before, after, found))
            arrived |= list_arrivals(day.server.inbox)
        shards = day.list_shards(case.task)
        for where in ("in the end", "run again")[: 1 + case.repeats]:
            outcomes = [day.run(case.task, shards[index]) for index in case.order]
            self._compare(where, number + 1, outcomes, result, is_cut=is_cut)
            inbox, expected = day.server.inbox, day.kept(number + 1) / "inbox"
            result.add(where, find_wrong_arrivals(inbox, expected, arrived))
            arrived = list_arrivals(inbox)
        result.cpu_seconds = day.cpu_seconds - started
        return result

    def run_walk(self, seed: int) -> Result:
        """Run the day in an order that the DAG allows, with kills, and once more undisturbed.

        Mapped tasks run in any order, and two at the same time.
        """
        day, result, started = self.day, Result(), self.day.cpu_seconds
        random = Random(f"{seed}/walk")
        day.restore(0)
        done: set[str] = set()
        while ready := [task for task in day.tasks if self._is_ready(task, done)]:
            task = random.choice(ready)
            outcomes = self._walk_through(task, random, result)
            result.add(task, [each.message for each in outcomes if each.state != "done"])
            done.add(task)
        last = len(day.tasks)
        self._compare("in the end", last, [], result)
        arrived = list_arrivals(day.server.inbox)
        for task in day.tasks:
            day.run_whole(task)
        self._compare("run again", last, [], result)
        wrong = find_wrong_arrivals(day.server.inbox, day.kept(last) / "inbox", arrived)
        result.add("run again", wrong)
        result.cpu_seconds = day.cpu_seconds - started
        return result

    def _is_ready(self, task: str, done: set[str]) -> bool:
        return task not in done and self.day.dag.get_task(task).upstream_task_ids <= done

    def _walk_through(self, task: str, random: Random, result: Result) -> list[Outcome]:
        """Run all mapped tasks of `task`; half of them are killed before."""
        day = self.day
        shards = list(enumerate(day.list_shards(task)))
        random.shuffle(shards)
        for index, _ in shards:
            if random.random() < 0.5:
                _, kill = draw_kill(random, day.profiles[task])
                kill = replace(kill, instance=index)
                result.add_outcome(kill, self._befall(task, kill), f"{day.home}")
        outcomes = []
        while shards:
            together = [shards.pop() for _ in range(min(len(shards), random.choice((1, 2))))]
            works = [day.make_work(task, shard) for _, shard in together]
            outcomes += run_together(works, day.home, day.log)
        day.cpu_seconds += sum(outcome.cpu_seconds for outcome in outcomes)
        return outcomes

    def _compare(
        self,
        where: str,
        number: int,
        outcomes: list[Outcome],
        result: Result,
        *,
        is_cut: bool = False,
    ) -> None:
        """Require that all tasks are done, and that the home is as before task `number`."""
        result.add(where, [f"{each}" for each in outcomes if each.state != "done"])
        expected, found = self.day.states[number], read_home(self.day.home)
        if is_cut:
            expected, found = expected.without_ledger(), found.without_ledger()
        result.add(where, find_differences(expected, found))
        sent, wanted = count_sent(self.day.home), count_sent(self.day.kept(number) / "home")
        if sent != wanted or any(times > 1 for times in sent.values()):
            result.add(where, ["the ledger has a match that was sent twice or not at all"])

    def _befall(self, task: str, fault: Fault) -> Outcome:
        shard = self.day.list_shards(task)[fault.instance]
        with ExitStack() as stack:
            growth = self.day.profiles[task].growth
            stack.enter_context(self.day.disk.failing(fault, growth))
            if fault.kind == LINK_FAULT:
                stack.enter_context(self._cut_links(int(fault.amount)))
            return self.day.run(task, shard, fault)

    @contextmanager
    def _cut_links(self, after: int) -> Iterator[None]:
        """Let each link to the server be cut after so many bytes, by a proxy in its own process."""
        from_proxy, to_parent = os.pipe()
        proxy = os.fork()
        if not proxy:
            port = CuttingProxy(self.day.server.port, cuts=[after] * MAX_CUTS).port
            os.write(to_parent, f"{port}\n".encode())
            while True:  # its threads work until it is killed
                time.sleep(60)
        os.close(to_parent)
        try:
            with os.fdopen(from_proxy, encoding="ascii") as pipe:
                self.day.connect(int(pipe.readline()))
            yield
        finally:
            os.kill(proxy, signal.SIGKILL)
            os.waitpid(proxy, 0)
            self.day.connect(self.day.server.port)
