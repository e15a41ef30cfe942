"""The task that asks for a decision records the answer, and goes on or refuses by it."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from dags.sign_off import SignOffOperator
from dags.task_runner import StepRefused
from expectations import policy
from expectations.policy_types import SignOffRules
from pipelines.core.errors import DeliveryOnHold
from pipelines.core.evidence.sign_offs import read_sign_offs
from pipelines.core.home.schema_version import write_version
from pipelines.core.publishing import publishing
from pipelines.core.settings import Settings

DAY = date(2026, 3, 5)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Settings:
    """A home with the matches of a day, whose policy holds every day."""
    monkeypatch.setenv("BANYAN_HOME", str(tmp_path))
    rules = SignOffRules(hold="always", decided_on=DAY, source="test")
    monkeypatch.setattr(policy, "sign_off", lambda: rules)
    settings = Settings(home=tmp_path)
    write_version(settings)
    with publishing(settings.day_folder(settings.matches, DAY), {}) as folder:
        (folder / "rows.txt").write_text("rows")
    return settings


def context() -> Any:
    moment = datetime(2026, 3, 4, 16, tzinfo=UTC)  # midnight in Shanghai
    task = SimpleNamespace(dag_id="daily_match", run_id="r", task_id="sign_off", map_index=-1)
    return {"ti": task, "logical_date": moment, "params": {"business_date": None}}


def answer(choice: str, note: str = "") -> dict[str, Any]:
    return {
        "chosen_options": [choice],
        "params_input": {"note": note},
        "responded_at": datetime(2026, 3, 6, tzinfo=UTC),
        "responded_by_user": {"id": "7", "name": "Li Lei"},
    }


def test_without_a_server_the_task_fails_with_the_words_of_the_hold(home: Settings):
    task = SignOffOperator(task_id="sign_off")
    task.waits = False
    with pytest.raises(StepRefused, match="waits for a decision") as refused:
        task.execute(context())
    assert isinstance(refused.value.refusal, DeliveryOnHold)


def test_an_answer_is_recorded_and_decides(home: Settings):
    task = SignOffOperator(task_id="sign_off")
    task.waits = False
    with pytest.raises(StepRefused, match="waits"):
        task.execute(context())
    with pytest.raises(StepRefused, match="decided to be not fit by Li Lei"):
        task.execute_complete(context(), answer("not_fit", "wrong prices"))
    assert task.execute_complete(context(), answer("remarks"))["state"] == "open"
    assert task.execute(context())["state"] == "open"
    entries = read_sign_offs(home, DAY)
    assert [(entry.decision, entry.by, entry.via) for entry in entries] == [
        ("not_fit", "Li Lei", "Airflow"),
        ("remarks", "Li Lei", "Airflow"),
    ]
    assert entries[0].note == "wrong prices"


def test_an_answer_is_awaited_for_days_and_the_work_itself_has_its_limit():
    task = SignOffOperator(task_id="sign_off", execution_timeout=None)
    assert task.response_timeout.days == 7
    assert set(task.options) == {"fit", "remarks", "not_fit"}
