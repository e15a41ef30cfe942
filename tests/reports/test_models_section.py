"""The report states champions, rejected challengers and the trigger of a training."""

from datetime import date
from pathlib import Path

from models.champion import registry
from models.scoring.estimators import Prior
from pipelines.core.settings import Settings
from pipelines.reports.findings import champion_findings
from pipelines.reports.sections.models import ModelSet, load_model_set

AS_OF = date(2026, 11, 18)
REASON = "worse beyond chance: AUC 0.70 against 0.80"


def publish_model_set(home: Path) -> ModelSet:
    facts = {
        "source": "model",
        "rows": 5,
        "trained_as_of": "2026-11-09",
        "champion_since": "2026-11-09",
    }
    version = registry.ModelVersion(Prior("approval", "used in place of a model"), facts)
    psi = {"model": "", "what": "leads: income_monthly", "statistic": "psi", "value": 0.4}
    manifest = {
        "training": {"trigger": "drift", "figures": [psi | {"limit": 0.25, "rows": 900}]},
        "decisions": {"approval": {"decision": "retained", "reason": REASON}},
    }
    settings = Settings(home=home)
    versions = {"approval": version}
    registry.save_set(settings, AS_OF, versions, rejected=versions, manifest=manifest)
    return load_model_set(settings, AS_OF)


def test_the_champion_and_the_last_decision_are_read_from_the_set(tmp_path: Path):
    (row,) = publish_model_set(tmp_path).champions
    assert (row.model, row.trained_as_of, row.decision) == ("approval", "2026-11-09", "retained")
    assert row.reason == REASON


def test_a_rejected_challenger_and_a_trigger_are_findings_of_the_day_of_training(tmp_path: Path):
    model_set = publish_model_set(tmp_path)
    trigger, rejected = champion_findings(AS_OF, model_set)
    assert trigger.evidence == "drift: leads: income_monthly 0.4 (psi, limit 0.25)"
    assert "approval" in rejected.title
    assert rejected.evidence == REASON
    assert list(champion_findings(date(2026, 11, 19), model_set)) == []
