"""The declared lineage is closed: each input is written by a step, or comes from outside."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from dags.lineage.datasets import Dataset, describe_day
from dags.lineage.picture import FILE, draw_lineage, follow_column
from dags.local.environment import lineage_environment
from dags.steps import STEPS
from expectations.contracts import load
from pipelines.core.settings import Settings

OUTSIDE = ("landing/", "policy/")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Dataset]:
    return describe_day(Settings(home=tmp_path_factory.mktemp("home")), STEPS)


def test_every_input_is_written_by_a_step_or_comes_from_outside(day: Mapping[str, Dataset]):
    read = {name for each in day.values() for name in each.inputs}
    assert {name for name in read - day.keys() if not name.startswith(OUTSIDE)} == set()
    origins = {
        place for each in day.values() for origin in each.columns.values() for place in origin
    }
    assert {
        name for name, _ in origins if name not in day and not name.startswith(OUTSIDE)
    } == set()


def test_every_column_of_a_lead_that_an_institution_may_ask_for_has_its_feed_as_origin(
    day: Mapping[str, Dataset],
):
    received = [column.name for column in load("leads").columns if not column.protected]
    columns = day["outbox/leads"].columns
    assert "amount" in received
    lost = [
        name
        for name in received
        if name in columns
        and ("landing/leads", name) not in follow_column(day, "outbox/leads", name)
    ]
    assert lost == []
    protected = {column.name for column in load("leads").columns if column.protected}
    assert protected
    assert protected & columns.keys() == set()


def test_the_picture_is_the_one_of_the_code(day: Mapping[str, Dataset]):
    assert FILE.read_text("utf-8") == draw_lineage(dict(day)), "run `make docs`"


def test_it_is_off_unless_it_is_switched_on(tmp_path: Path):
    assert lineage_environment(Settings(home=tmp_path)) == {
        "AIRFLOW__OPENLINEAGE__DISABLED": "True"
    }
    on = lineage_environment(Settings(home=tmp_path, lineage=True))
    assert on["AIRFLOW__OPENLINEAGE__DISABLED"] == "False"
    assert str(tmp_path / "lineage" / "events.jsonl") in on["AIRFLOW__OPENLINEAGE__TRANSPORT"]
