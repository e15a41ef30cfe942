"""The command line reports errors in words and ends with 0, 1 or 2."""

import json
import os
import subprocess
import sys
from datetime import date
from importlib import import_module

import click
import pytest

from pipelines import __version__
from pipelines.cli.app import _describe_error, main
from pipelines.cli.commands import STEP_VERBS, banyan
from pipelines.core.settings import PROJECT, Settings
from tests.helpers.landing import close_before

HEAVY = {"airflow", "dbt", "duckdb", "great_expectations", "lightgbm", "numpy", "pandas", "pyarrow"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BANYAN_HOME", str(tmp_path))  # `--home` sets it; this restores it
    return tmp_path


def run_module(*arguments: str, home) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments],
        cwd=PROJECT,
        env=os.environ | {"BANYAN_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "code_says"),
    [("no_such_library", "pip install -r requirements.txt"), ("pipelines.no_such", "unforeseen")],
)
def test_a_library_that_is_not_installed_is_named(module, code_says):
    with pytest.raises(ModuleNotFoundError) as raised:
        import_module(module)
    code, message = _describe_error(raised.value)
    assert code == 1
    assert code_says in str(message)
    assert ("no_such_library" in str(message)) == (module == "no_such_library")


@click.command()
def write_to_a_program_that_ended() -> None:
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as ended:
        assert ended.stdin
        ended.wait()
        ended.stdin.write(b"x")
        ended.stdin.flush()


def test_a_broken_pipe_inside_a_verb_is_named(monkeypatch, capsys):
    monkeypatch.setitem(banyan.commands, "status", write_to_a_program_that_ended)
    assert main(["status"]) == 1
    message = capsys.readouterr().err
    assert "broken pipe at tests/cli/test_cli.py" in message
    assert "run it again" in message


def test_a_verb_whose_reader_has_ended_is_silent(home):
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-u", "-m", "pipelines", "retention", "--json"],
        cwd=PROJECT,
        env=os.environ | {"BANYAN_HOME": str(home)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert ended.returncode == 1
    assert ended.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("march",),
        ("run",),
        ("run", "--date", "yesterday"),
        ("run", "--date", "2026-02-30"),
        ("run", "--date", "2026-03-05", "--to", "2026-03-04"),
        ("simulate", "--start", "2026-01-05", "--days", "0"),
        ("simulate", "--start", "2026-01-05", "--leads-per-day", "-3"),
        ("simulate", "--start", "2026-01-05", "--broadcast-days", "-1"),
        ("simulate", "--start", "2026-01-05", "--shock", "earthquake@2026-01-06"),
        ("season", "--days", "3"),
        ("season", "--start", "2026-01-05", "--history", "some"),
        ("respond",),
        ("respond", "--date", "2026-03-05", "--to", "2026-03-04"),
        ("bench",),
        ("bench", "everything"),
        ("explain", "--date", "2026-03-05"),
        ("explain", "--date", "2026-03-05", "--lead", "nobody"),
        ("off-policy", "--from", "2026-03-05", "--to", "2026-03-05"),
        ("scorecard", "--from", "2026-03-05", "--to", "2026-03-05", "--headline"),
    ],
)
def test_wrong_use_ends_with_2_and_writes_only_to_stderr(arguments, capsys):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan", "inf", "much"])
@pytest.mark.parametrize("option", ["--corruption", "--dirt"])  # words: keep - the earlier name
def test_a_share_is_between_0_and_1(option, share, capsys):
    assert main(("simulate", "--start", "2026-01-05", option, share)) == 2
    assert f"{share!r} is no share between 0 and 1" in capsys.readouterr().err


def test_an_invalid_date_is_reported_with_an_example(capsys):
    assert main(("run", "--date", "5.3.2026")) == 2
    assert "'5.3.2026' is no date such as 2026-03-05" in capsys.readouterr().err


def test_a_reversed_range_names_both_dates(capsys):
    assert main(("run", "--date", "2026-03-05", "--to", "2026-03-04")) == 2
    assert "--to 2026-03-04 is before --date 2026-03-05" in capsys.readouterr().err


NO_FIGURES = {
    *("airflow", "bench", "docs", "signing-key", "policy export"),
    *(f"person {name}" for name in ("contest", "erase", "export", "restrict")),  # words: keep
}
"""Verbs that print no figures, or one JSON object in any case."""
VERBS = sorted(
    name if sub is None else f"{name} {sub}"
    for name, command in banyan.commands.items()
    for sub in (
        command.commands if isinstance(command, click.Group) and name != "bench" else (None,)
    )
)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    assert main((*verb.split(), "--help")) == 0
    help_text = capsys.readouterr().out
    assert f"Usage: banyan {verb}" in help_text
    assert "--home DIR" in help_text
    assert ("--json" in help_text) == (verb not in NO_FIGURES)


def test_with_json_a_table_is_left_out(home, capsys):
    assert main(("champions", "--json", "--home", str(home))) == 0
    assert json.loads(capsys.readouterr().out) == {}


def test_the_version_is_the_one_of_the_package(capsys):
    assert main(("--version",)) == 0
    assert capsys.readouterr().out == f"banyan, version {__version__}\n"


def test_the_help_imports_nothing_heavy():
    program = (
        "import sys; from pipelines.cli.app import main;"
        "main(['bench', '--help']); print(*sys.modules)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert HEAVY.isdisjoint(printed.stdout.splitlines()[-1].split())


def test_a_home_without_a_simulated_market_is_not_answered(capsys):
    assert main(("respond", "--date", "2026-03-05")) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "holds no simulated market" in output.err


@pytest.mark.parametrize("verb", sorted(set(STEP_VERBS) - {"follow-up", "ingest", "report"}))
def test_a_step_before_its_inputs_is_refused(verb, capsys):
    assert main((verb, "--date", "2026-03-05")) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    assert "not published" in output.err


def test_a_home_that_no_file_reached_is_refused_and_not_closed(home, capsys):
    stray = home / "landing" / "leads.csv"
    stray.parent.mkdir()
    stray.write_text("lead_id\n")
    assert main(("ingest", "--date", "2026-03-05")) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    assert "No file has landed for 2026-03-05 or an earlier date" in output.err
    assert "the first is leads.csv" in output.err
    assert not list((home / "ledger").glob("*.json*"))
    assert not (home / "lake").exists()


def test_a_day_without_landed_files_is_ingested_as_an_empty_day(home, capsys):
    close_before(Settings(home=home), date(2026, 3, 5))
    assert main(("ingest", "--date", "2026-03-05")) == 0
    assert json.loads(capsys.readouterr().out)
    assert (home / "lake" / "leads" / "date=2026-03-05" / "manifest.json").is_file()


def test_the_option_home_has_precedence_over_the_variable(home, capsys):
    close_before(Settings(home=home / "elsewhere"), date(2026, 3, 5))
    assert main(("ingest", "--date", "2026-03-05", "--home", str(home / "elsewhere"))) == 0
    assert json.loads(capsys.readouterr().out)
    assert (home / "elsewhere" / "lake").is_dir()
    assert not (home / "lake").exists()


def test_a_home_that_cannot_be_written_is_named(home, capsys):
    (home / "file").write_text("")
    assert main(("ingest", "--date", "2026-03-05", "--home", str(home / "file"))) == 1
    assert f"{home / 'file'}" in capsys.readouterr().err


def test_an_invalid_setting_is_named_by_its_variable(monkeypatch, capsys):
    monkeypatch.setenv("BANYAN_THREADS", "0")
    assert main(("ingest", "--date", "2026-03-05")) == 2
    assert "BANYAN_THREADS: Input should be greater than or equal to 1" in capsys.readouterr().err


def test_an_unknown_mapping_is_refused(home, capsys):
    file = home / "foreign.csv"
    file.write_text("a,b\n1,2\n")
    assert main(("import", "no-such-mapping", str(file))) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "no-such-mapping" in output.err


@pytest.mark.prove  # the next test runs the module as well
def test_the_module_is_the_command(home):
    process = run_module("match", "--date", "2026-03-05", home=home)
    assert process.returncode == 1
    assert process.stdout == ""
    assert "Traceback" not in process.stderr


def test_a_date_before_the_start_of_the_dag_is_refused(home):
    """Airflow itself would run no task for it and report a success."""
    process = run_module("run", "--date", "1960-01-04", "--allow-far-date", home=home)
    assert process.returncode == 1
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    assert "1960-01-04 lies before" in process.stderr


@pytest.mark.parametrize(
    ("dates", "which"),
    [
        (("--date", "2062-01-10"), "newest"),
        (("--date", "1926-01-10"), "nearest"),
        (("--date", "2026-01-10", "--to", "2062-01-10"), "newest"),
        (("--date", "1926-01-10", "--to", "2026-01-10"), "nearest"),
    ],
)
def test_a_date_far_from_now_and_from_every_landed_file_is_refused(dates, which, home, capsys):
    landed = home / "landing" / "leads" / "search" / "2026-01-10" / "leads.csv"
    landed.parent.mkdir(parents=True)
    landed.write_text("lead_id\n")
    assert main(("run", *dates)) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert f"the {which} landed file is of 2026-01-10" in output.err
    assert "--allow-far-date" in output.err
    assert not (home / "ledger").exists()
