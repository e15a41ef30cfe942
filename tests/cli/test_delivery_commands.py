"""`deliveries` and `statement` print what the ledger and the billing know."""

import json
from datetime import date
from pathlib import Path

import pytest

from pipelines.billing.follow_up import follow_up
from pipelines.cli.app import main
from pipelines.core.settings import Settings
from tests.helpers.delivered_home import match, write_delivered_day

DAY = date(2026, 3, 2)


@pytest.fixture
def home(tmp_path: Path) -> str:
    settings = Settings(home=tmp_path, threads=1)
    write_delivered_day(settings, DAY, [match(n, "bank-a", "lead") for n in range(3)])
    follow_up(settings, DAY)
    return f"{tmp_path}"


def test_the_states_are_a_table_and_json(home, capsys):
    assert main(["deliveries", "--date", f"{DAY}", "--home", home]) == 0
    head, row, figures = capsys.readouterr().out.splitlines()
    assert head.split() == ["institution", "sent"]
    assert row.split() == ["bank-a", "3"]
    assert json.loads(figures)["institutions"] == {"bank-a": {"sent": 3}}
    assert main(["deliveries", "--date", "2026-03-09", "--home", home]) == 0
    assert "The ledger has no delivery of 2026-03-09" in capsys.readouterr().out


def test_a_preview_is_printed(home, capsys):
    assert main(["statement", "--month", "2026-03", "--home", home]) == 0
    printed = capsys.readouterr()
    assert "preview as of 2026-03-02" in printed.err
    assert json.loads(printed.out)["amount_due"] == {"bank-a": {"CNY": "60.15"}}


def test_what_nobody_can_be_billed_for_is_refused_with_words(home, capsys):
    wrong = ["statement", "--month", "2026-03", "--institution", "bank-z", "--home", home]
    assert main(wrong) == 1
    assert "bank-z has no statement for 2026-03" in capsys.readouterr().err
    assert main(["statement", "--month", "march", "--home", home]) == 2
