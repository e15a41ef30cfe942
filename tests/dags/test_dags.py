"""Every DAG parses without heavy imports, describes itself and follows the shared rules."""

import re
import subprocess
import sys
from itertools import pairwise

import pytest
from airflow.dag_processing.dagbag import DagBag

from dags.alerts import FailureAlert, RecoveryAlert
from dags.local.environment import DAGS
from dags.steps import STEPS
from pipelines.core.settings import PROJECT

bag = DagBag(DAGS)
every_dag = pytest.mark.parametrize("dag", bag.dags.values(), ids=lambda dag: dag.dag_id)
HEAVY = {"dbt", "duckdb", "great_expectations", "lightgbm", "numpy", "ortools", "pandas", "pyarrow"}


def test_every_dag_file_parses():
    assert bag.import_errors == {}
    assert set(bag.dags) == {
        *("apply_retention", "check_deadline", "daily_match", "retrain_models", "send_waiting")
    }


@every_dag
def test_a_dag_has_a_description_and_no_catchup(dag):
    assert len(dag.doc_md) > 200
    assert dag.tags
    assert not dag.catchup
    assert dag.max_active_runs == 1


@every_dag
def test_every_task_has_retries_a_timeout_and_the_name_of_its_step(dag):
    assert dag.tasks
    for task in dag.tasks:
        assert task.retries >= 1
        assert task.execution_timeout.total_seconds() > 0
        assert task.task_id in {"await_turn", *STEPS}


@every_dag
def test_every_dag_has_the_parameter_business_date(dag):
    assert dag.params.get_param("business_date").schema["format"] == "date"


@every_dag
def test_every_task_that_fails_for_good_sends_an_alert(dag):
    for task in dag.tasks:
        assert any(isinstance(each, FailureAlert) for each in task.on_failure_callback)
    last = dag.leaves[0]
    recovers = any(isinstance(each, RecoveryAlert) for each in last.on_success_callback)
    assert recovers == (dag.dag_id not in {"apply_retention", "check_deadline", "send_waiting"})


def test_only_tasks_that_open_the_warehouse_use_its_pool():
    pooled = [task.task_id for task in bag.dags["daily_match"].tasks if task.pool == "warehouse"]
    assert sorted(pooled) == ["features", "intermediate", "marts", "staging"]


def test_the_day_runs_step_after_step():
    dag = bag.dags["daily_match"]
    order = [task.task_id for task in dag.topological_sort()]
    assert order == [
        *("await_turn", "plan_ingest", "ingest", "collect"),
        *("staging", "intermediate", "features", "marts"),
        *("train", "score", "match", "sign_off", "plan_deliver", "deliver"),
        *("follow_up", "send", "report", "close"),
    ]
    for before, after in pairwise(order):
        assert before in dag.get_task(after).upstream_task_ids


def test_the_report_always_runs_and_close_fails_after_any_failure():
    dag = bag.dags["daily_match"]
    assert dag.get_task("report").trigger_rule == "all_done"
    assert [task.task_id for task in dag.leaves] == ["close"]
    assert {"deliver", "report"} <= dag.get_task("close").upstream_task_ids
    assert dag.get_task("close").trigger_rule == "none_failed"


def test_sources_and_institutions_are_mapped_in_shards():
    dag = bag.dags["daily_match"]
    assert {task.task_id for task in dag.tasks if task.is_mapped} == {"ingest", "deliver"}


def test_every_asset_is_an_outlet():
    outlets = {out.name for dag in bag.dags.values() for task in dag.tasks for out in task.outlets}
    assert outlets == {
        f"banyan-{name}" for name in ("lake", "matches", "models", "outbox", "reports")
    }


@pytest.mark.parametrize("path", sorted(DAGS.rglob("*.py")), ids=lambda path: path.name)
def test_no_dag_file_is_named_like_a_dbt_plugin(path):
    assert not path.name.startswith("dbt_")  # dbt imports every dbt_* module it finds on sys.path


def test_the_table_of_schedules_names_every_dag():
    table = (DAGS / "README.md").read_text()
    assert all(f"| `{dag_id}` |" in table for dag_id in bag.dags)


def test_parsing_imports_nothing_heavy():
    program = (
        "import sys; from airflow.dag_processing.dagbag import DagBag;"
        f"bag = DagBag({str(DAGS)!r}); print(len(bag.dags), *sorted(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    count, *modules = printed.stdout.splitlines()[-1].split()
    assert int(count) == 5
    assert {"airflow", "dags.task_runner", "dags.steps"} <= set(modules)
    assert HEAVY.isdisjoint(modules)


def test_only_dags_import_airflow():
    folders = [PROJECT / name for name in ("expectations", "models", "pipelines")]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    assert sources
    imports = re.compile(r"^\s*(?:import|from) airflow\b", re.MULTILINE)
    assert not [path for path in sources if imports.search(path.read_text("utf-8"))]
