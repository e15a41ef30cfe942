"""The verb: a table and one JSON line, and words where nothing can be computed."""

import json
import re
from pathlib import Path

import pytest

from pipelines.cli.app import main
from tests.evaluation.scorecard.conftest import Matched
from tests.evaluation.scorecard.markets import DAY


@pytest.fixture
def ask(matched: Matched, monkeypatch, capsys):
    monkeypatch.setenv("BANYAN_HOME", str(matched.settings.home))

    def asked(*options: str, first=DAY, last=DAY):
        code = main(("scorecard", "--from", f"{first}", "--to", f"{last}", *options))
        return code, *capsys.readouterr()

    return asked


def test_the_last_line_is_json_and_a_table_stands_above(ask):
    code, out, _ = ask("--truth")
    *table, line = out.splitlines()
    assert code == 0
    assert set(json.loads(line)) == {"banyan", "broadcast", "rules", "oracle"}
    assert table[0].split()[-4:] == ["banyan", "broadcast", "rules", "oracle"]
    assert len(table) == 15


def test_the_table_is_aligned_and_fits_a_terminal(ask):
    table = ask("--truth")[1].splitlines()[:-1]
    assert max(map(len, table)) <= 120
    starts = [match.start() for match in re.finditer(r"\S+", table[0])][-4:]
    for line in table[1:]:
        assert [line[at - 1] for at in starts] == [" "] * 4, line


def test_the_page_is_told_where_people_read_and_lies_there(ask, matched):
    _, out, said = ask("--truth", "--json")
    page = Path(said.split()[-1])
    assert page == matched.settings.reports / f"scorecard/{DAY}_{DAY}/index.html"
    assert page.is_file()
    assert "index.html" not in out


def test_the_control_prints_the_same_figures_of_another_truth(ask):
    true = json.loads(ask("--truth", "--json")[1])
    shuffled = json.loads(ask("--truth", "--json", "--shuffled")[1])
    assert {way: list(figures) for way, figures in true.items()} == {
        way: list(figures) for way, figures in shuffled.items()
    }
    assert true["banyan"]["shown"] == shuffled["banyan"]["shown"]
    assert true["banyan"]["funded"] != shuffled["banyan"]["funded"]


def test_json_prints_that_line_alone(ask):
    assert ask("--truth", "--json")[1] == ask("--truth")[1].splitlines()[-1] + "\n"


def test_the_headline_is_one_sentence_with_the_figures_of_the_json(ask):
    figures = json.loads(ask("--truth", "--json")[1])
    shares = [figures[name]["cost_share_of_yield"] for name in ("broadcast", "banyan")]
    said = "acquisition cost per funded loan: broadcast {:.1%} of yield, Banyan {:.1%}\n"
    assert ask("--truth", "--headline")[1] == said.format(*shares)


def test_without_truth_only_the_pipeline_is_told_and_nothing_simulated_is_read(ask, matched):
    hidden = matched.settings.truth.rename(matched.settings.home / "hidden")
    try:
        code, out, _ = ask("--json")
        assert (code, list(json.loads(out))) == (0, ["banyan"])
        code, out, said = ask("--truth")
        assert (code, out) == (1, "")
        assert "holds no simulated market" in said
    finally:
        hidden.rename(matched.settings.truth)


def test_days_that_are_not_matched_are_told_in_words(ask):
    code, out, said = ask("--truth", last=DAY.replace(day=4))
    assert (code, out) == (1, "")
    assert "not published" in said


def test_what_cannot_be_meant_is_wrong_use(ask):
    assert ask("--truth", last=DAY.replace(day=1))[0] == 2
    assert ask("--headline")[0] == 2
    assert ask("--shuffled")[0] == 2
