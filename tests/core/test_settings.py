"""Settings: paths below the home, business dates, and no usage statistics."""

import os
import subprocess
import sys
from datetime import date

from pipelines.core.settings import PROJECT, Settings


def test_every_path_is_below_the_home(tmp_path):
    settings = Settings(home=tmp_path)
    paths = [getattr(settings, name) for name in dir(Settings) if _is_path(name)]
    assert len(paths) > 12
    assert all(path.is_relative_to(tmp_path) for path in paths)


def _is_path(name: str) -> bool:
    is_property = getattr(Settings, name).__class__.__name__ == "cached_property"
    return is_property and name != "zone"


def test_a_business_date_begins_at_midnight_in_the_time_zone_of_the_platform(tmp_path):
    start = Settings(home=tmp_path, time_zone="Asia/Shanghai").day_start(date(2026, 3, 5))
    assert start.isoformat() == "2026-03-05T00:00:00+08:00"


def test_airflow_dbt_and_great_expectations_send_no_statistics(tmp_path):
    program = """
import os
import pipelines.core.settings
from dbt.cli.flags import Flags
from dbt.cli.main import cli
from airflow.configuration import conf

dbt = Flags(cli.make_context("dbt", ["build"], resilient_parsing=True))
print([
    dbt.SEND_ANONYMOUS_USAGE_STATS,
    os.environ["GX_ANALYTICS_ENABLED"],  # 1.24 sends nothing; other versions read this
    conf.getboolean("usage_data_collection", "enabled"),
])
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=os.environ | {"AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines()[-1:] == ["[False, 'false', False]"], ended.stderr
