"""The verb prints a table and one JSON line, or an error with its exit code."""

import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from pipelines.cli.app import main
from tests.evaluation.scorecard.conftest import Matched
from tests.evaluation.scorecard.hand_written_market import DAY

Printed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(matched: Matched, monkeypatch) -> Printed:
    """Return a function that runs the verb; it returns exit code, stdout and stderr."""
    monkeypatch.setenv("BANYAN_HOME", str(matched.settings.home))

    def run_scorecard(*options: str, first=DAY, last=DAY):
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            code = main(("scorecard", "--from", f"{first}", "--to", f"{last}", *options))
        return code, out.getvalue(), err.getvalue()

    return run_scorecard


@pytest.fixture(scope="module")
def printed() -> dict[tuple[str, ...], tuple[int, str, str]]:
    return {}


@pytest.fixture
def run_once(run: Printed, printed) -> Printed:
    """Return `run` for tests that only read: the same options are run once."""

    def run_new(*options: str):
        if options not in printed:
            printed[options] = run(*options)
        return printed[options]

    return run_new


def test_a_table_is_followed_by_one_line_of_json(run_once):
    code, out, _ = run_once("--truth")
    *table, line = out.splitlines()
    assert code == 0
    assert set(json.loads(line)) == {"banyan", "broadcast", "rules", "oracle"}
    assert table[0].split()[-4:] == ["banyan", "broadcast", "rules", "oracle"]
    assert len(table) == 23


def test_the_table_is_aligned_and_fits_a_terminal(run_once):
    table = run_once("--truth")[1].splitlines()[:-1]
    assert max(map(len, table)) <= 120
    starts = [match.start() for match in re.finditer(r"\S+", table[0])][-4:]
    for line in table[1:]:
        assert [line[at - 1] for at in starts] == [" "] * 4, line


def test_the_path_of_the_page_is_on_stderr(run_once, matched):
    _, out, stderr = run_once("--truth", "--json")
    page = Path(stderr.split()[-1])
    assert page == matched.settings.reports / f"scorecard/{DAY}_{DAY}/index.html"
    assert page.is_file()
    assert "index.html" not in out


def test_the_negative_control_has_the_same_figures_by_another_truth(run, run_once):
    true = json.loads(run_once("--truth", "--json")[1])
    shuffled = json.loads(run("--truth", "--json", "--shuffled")[1])
    assert {way: list(figures) for way, figures in true.items()} == {
        way: list(figures) for way, figures in shuffled.items()
    }
    assert true["banyan"]["shown"] == shuffled["banyan"]["shown"]
    assert true["banyan"]["funded"] != shuffled["banyan"]["funded"]


def test_json_prints_that_line_alone(run_once):
    assert run_once("--truth", "--json")[1] == run_once("--truth")[1].splitlines()[-1] + "\n"


def test_the_headline_is_one_sentence_with_the_figures_of_the_json(run, run_once):
    figures = json.loads(run_once("--truth", "--json")[1])
    shares = [
        figures[way][name]
        for name in ("fee_share_of_yield", "cost_share_of_yield")
        for way in ("broadcast", "banyan")
    ]
    stderr = (
        "institutions pay per funded loan: broadcast {:.1%} of yield, Banyan {:.1%}; "
        "its leads cost: broadcast {:.1%} of yield, Banyan {:.1%}\n"
    )
    assert run("--truth", "--headline")[1] == stderr.format(*shares)


def test_without_truth_nothing_simulated_is_read(run, matched):
    hidden = matched.settings.truth.rename(matched.settings.home / "hidden")
    try:
        code, out, _ = run("--json")
        assert (code, list(json.loads(out))) == (0, ["banyan"])
        code, out, stderr = run("--truth")
        assert (code, out) == (1, "")
        assert "holds no simulated market" in stderr
    finally:
        hidden.rename(matched.settings.truth)


def test_a_day_that_is_not_matched_ends_with_1(run):
    code, out, stderr = run("--truth", last=DAY.replace(day=4))
    assert (code, out) == (1, "")
    assert "not published" in stderr


def test_contradictory_options_end_with_2(run):
    assert run("--truth", last=DAY.replace(day=1))[0] == 2
    assert run("--headline")[0] == 2
    assert run("--shuffled")[0] == 2
