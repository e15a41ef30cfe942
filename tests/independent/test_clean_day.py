"""A first day without any fault is fit, without a remark; `make prove` has it by the commands."""

import json
from pathlib import Path

from pipelines.core.settings import Settings
from tests.e2e.restrictions.test_reported_inputs import FIRST, LENDERS, LOST_RULES, write_market
from tests.helpers.remembered_gate import remembered_gate
from tests.independent.quick_run import at_date, compile_once, run_day
from tests.independent.small_market import DAY


def test_a_first_day_without_any_fault_is_fit_without_a_remark(tmp_path: Path):
    settings = Settings(home=tmp_path, threads=1, memory_limit="1GB")
    write_market(settings.home)
    queries = at_date(compile_once(settings, DAY), DAY, FIRST)
    with remembered_gate():
        assert run_day(settings, FIRST, queries)["verdict"] == "fit"
    quality = json.loads((tmp_path / f"reports/date={FIRST}/quality.json").read_text())
    assert {finding["severity"] for finding in quality["findings"]} == {"fit"}
    sent = {path.parent.name for path in tmp_path.glob("outbox/*/*/leads.csv")}
    assert set(LOST_RULES) < sent <= set(LENDERS)
