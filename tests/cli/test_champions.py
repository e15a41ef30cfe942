"""`champions` lists the tenure of each model and the reason for its promotion."""

import json
from datetime import date
from pathlib import Path

from models.champion import registry
from models.scoring.estimators import Prior
from pipelines.cli.app import main
from pipelines.core.settings import Settings


def test_the_table_and_the_figures_list_tenures_with_reasons(tmp_path: Path, capsys):
    for day, reason in ((2, "the first"), (9, "on 840 outcomes AUC 0.9 against 0.8")):
        as_of = date(2026, 3, day)
        facts = {"source": "prior", "rows": 1234, "trained_as_of": f"{as_of}"}
        manifest = {"decisions": {"approval": {"decision": "promoted", "reason": reason}}}
        entry = registry.ModelVersion(Prior("approval", "too few"), facts)
        registry.save_set(Settings(home=tmp_path), as_of, {"approval": entry}, manifest=manifest)
    assert main(["champions", "--home", str(tmp_path)]) == 0
    head, first, second, figures = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["model", "from", "to"]
    assert first.split()[:4] == ["approval", "2026-03-02", "2026-03-08", "2026-03-02"]
    assert second.endswith("on 840 outcomes AUC 0.9 against 0.8")
    assert [row["until"] for row in json.loads(figures)["approval"]] == ["2026-03-08", None]


def test_an_empty_registry_is_reported(tmp_path: Path, capsys):
    assert main(["champions", "--home", str(tmp_path)]) == 0
    assert "No model has been trained yet." in capsys.readouterr().out
