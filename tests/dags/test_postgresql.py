"""The compose file's migration runs on a real PostgreSQL, and Airflow finds the DAGs from there."""

import json

from pipelines.core.settings import Settings
from tests.helpers.servers import command, environment_on, postgresql, run


def listed(what: str, environment: dict[str, str]) -> list[dict[str, str]]:
    printed = run(["airflow", what, "list", "--output", "json"], environment)
    return json.loads(printed.splitlines()[-1])


def test_migration_on_postgresql_gives_the_dags_and_the_pool_of_one_slot(tmp_path):
    with postgresql() as database:
        environment = environment_on(Settings(home=tmp_path), database)
        run(command("migration"), environment)
        run(["airflow", "dags", "reserialize"], environment)
        dags, pools = (
            json.loads(
                run(["airflow", what, "list", "--output", "json"], environment).splitlines()[-1]
            )
            for what in ("dags", "pools")
        )
    assert {dag["dag_id"] for dag in dags} == {"daily_match", "retrain_models"}
    assert {"warehouse": "1"}.items() <= {pool["pool"]: pool["slots"] for pool in pools}.items()
    assert not (tmp_path / "airflow" / "airflow.db").exists()
