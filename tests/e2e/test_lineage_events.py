"""Lineage events of a day that ran: valid, named as the contracts, from feed to lead file."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent

from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import SUNDAY, banyan

pytestmark = pytest.mark.prove

Column = tuple[str, str]


@pytest.fixture(scope="module")
def traced(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = copy_home(landed, tmp_path_factory.mktemp("traced"))
    process = banyan(home, "run", "--date", f"{SUNDAY}", BANYAN_LINEAGE="1")
    assert process.returncode == 0, process.stderr
    return home


def read_events(home: Path) -> list[dict[str, Any]]:
    lines = Settings(home=home).lineage_events.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def column_origins(events: list[dict[str, Any]]) -> dict[Column, set[Column]]:
    """Return the columns that each column of an output comes from."""
    return {
        (output["name"], column): {(each["name"], each["field"]) for each in origin["inputFields"]}
        for event in events
        for output in event.get("outputs", ())
        for column, origin in output["facets"].get("columnLineage", {}).get("fields", {}).items()
    }


def walk(origins: Mapping[Column, set[Column]], start: Column) -> Iterator[Column]:
    yield start
    for origin in origins.get(start, ()):
        yield from walk(origins, origin)


def test_every_event_is_a_valid_one_of_openlineage(traced: Path):
    events = read_events(traced)
    for event in events:
        RunEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            eventType=event["eventType"],
            run=Run(event["run"]["runId"], event["run"]["facets"]),
            job=Job(event["job"]["namespace"], event["job"]["name"], event["job"]["facets"]),
            inputs=[InputDataset(each["namespace"], each["name"]) for each in event["inputs"]],
            outputs=[OutputDataset(each["namespace"], each["name"]) for each in event["outputs"]],
        )
    done = {event["job"]["name"] for event in events if event["eventType"] == "COMPLETE"}
    assert done >= {f"daily_match.{step}" for step in ("collect", "marts", "match", "deliver")}
    places = {
        each["namespace"] for event in events for each in (*event["inputs"], *event["outputs"])
    }
    assert places == {"banyan"}


def test_a_column_of_a_lead_file_leads_back_to_its_feed(traced: Path):
    origins = column_origins(read_events(traced))
    assert ("landing/leads", "amount") in walk(origins, ("outbox/leads", "amount"))
    assert ("landing/leads", "amount") in walk(origins, ("marts/training_pairs", "amount"))
    assert ("matches", "suggested_apr") in walk(origins, ("outbox/leads", "suggested_apr"))
    file = next((traced / "outbox" / f"date={SUNDAY}").glob("*/leads.*"))
    delivered = lead_file.read(file).column_names
    assert delivered.pop() == "schema_version"  # a constant
    assert [name for name in delivered if ("outbox/leads", name) not in origins] == []


def test_a_mart_holds_the_values_of_the_columns_that_its_lineage_names(traced: Path):
    origins = column_origins(read_events(traced))
    carried = [
        column
        for (table, column), sources in origins.items()
        if table == "marts/leads" and sources == {("lake/leads", column)}
    ]
    assert "amount" in carried
    differs = ", ".join(
        f"count(*) filter (where mart.{name}::varchar is distinct from lake.{name}::varchar)"
        for name in ("amount", "currency", "segment", "captured_at")
    )
    (rows,) = duckdb.sql(
        f"""
        select count(*), {differs}
        from '{traced}/marts/date={SUNDAY}/leads.parquet' as mart
        join '{traced}/lake/leads/date={SUNDAY}/leads.parquet' as lake
            using (channel_id, lead_id)
        """
    ).fetchall()
    assert rows[0] > 0
    assert set(rows[1:]) == {0}


def test_the_inputs_in_the_manifests_are_in_the_lineage(traced: Path):
    events = read_events(traced)
    read = {each["name"] for event in events for each in event["inputs"]}
    read |= {each["name"] for event in events for each in event["outputs"]}
    manifests = [
        json.loads(path.read_text("utf-8")) for path in traced.glob("*/date=*/manifest.json")
    ]
    named = {
        name.partition("/date=")[0] for manifest in manifests for name in manifest.get("inputs", ())
    }
    assert named >= {"marts", "pairs", "lake/leads"}
    assert {name for name in named if not any(each.startswith(name) for each in read)} == set()


def test_without_the_setting_nothing_is_written(ran: CompletedRun):
    assert not (ran.home / "lineage").exists()
