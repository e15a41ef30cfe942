"""The command line says what is wrong in words, and ends with 0, 1 or 2 as promised."""

import json
import os
import subprocess
import sys

import pytest

from pipelines.cli.app import ONE_STEP, main
from pipelines.core.settings import PROJECT


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BANYAN_HOME", str(tmp_path))  # --home changes it; this puts it back
    return tmp_path


def wrong_use(*argv: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("march",),
        ("run",),
        ("run", "--date", "yesterday"),
        ("run", "--date", "2026-02-30"),
        ("simulate", "--start", "2026-01-05", "--days", "0"),
        ("simulate", "--start", "2026-01-05", "--leads-per-day", "-3"),
        ("simulate", "--start", "2026-01-05", "--broadcast-days", "-1"),
        ("season", "--days", "3"),
        ("season", "--start", "2026-01-05", "--history", "some"),
        ("respond",),
        ("bench", "everything"),
    ],
)
def test_what_cannot_be_meant_is_wrong_use(argv):
    wrong_use(*argv)


def test_a_wrong_date_is_told_with_an_example(capsys):
    wrong_use("run", "--date", "5.3.2026")
    assert "'5.3.2026' is no date such as 2026-03-05" in capsys.readouterr().err


def test_a_range_that_runs_backwards_is_wrong_use(capsys):
    assert main(("run", "--date", "2026-03-05", "--to", "2026-03-04")) == 2
    assert "--to 2026-03-04 is before --date 2026-03-05" in capsys.readouterr().err


def test_answers_until_before_the_day_are_wrong_use(capsys):
    assert main(("respond", "--date", "2026-03-05", "--to", "2026-03-04")) == 2
    assert "--to 2026-03-04 is before --date 2026-03-05" in capsys.readouterr().err


def test_a_home_that_was_not_simulated_has_nobody_to_answer(capsys):
    assert main(("respond", "--date", "2026-03-05")) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "holds no simulated market" in said.err


@pytest.mark.parametrize("verb", sorted(set(ONE_STEP) - {"ingest", "report"}))
def test_a_step_before_its_inputs_is_refused_in_words(verb, capsys):
    assert main((verb, "--date", "2026-03-05")) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert "not published" in said.err


def test_a_day_on_which_nothing_landed_is_ingested_as_an_empty_day(home, capsys):
    assert main(("ingest", "--date", "2026-03-05")) == 0
    assert json.loads(capsys.readouterr().out)
    assert (home / "lake" / "leads" / "date=2026-03-05" / "manifest.json").is_file()


def test_home_is_where_the_option_says(home, capsys):
    assert main(("ingest", "--date", "2026-03-05", "--home", str(home / "elsewhere"))) == 0
    assert json.loads(capsys.readouterr().out)
    assert (home / "elsewhere" / "lake").is_dir()
    assert not (home / "lake").exists()


def test_a_home_that_cannot_be_written_is_told_in_words(home, capsys):
    (home / "file").write_text("")
    assert main(("ingest", "--date", "2026-03-05", "--home", str(home / "file"))) == 1
    assert f"{home / 'file'}" in capsys.readouterr().err


def test_a_setting_out_of_range_is_named_as_its_variable(monkeypatch, capsys):
    monkeypatch.setenv("BANYAN_THREADS", "0")
    assert main(("ingest", "--date", "2026-03-05")) == 2
    assert "BANYAN_THREADS: Input should be greater than or equal to 1" in capsys.readouterr().err


def test_an_unknown_mapping_is_told_in_words(home, capsys):
    file = home / "foreign.csv"
    file.write_text("a,b\n1,2\n")
    assert main(("import", "no-such-mapping", str(file))) in {1, 2}
    said = capsys.readouterr()
    assert said.out == ""
    assert "no-such-mapping" in said.err


def test_the_module_is_the_command(home):
    ended = subprocess.run(
        [sys.executable, "-m", "pipelines", "match", "--date", "2026-03-05"],
        cwd=PROJECT,
        env=os.environ | {"BANYAN_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr


def test_a_date_before_the_dag_begins_is_refused_and_not_passed_over(home):
    """Airflow itself would run no task for it and call the run a success."""
    command = [sys.executable, "-m", "pipelines", "run", "--home", str(home)]
    ended = subprocess.run(
        [*command, "--date", "1960-01-04"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "1960-01-04 lies before" in ended.stderr
