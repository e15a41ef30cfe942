"""The report says who serves, who was refused and what caused a training."""

from datetime import date
from pathlib import Path

from models.champion import registry
from models.scoring.estimators import Prior
from pipelines.core.settings import Settings
from pipelines.reports.report_data import ModelSet
from pipelines.reports.sections.champion_status import seat_findings, seated

AS_OF = date(2026, 11, 18)
REASON = "worse beyond chance: AUC 0.70 against 0.80"


def model_set(home: Path) -> ModelSet:
    facts = {
        "source": "model",
        "rows": 5,
        "trained_as_of": "2026-11-09",
        "champion_since": "2026-11-09",
    }
    entry = registry.Entry(Prior("approval", "stands in for a model here"), facts)
    psi = {"model": "", "what": "leads: income_monthly", "statistic": "psi", "value": 0.4}
    said = {
        "because": {"trigger": "drift", "figures": [psi | {"limit": 0.25, "rows": 900}]},
        "decisions": {"approval": {"decision": "kept", "reason": REASON}},
    }
    settings = Settings(home=home)
    registry.save(settings, AS_OF, {"approval": entry}, refused={"approval": entry}, said=said)
    return seated(settings, ModelSet(f"{AS_OF}"))


def test_who_serves_and_why_is_read_from_the_set(tmp_path: Path):
    (seat,) = model_set(tmp_path).seats
    assert (seat.model, seat.trained_as_of, seat.decision) == ("approval", "2026-11-09", "kept")
    assert seat.reason == REASON


def test_a_refused_challenger_and_a_cause_are_told_on_the_day_of_the_decision(tmp_path: Path):
    found = model_set(tmp_path)
    caused, refused = seat_findings(AS_OF, found)
    assert caused.evidence == "drift: leads: income_monthly 0.4 (psi, limit 0.25)"
    assert refused.what == "The challenger of the approval model was refused"
    assert refused.evidence == REASON
    assert list(seat_findings(date(2026, 11, 19), found)) == []
