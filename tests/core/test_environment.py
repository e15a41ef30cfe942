"""The surroundings of a process decide nothing: variables, text encoding and file modes."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import duckdb
import pendulum
import pytest
from pydantic import ValidationError

from pipelines.core.environment import is_suitable, protect_new_files
from pipelines.core.settings import PROJECT, Settings
from tests.helpers.representatives import keep

HOSTILE = {
    "DBT_TARGET": "prod",
    "DBT_PROFILES_DIR": "/nowhere",
    "DBT_WARN_ERROR": "true",
    "DBT_ENGINE_ANYTHING": "1",
    "GX_HOME": "/nowhere",
    "OMP_NUM_THREADS": "many",
    "OPENBLAS_NUM_THREADS": "7",
    "DUCKDB_HOME": "/nowhere",
    "ARROW_IO_THREADS": "none",
    "TZ": "Nowhere/Never",
}


def ended(program: str, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        cwd=PROJECT,
        env=os.environ | variables,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_variables_of_libraries_are_set_or_removed_before_a_library_is_imported():
    program = """
import os, sys, time
import pipelines.core.settings
print(not {"dbt", "airflow", "duckdb", "numpy", "lightgbm"} & sys.modules.keys())
print(sorted(n for n in os.environ if n.startswith(("DBT_", "GX_", "OMP_", "ARROW_", "DUCKDB_"))))
print(os.environ["OPENBLAS_NUM_THREADS"], os.environ["TZ"], time.tzname[0])
"""
    printed = ended(program, **HOSTILE)
    assert printed.stdout.splitlines() == [
        "True",
        "['DBT_SEND_ANONYMOUS_USAGE_STATS', 'GX_ANALYTICS_ENABLED']",
        "1 UTC UTC",
    ], printed.stderr


def test_another_airflow_and_a_proxy_are_removed_and_a_percent_sign_in_the_home_is_kept(tmp_path):
    home = tmp_path / "100% 的 home"
    program = f"""
import os
from pathlib import Path
from dags.local.environment import set_airflow_environment
from pipelines.core.settings import Settings
set_airflow_environment(Settings(home=Path({str(home)!r})))
from airflow.configuration import conf
print(conf.get("database", "sql_alchemy_conn"))
print(conf.get("core", "plugins_folder"), conf.get("logging", "base_log_folder"), sep="|")
print(conf.get("core", "fernet_key") == "another", conf.get("core", "executor"))
print([n for n in os.environ if "PROXY" in n.upper() and n != "NO_PROXY"])
"""
    printed = ended(
        program,
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:////other/production.db",
        AIRFLOW__CORE__FERNET_KEY="another",
        AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
        AIRFLOW_CONFIG="/other/airflow.cfg",
        AIRFLOW_HOME="/other",
        http_proxy="http://127.0.0.1:9",
        HTTPS_PROXY="http://127.0.0.1:9",
        PYTHONUTF8="1",
    )
    assert printed.stdout.splitlines() == [
        f"sqlite:///{home}/airflow/airflow.db",
        f"{home}/airflow/plugins|{home}/logs/airflow",
        "False LocalExecutor",
        "[]",
    ], printed.stderr


@pytest.mark.parametrize(
    "variables",
    keep(  # `is_suitable` is asked about single variables below
        (0,),
        [
            {
                "LC_ALL": "C",
                "PYTHONUTF8": "0",
                "PYTHONCOERCECLOCALE": "0",
                "PYTHONTZPATH": "/nowhere",
            },
            {"PYTHONIOENCODING": "gbk", "PYTHONPATH": "/somewhere/else", "PYTHONWARNINGS": "error"},
            {"PYTHONOPTIMIZE": "2", "LC_ALL": "C.UTF-8"},
        ],
    ),
)
def test_the_program_restarts_once_where_python_was_started_unsuitably(tmp_path, variables):
    (tmp_path / "名").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "deliver", "--date", "2026-03-05"],
        cwd=PROJECT,
        env=os.environ | variables | {"BANYAN_HOME": str(tmp_path / "名")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert f"{tmp_path / '名'}" in done.stderr
    assert "not published" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_ordinary_environment_needs_no_restart():
    assert is_suitable({"LANG": "C.UTF-8"})
    assert is_suitable({"PYTHONPATH": str(PROJECT)})
    assert not is_suitable({"PYTHONPATH": f"/elsewhere{os.pathsep}{PROJECT}"})


@pytest.mark.parametrize(
    "name", ["PYTHONIOENCODING", "PYTHONOPTIMIZE", "PYTHONTZPATH", "PYTHONWARNINGS"]
)
def test_a_variable_that_python_reads_as_it_starts_needs_a_restart(name):
    assert not is_suitable({name: "0"})


@pytest.mark.parametrize(
    "zone", ["Asia/Beijing", "asia/shanghai", "Asia", "", "../etc/localtime", "localtime", "a\0b"]
)
def test_a_time_zone_that_does_not_exist_is_refused_with_an_example(tmp_path, zone):
    with pytest.raises(ValidationError, match="such as Asia/Shanghai"):
        Settings(home=tmp_path, time_zone=zone)


@pytest.mark.parametrize(
    "amount", ["lots", "", "0GB", "0.0 MB", "-1GB", "80%", "4", "4GB; --", "1e9GB"]
)
def test_an_amount_of_memory_that_duckdb_cannot_read_is_refused(tmp_path, amount):
    with pytest.raises(ValidationError, match="such as 4GB or 512MB"):
        Settings(home=tmp_path, memory_limit=amount)


@pytest.mark.parametrize("amount", ["4GB", "512 MiB", "1.5gb", "900000KB", "10TB"])
def test_an_accepted_amount_of_memory_is_one_that_duckdb_reads(tmp_path, amount):
    limit = Settings(home=tmp_path, memory_limit=amount).memory_limit
    duckdb.connect(config={"memory_limit": limit}).close()


@pytest.mark.parametrize("umask", ["777", "9", "rwx", "0o77", "100"])
def test_a_umask_that_shuts_out_the_user_is_refused(tmp_path, umask):
    with pytest.raises(ValidationError):
        Settings(home=tmp_path, umask=umask)


def test_new_files_have_the_mode_600_and_folders_700_unless_the_setting_differs(tmp_path):
    before = os.umask(0)
    try:
        protect_new_files(Settings(home=tmp_path).umask)
        (tmp_path / "a").mkdir()
        (tmp_path / "a/file").write_text("", "utf-8")
        protect_new_files("027")
        (tmp_path / "b").mkdir()
        (tmp_path / "b/file").write_text("", "utf-8")
    finally:
        os.umask(before)
    modes = {
        n: f"{(tmp_path / n).stat().st_mode & 0o777:o}" for n in ("a", "a/file", "b", "b/file")
    }
    assert modes == {"a": "700", "a/file": "600", "b": "750", "b/file": "640"}


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-24T01:00:00+03:00"),
        ("America/Santiago", date(2026, 9, 6), "2026-09-06T01:00:00-03:00"),
        ("Asia/Beirut", date(2026, 3, 29), "2026-03-29T01:00:00+03:00"),
        ("America/Havana", date(2026, 11, 1), "2026-11-01T00:00:00-04:00"),
        ("Asia/Shanghai", date(2026, 4, 24), "2026-04-24T00:00:00+08:00"),
        ("Asia/Kolkata", date(2026, 4, 24), "2026-04-24T00:00:00+05:30"),
    ],
)
def test_a_date_begins_with_its_first_moment_that_exists(tmp_path, zone, day, start):
    found = Settings(home=tmp_path, time_zone=zone).day_start(day)
    assert found.isoformat() == start
    assert found.date() == day


def test_airflow_takes_the_start_of_every_date_for_a_moment_of_that_date(tmp_path):
    for zone in ("Africa/Cairo", "America/Santiago", "America/Havana", "Asia/Shanghai"):
        settings = Settings(home=tmp_path, time_zone=zone)
        for ordinal in range(date(2026, 1, 1).toordinal(), date(2027, 1, 1).toordinal()):
            day = date.fromordinal(ordinal)
            moment = pendulum.instance(settings.day_start(day).astimezone(UTC))
            assert moment.astimezone(settings.zone).date() == day, (zone, day)


def test_sql_and_python_agree_on_the_first_moment_of_each_date(tmp_path):
    macro = (PROJECT / "dbt_project/macros/time.sql").read_text("utf-8")
    body = macro.split("macro day_start(day) -%}")[1].split("{%- endmacro")[0]
    with duckdb.connect() as connection:
        for zone in ("Africa/Cairo", "America/Santiago", "America/Havana", "Asia/Shanghai"):
            sql = body.replace("""{{ var("time_zone") }}""", zone).replace("{{ day }}", "day")
            rows = connection.sql(
                f"select day, timezone('UTC', {sql}) as start from (select unnest("
                "range(date '2026-01-01', date '2027-01-01', interval 1 day))::date as day)"
            ).fetchall()
            for day, start in rows:
                expected = datetime.combine(day, time(), tzinfo=ZoneInfo(zone))
                assert start == expected.astimezone(UTC).replace(tzinfo=None), (zone, day)
