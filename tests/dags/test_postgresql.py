"""The migration of the compose file runs on PostgreSQL, and Airflow then lists the DAGs."""

import json

import pytest

from pipelines.core.settings import Settings
from pipelines.operations.doctor import examine
from tests.helpers.servers import command, environment_on, postgresql, run


def list_objects(kind: str, environment: dict[str, str]) -> list[dict[str, str]]:
    printed = run(["airflow", kind, "list", "--output", "json"], environment)
    objects: list[dict[str, str]] = json.loads(printed.splitlines()[-1])
    return objects


@pytest.mark.prove
def test_migration_on_postgresql_creates_the_pool_and_airflow_lists_the_dags(tmp_path):
    with postgresql() as database:
        environment = environment_on(Settings(home=tmp_path), database)
        tmp_path.chmod(0o755)  # as the image makes it
        run(command("migration", tmp_path), environment)
        run(["airflow", "dags", "reserialize"], environment)
        dags, pools = (list_objects(kind, environment) for kind in ("dags", "pools"))
    assert {dag["dag_id"] for dag in dags} == {
        *("apply_retention", "check_deadline", "daily_match", "retrain_models", "send_waiting"),
    }
    assert {"warehouse": "1"}.items() <= {pool["pool"]: pool["slots"] for pool in pools}.items()
    assert not (tmp_path / "airflow" / "airflow.db").exists()
    assert [check for check in examine(Settings(home=tmp_path)) if check.state == "action"] == []
