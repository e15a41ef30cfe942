"""One day of a small market, task by task as the DAG has them, run undisturbed.

A copy of the home is kept before each task and after the last one, and a profile of what each task
did. It forks for each task and mounts a disk that it can fill, so it is a program of its own with
one thread and a mount namespace: see `fault_server`.
"""

import gc
import importlib
import os
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator

from dags import run_lock
from dags.daily_match import daily_match
from dags.run_lock import AwaitTurn, hold_run_lock
from dags.sign_off import SignOffOperator
from dags.task_runner import StepOperator, run_task
from expectations import policy
from expectations.policy_types import Tries
from pipelines.core.publishing import code_version
from pipelines.core.settings import Settings
from pipelines.deliveries import deliver
from pipelines.deliveries.signatures import publish_keys
from pipelines.transform.warehouse import run_dbt
from tests.faults.disk import Disk, keep_copy, make_equal
from tests.faults.faults import Fault
from tests.faults.forked import Outcome, run_forked
from tests.faults.home_state import HomeState, read_home
from tests.faults.market import BY_SFTP, DAY, land_answers, land_market
from tests.faults.schedule import PAGE, Profile
from tests.helpers.sftp_server import SftpServer

IMPORTED = (
    *("pipelines.billing.follow_up", "pipelines.deliveries.deliver"),
    *("pipelines.ingest.partitions", "pipelines.ingest.plan", "pipelines.ingest.shard"),
    *("pipelines.matches.match_day", "pipelines.pairs.score_day"),
    *("pipelines.reports.metrics", "pipelines.reports.publish_report"),
    *("pipelines.reports.reconcile_day", "pipelines.simulate.simulate"),
    *("pipelines.training.weekly", "pipelines.transform.build", "pipelines.transport.send"),
    "dags.sftp_connections",
)
"""What the steps import when they run; a child process finds it imported."""
QUICK = Tries(
    attempts=2,
    first_pause_seconds=0.05,
    longest_pause_seconds=0.1,
    seconds_per_institution=60,
    silence_seconds=10,
    parallel=2,
)
LEAST_GROWTH = 100_000
"""Bytes by which the home grows where a task writes more than its cost."""


class PreparedDay:
    """The day, with a copy of the home before each task and after the last one."""

    def __init__(self, folder: Path, dates: int, server: SftpServer):
        self.folder, self.server = folder, server
        self.disk = Disk(folder / "home")
        self.home = self.disk.folder
        self.log = folder / "log"
        self.cpu_seconds = 0.0
        """Processor seconds of all child processes."""
        self.dag = daily_match()
        self.tasks = [task.task_id for task in self.dag.topological_sort()]
        self.states: list[HomeState] = []
        """What the home has before each task, and after the last one."""
        self.profiles: dict[str, Profile] = {}
        self._shards: dict[str, list[Any]] = {}
        self._prepare_process()
        self._run_undisturbed(dates)

    def run(
        self, task: str, shard: Any, fault: Fault | None = None, day: date = DAY, **options: bool
    ) -> Outcome:
        """Run one (mapped) task in a child process, which `fault` may befall."""
        work = self.make_work(task, shard, day)
        seconds = self.profiles[task].cpu_seconds[fault.instance] if fault else 0.0
        outcome = run_forked(work, self.home, self.log, fault, cpu_seconds=seconds, **options)
        self.cpu_seconds += outcome.cpu_seconds
        return outcome

    def run_whole(self, task: str, day: date = DAY, **options: bool) -> list[Outcome]:
        """Run all mapped tasks of `task`; one that fails ends the program."""
        outcomes = []
        for shard in self.list_shards(task):
            outcome = self.run(task, shard, day=day, **options)
            assert outcome.state == "done", f"{task} of {day}: {outcome.message}"
            if isinstance(outcome.value, list):
                self._shards[task] = outcome.value
            outcomes.append(outcome)
        return outcomes

    def make_work(self, task: str, shard: Any, day: date = DAY) -> Callable[[], Any]:
        """Return what the operator of `task` does, without an Airflow around it."""
        operator = self.dag.get_task(task)
        is_mapped = isinstance(operator, MappedOperator)
        kind = operator.operator_class if is_mapped else type(operator)
        kinds = {AwaitTurn, SignOffOperator, StepOperator}
        assert kind in kinds, f"{task} is a kind of task that nothing disturbs"

        def work() -> Any:
            context: Any = {"ti": SimpleNamespace(dag_id=self.dag.dag_id, run_id=f"{day}")}
            hold_run_lock(BaseOperator(task_id=task), context)
            return None if kind is AwaitTurn else run_task(Settings(), day, task, task, shard)

        return work

    def list_shards(self, task: str) -> list[Any]:
        """Return the shards of a mapped task, as the task that plans them returned them."""
        operator = self.dag.get_task(task)
        if not isinstance(operator, MappedOperator):
            return [None]
        (planned_by,) = operator.iter_mapped_dependencies()
        return self._shards[planned_by.task_id]

    def connect(self, port: int) -> None:
        """Let institutions be reached at `port`."""
        for name in BY_SFTP:
            variable = f"AIRFLOW_CONN_BANYAN_SFTP_{name.upper()}"
            os.environ[variable] = self.server.connection(port)

    def restore(self, number: int) -> None:
        """Make home and inbox what they were before task `number`."""
        make_equal(self.home, self.kept(number) / "home")
        make_equal(self.server.inbox, self.kept(number) / "inbox")

    def kept(self, number: int) -> Path:
        """Return the copy of home and inbox from before task `number`."""
        return self.folder / "states" / f"{number:02}"

    def _prepare_process(self) -> None:
        for name in IMPORTED:
            importlib.import_module(name)
        deliver.INSTITUTIONS_PER_SHARD = 2  # so that there are several shards
        transport = policy.transport()
        lifted = transport.model_copy(update={"going_live": {"sftp": "off"}, "tries": QUICK})
        policy.transport = lambda: lifted  # type: ignore[assignment]
        run_lock.is_active = lambda run: False  # there is no Airflow that has other runs
        self.connect(self.server.port)
        code_version()
        run_dbt(Settings(), DAY, "list", "--select=path:staging")  # what dbt makes at first use
        gc.collect()
        gc.freeze()

    def _run_undisturbed(self, dates: int) -> None:
        settings = Settings()
        self._do(lambda: land_market(settings, dates))
        self._do(lambda: publish_keys(settings))  # the keys are drawn at first use
        for back in range(dates - 1, 0, -1):
            for task in self.tasks:
                self.run_whole(task, DAY - timedelta(days=back))
        if dates > 1:
            self._do(lambda: land_answers(settings))
        self._keep()
        for task in self.tasks:
            used = self.disk.used
            outcomes = self.run_whole(task, records=True)
            self._keep()
            self.profiles[task] = self._describe(task, outcomes, self.disk.used - used)

    def _do(self, work: Callable[[], object]) -> None:
        outcome = run_forked(work, self.home, self.log)
        self.cpu_seconds += outcome.cpu_seconds
        assert outcome.state == "done", outcome.message

    def _keep(self) -> None:
        number = len(self.states)
        target = self.kept(number)
        keep_copy(self.home, target / "home", self.kept(number - 1) / "home")
        shutil.copytree(self.server.inbox, target / "inbox")
        self.states.append(read_home(self.home))

    def _describe(self, task: str, outcomes: list[Outcome], growth: int) -> Profile:
        *_, before, after = self.states
        written = dict(after.published.items() - before.published.items())
        files = [path for name in written if (path := self.home / name).is_file()]
        earlier = self.kept(len(self.states) - 2) / "home"
        folders = {folder for each in outcomes for _, folder in each.operations}
        return Profile(
            task=task,
            instances=len(outcomes),
            cpu_seconds=tuple(each.cpu_seconds for each in outcomes),
            operations=tuple(each.operations for each in outcomes),
            folders=tuple(sorted(name for name in folders if (earlier / name).is_dir())),
            growth=growth,
            needs_space=before != after or growth > LEAST_GROWTH,
            largest=max([PAGE, *(path.stat().st_size for path in files)]),
            has_link=task == "send",
        )
