"""Every command of the pages works as typed: it parses, and a named test runs its verb.

Cheap commands are run. Of the others, verb, options, values, targets and files are checked by the
parsers of the tools themselves, and `RUN_BY` names the test that runs the verb on small data.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from airflow.cli import cli_parser

from pipelines.cli.bench import LOADERS
from pipelines.cli.commands import banyan
from pipelines.core.settings import PROJECT, Settings
from tests.docs.commands import Command, code_blocks, list_commands

COMMANDS = list_commands()
MAKEFILE = (PROJECT / "Makefile").read_text("utf-8")

PLACEHOLDERS = {
    **dict.fromkeys(("D", "D2", "FIRST", "LAST", "AS_OF"), "2026-02-03"),
    "CHANNEL/LEAD": "search/4711",
    "INSTITUTION/PRODUCT": "bank-000/loan-0000",
    "N": "1",
    "NAME": "Li-Lei",
}
"""Word of a page -> a value that the command line accepts."""

PLACES = {"HOME", "NEW", "FOLDER", "CACHE", "FILE", "BACKUP"}
"""Words of a page for a file or folder of the reader."""

RUN_BY = {
    "airflow": (
        "e2e/test_scheduler.py",
        "test_a_backfill_and_a_nightly_run_on_one_machine_take_turns",
    ),
    "bench allocate": ("bench/test_allocate.py", "test_peers_solve_the_same_instance"),
    "bench broadcast-cost": (
        "bench/test_published_day.py",
        "test_the_cost_of_a_borrower_is_a_share_of_the_yield",
    ),
    "bench budgets": ("bench/test_allocate.py", "test_peers_solve_the_same_instance"),
    "bench day": (
        "bench/test_whole_day.py",
        "test_a_day_after_a_history_is_measured_with_its_kernels",
    ),
    "bench deliver": (
        "bench/test_deliver.py",
        "test_every_lead_is_delivered_sealed_signed_and_opened",
    ),
    "bench eligibility": (
        "bench/test_eligibility.py",
        "test_no_pair_differs_from_the_rule_by_rule_check",
    ),
    "bench leaks": ("bench/test_leaks.py", "test_only_the_synthetic_leaks_are_flagged"),
    "bench models": ("bench/test_models.py", "test_a_foreign_file_is_imported_and_measured"),
    "bench chain": (
        "bench/test_supply_chain.py",
        "test_the_models_differ_in_what_they_know_of_partners",
    ),
    "bench chain-matches": (
        "bench/test_supply_chain_matches.py",
        "test_a_day_of_firms_is_matched_and_measured_with_two_sets_of_features",
    ),
    "bench off-policy": (
        "bench/test_off_policy.py",
        "test_intervals_cover_the_truth_of_a_simulated_day_and_harm_is_refused",
    ),
    "bench portions": (
        "bench/test_published_day.py",
        "test_portions_are_measured_on_the_way_of_a_cluster",
    ),
    "bench prefilter": (
        "bench/test_published_day.py",
        "test_a_prefilter_that_excludes_no_pair_loses_nothing",
    ),
    "bench prices": (
        "bench/test_published_day.py",
        "test_stated_prices_are_compared_with_solving_again",
    ),
    "bench real": (
        "bench/test_real_records.py",
        "test_every_experiment_predicts_rows_that_were_not_fitted",
    ),
    "bench reasons": ("bench/test_reasons.py", "test_the_models_of_a_home_are_measured"),
    "bench reject-inference": (
        "bench/test_reject_inference.py",
        "test_a_market_too_short_for_a_loan_to_end_is_refused",
    ),
    "bench score": (
        "bench/test_score.py",
        "test_a_market_is_trained_and_measured_with_every_figure",
    ),
    "bench simulate": ("bench/test_simulate.py", "test_the_figures_of_a_day_with_every_feed"),
    "backup": ("operations/test_backup.py", "test_the_verbs_back_up_and_restore"),
    "bench disk": ("bench/test_disk.py", "test_a_day_adds_as_much_as_the_days_before"),
    "champions": ("cli/test_champions.py", "test_"),
    "docs": (
        "transform/test_warehouse.py",
        "test_the_documentation_of_dbt_is_one_page_with_every_mart",
    ),
    "doctor": ("operations/test_doctor.py", "test_a_good_home_needs_no_action"),
    "explain": ("explain/test_explain.py", "test_"),
    "import": (
        "importing/test_samples.py",
        "test_every_hmda_row_is_a_lead_with_two_outcomes_and_a_lender",
    ),
    "migrate": ("operations/test_migrate.py", "test_the_verb_states_what_was_done"),
    "off-policy": ("evaluation/off_policy/test_policy_value.py", "test_"),
    "onboard": ("importing/test_onboard.py", "test_the_command_prints_text_or_json"),
    "replay": ("e2e/test_replay.py", "test_a_replay_names_only_the_changed_file"),
    "respond": ("e2e/test_respond.py", "test_the_pipeline_ingests_the_answers_and_links_them"),
    "restore": ("operations/test_backup.py", "test_the_verbs_back_up_and_restore"),
    "run": ("e2e/test_the_day.py", "test_every_date_succeeds_and_every_lead_has_one_end"),
    "scorecard": (
        "evaluation/scorecard/test_verb.py",
        "test_a_table_is_followed_by_one_line_of_json",
    ),
    "send": ("transport/test_send.py", "test_"),
    **{
        f"person {verb}": ("cli/test_person_commands.py", f"test_{verb}_")
        for verb in ("contest", "erase", "export", "find", "restrict")  # words: keep - the verb
    },
    "retention": ("cli/test_person_commands.py", "test_retention_"),
    "policy diff": ("operations/test_policy_diff.py", "test_the_verbs_compare_list_and_export"),
    "policy export": ("operations/test_policy_diff.py", "test_the_verbs_compare_list_and_export"),
    "policy list": ("operations/test_policy_diff.py", "test_the_verbs_compare_list_and_export"),
    "verify": ("operations/test_verify.py", "test_the_verb_names_problems_and_ends_with_1"),
    "signoff": ("reports/test_sign_off.py", "test_the_verb_records_and_refuses"),
    "signing-key": ("deliveries/test_sealing.py", "test_the_verb_prints_the_keys_and_rotates"),
    "season": ("e2e/test_season.py", "test_each_day_is_simulated_run_and_answered"),
    "deliveries": ("cli/test_delivery_commands.py", "test_the_states_are_a_table_and_json"),
    "statement": ("cli/test_delivery_commands.py", "test_a_preview_is_printed"),
    "simulate": ("e2e/test_season.py", "test_a_home_holds_one_market"),
    "status": (
        "e2e/test_status.py",
        "test_the_status_shows_what_ran_what_is_open_and_what_comes_next",
    ),
    **dict.fromkeys(
        ("ingest", "transform", "train", "score", "match", "deliver", "follow-up", "report"),
        ("e2e/test_the_day.py", "test_every_date_succeeds_and_every_lead_has_one_end"),
    ),
}
"""Verb -> file and name of the test that runs it; `test_`: of all tests of the file."""

TOOLS = {
    *("apt-get", "chromium", "cp", "docker", "echo", "for", "mkdir", "openssl", "spark-class"),
    *("ssh-keygen", "sudo", "tar"),
    "-keyout",  # a line that goes on
}
"""Programs that are no part of the project and that a page may name."""


def parse(arguments: list[str], *, is_shortened: bool = False) -> str:
    """Parse arguments as the command line does, without running the command; return the verb.

    Where a page shortens a command (`…`, or a verb without its options), required options may be
    missing.
    """
    command: click.Command = banyan
    context, name, verb = None, "banyan", []
    while isinstance(command, click.Group):
        context = command.make_context(name, arguments, parent=context)
        name, command, arguments = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert command is not None
        verb.append(name)
    if is_shortened:
        given = {word.partition("=")[0] for word in arguments if word.startswith("-")}
        known = {text for option in command.params for text in option.opts} | {"--help"}
        assert given <= known, f"{' '.join(verb)} has no option {sorted(given - known)}"
    else:
        command.make_context(name, arguments, parent=context)
    return " ".join(verb)


def fill_in(words: list[str], place: Path) -> list[str]:
    """Return the words with values in place of placeholders; what is optional counts as given."""
    words = [word for word in words if word != "…"]
    filled = [PLACEHOLDERS.get(word, f"{place}" if word in PLACES else word) for word in words]
    return [word.replace("HOME", f"{place}") if "/" in word else word for word in filled]


def check_banyan(words: list[str], place: Path) -> None:
    is_shortened = "…" in words
    arguments = fill_in(words, place)
    if arguments in (["VERB"], []):
        return
    verb = parse(arguments, is_shortened=is_shortened)
    if verb == "airflow" and len(words) > 1:
        check_airflow(words[1:], place)
    assert verb in RUN_BY, f"no test runs `banyan {verb}`; write one and name it in RUN_BY"
    check_files(arguments)


def check_files(arguments: list[str]) -> None:
    """Check that files of the project which a command names exist."""
    folders = {path.name for path in PROJECT.iterdir() if path.is_dir()} - {"var", "site"}
    paths = [word.partition("::")[0] for word in arguments if "/" in word and word[0] != "/"]
    named = [path for path in paths if path.partition("/")[0] in folders]
    assert [path for path in named if not (PROJECT / path).exists()] == []


def check_airflow(words: list[str], place: Path) -> None:
    """Parse the words by Airflow's own parser."""
    words = fill_in(words, place)
    try:
        cli_parser.get_parser().parse_args(words if len(words) > 3 else [*words, "--help"])
    except SystemExit as ended:
        if ended.code:
            raise AssertionError(f"Airflow refuses {words}") from ended


def check_make(words: list[str], place: Path) -> None:
    """Run a dry run: unknown targets fail. A variable must be one that the Makefile reads."""
    assert run_dry(["make", "-n", *fill_in(words, place)]) == 0
    variables = {word.partition("=")[0] for word in words if "=" in word}
    assert {name for name in variables if f"$({name})" not in MAKEFILE} == set()


def check_python(words: list[str], place: Path) -> None:
    assert words[0] == "-m", "a page starts modules, no scripts"
    if words[1] == "pipelines":
        check_banyan(words[2:], place)
        return
    module = PROJECT / words[1].replace(".", "/")
    assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()


def check_pytest(words: list[str], place: Path) -> None:
    """Check options and paths; to collect the tests would take seconds a command."""
    parser = argparse.ArgumentParser("pytest", exit_on_error=False)
    parser.add_argument("-n", type=int)
    parser.add_argument("-m", choices=["prove"])
    for option in ("-k", "-p"):
        parser.add_argument(option, action="append")
    parser.add_argument("--fault-seed", type=int)  # both of the fault harness
    parser.add_argument("--fault-case")
    parser.add_argument("paths", nargs="*")
    try:
        options, unknown = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        raise AssertionError(error) from error
    assert unknown == []
    for path in options.paths:
        file, _, name = path.partition("::")
        assert (PROJECT / file).exists(), f"{file} does not exist"
        assert not name or f"def {name.partition('[')[0]}" in (PROJECT / file).read_text("utf-8")


def check_pip(words: list[str], place: Path) -> None:
    assert words[:2] == ["install", "-r"], "a page installs pinned files, no single packages"
    assert all((PROJECT / word).is_file() for word in words[2:])


def check_pre_commit(words: list[str], place: Path) -> None:
    assert run_dry([sys.executable, "-m", "pre_commit", *words, "--help"]) == 0
    assert run_dry([sys.executable, "-m", "pre_commit", "validate-config"]) == 0


def check_completion(words: list[str], place: Path) -> None:
    """Run the program that a shell evaluates at its start."""
    (program,) = re.findall(r"\$\((.+)\)", words[0])
    check_shell_completion(program)


def check_shell_completion(program: str) -> None:
    name, _, shell = program.split(maxsplit=1)[0].partition("=")
    printed = subprocess.run(
        [sys.executable, "-m", "pipelines"],  # the same entry point
        cwd=PROJECT,
        env=os.environ | {name: shell},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "banyan" in printed


def run_dry(command: list[str]) -> int:
    """Run a command that changes nothing, from the project's root; return its exit code."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.run(
        command,
        cwd=PROJECT,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode


CHECKS = {
    "airflow": check_airflow,
    "banyan": check_banyan,
    "eval": check_completion,
    "make": check_make,
    "pip": check_pip,
    "pre-commit": check_pre_commit,
    "pytest": check_pytest,
    "python": check_python,
}


def check_variable(word: str) -> None:
    """Check that somebody reads a variable: the settings, or Airflow for a connection."""
    name = word.partition("=")[0]
    if name.startswith("AIRFLOW_CONN_"):
        connection = name.removeprefix("AIRFLOW_CONN_").lower()
        assert f'"{connection}"' in (PROJECT / "dags" / "alerts.py").read_text("utf-8")
    elif name not in {"_BANYAN_COMPLETE", "BANYAN_VERSION"}:  # the shell's, and the compose file's
        assert name.removeprefix("BANYAN_").lower() in Settings.model_fields


def check(command: Command, place: Path) -> None:
    """Check one command of a page."""
    words = command.words
    if "|" in words and words[0].startswith("_BANYAN_COMPLETE="):
        check_shell_completion(command.text)
        return
    is_name = words[0] in {"banyan", "python"} and not any(word[:2] == "--" for word in words)
    if command.is_in_text and is_name:
        words.append("…")  # the name of a verb, in a sentence
    while words and re.match(r"[A-Z_]+=", words[0]):
        check_variable(words.pop(0))
    if not words or words[0] in TOOLS:
        return
    if words[0] == ".":
        assert (PROJECT / words[1]).is_file()
        return
    assert words[0] in CHECKS, f"{words[0]} is no tool that the pages use"
    CHECKS[words[0]](words[1:], place)


@pytest.mark.parametrize("text", sorted({command.text for command in COMMANDS}))
def test_a_command_of_the_pages_works_as_typed(text: str, tmp_path: Path):
    where = [command for command in COMMANDS if command.text == text]
    try:
        check(where[0], tmp_path)
    except (AssertionError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else error
        pytest.fail(f"{where[0]}: {message}", pytrace=False)


@pytest.mark.parametrize(
    "text",
    [
        "banyan rnu --date D",
        "banyan run --dat D",
        "banyan run",
        "banyan run --date 5.3.2026",
        "python -m pipelines bench budgets --leads many",
        "python -m pipelines import hmda expectations/mappings/samples/nothing.csv",
        "banyan airflow backfill create --dag daily_match --from-day 2026-01-05",
        "make nothing",
        "make docs HOUSE=var",
        "pytest -n 0 tests/nothing",
        "python -m tests.nothing",
        "BANYAN_HOUSE=var banyan champions",
        "conda install banyan",
    ],
)
def test_a_command_that_does_not_work_is_refused(text: str, tmp_path: Path):
    with pytest.raises((AssertionError, click.ClickException)):
        check(Command("page", 1, text), tmp_path)


@pytest.mark.parametrize(
    "line", re.findall(r"^\t@?python -m pipelines (.+)$", MAKEFILE, re.MULTILINE)
)
def test_a_command_of_the_makefile_parses(line: str, tmp_path: Path):
    line = re.sub(r"\$\(if \$\(\w+\),(.*?)\$\(\w+\)\)", rf"\1{tmp_path}", line.partition(" >")[0])
    assert parse(shlex.split(re.sub(r"\$\((\w+)\)", r"\1", line))) in RUN_BY


def test_every_verb_is_run_by_a_test():
    groups = {
        name: group.commands
        for name, group in banyan.commands.items()
        if isinstance(group, click.Group) and name != "bench"
    }
    verbs = {*banyan.commands, *(f"bench {name}" for name in LOADERS)} - {"bench", *groups}
    verbs |= {f"{group} {name}" for group, commands in groups.items() for name in commands}
    assert verbs - set(RUN_BY) == set()


@pytest.mark.parametrize("verb", sorted(RUN_BY))
def test_the_named_test_of_a_verb_exists(verb: str):
    file, name = RUN_BY[verb]
    assert f"def {name}" in (PROJECT / "tests" / file).read_text("utf-8")


def test_the_pages_have_commands():
    assert {command.words[0] for command in COMMANDS if command.words} >= set(CHECKS) - {"airflow"}
    assert len(COMMANDS) > 80


def test_code_blocks_are_indented_or_fenced():
    text = (
        "a\n\n    one\n    two\n\n- x\n    no code\n\n```sh\nthree\n```\n\n```yaml\nno: code\n```\n"
    )
    assert [block for _, block in code_blocks(text)] == [["one", "two"], ["three"]]
