"""The verbs of the command line.

Each imports what it runs when it is called, so that `banyan --help` starts fast.
"""

import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import click

from pipelines import __version__
from pipelines.cli.bench import bench
from pipelines.cli.delivery_commands import DELIVERY_COMMANDS
from pipelines.cli.evidence_commands import EVIDENCE_COMMANDS
from pipelines.cli.home_commands import HOME_COMMANDS
from pipelines.cli.options import (
    COUNT,
    DATE,
    MARKET_CONTEXT,
    QUALIFIED_NAME,
    WHOLE_NUMBER,
    date_option,
    date_range_options,
    is_reader_gone,
    json_option,
    market_options,
    print_json,
    with_settings,
)
from pipelines.cli.person_commands import PERSON_COMMANDS
from pipelines.core.errors import PipeBroken, UsageError
from pipelines.core.settings import Settings

WITHOUT_RESULT = ("airflow", "docs", "signing-key")
"""The verbs that print no JSON."""


class VerbGroup(click.Group):
    """A group that lists its verbs in the order of their definition; each accepts `--json`."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a verb, with `--json` where it prints JSON in any case."""
        has_option = any("--json" in parameter.opts for parameter in cmd.params)
        is_verb = not isinstance(cmd, click.Group) and (name or cmd.name) not in WITHOUT_RESULT
        if is_verb and not has_option:
            cmd.params.append(
                click.Option(
                    ["--json"],
                    is_flag=True,
                    expose_value=False,
                    help="Print one JSON object, as this verb does in any case.",
                )
            )
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; a broken pipe is silent only where nobody reads the result any more.

        Click ends every broken pipe without a word, as `banyan ... | head` should, but a program
        that a step writes to may have died as well.

        Raises:
            PipeBroken: A program that the verb wrote to ended early.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            if is_reader_gone():
                raise
            raise PipeBroken from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the verbs."""
        return list(self.commands)


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def banyan() -> None:
    """Decide every day which lead goes to which product."""


@banyan.command(context_settings=MARKET_CONTEXT)
@market_options
@click.option(
    "--broadcast-days",
    type=WHOLE_NUMBER,
    metavar="N",
    help="Only the first N dates have the outcomes of a broadcast matching (else all).",
)
@with_settings
def simulate(settings: Settings, shocks: tuple[str, ...], **market: Any) -> int:
    """Write a small simulated market under landing/."""
    from pipelines.simulate import SimulationPlan
    from pipelines.simulate import simulate as simulate_market
    from pipelines.simulate.shocks import Shock

    plan = SimulationPlan(**market, shocks=tuple(map(Shock.parse, shocks)))
    print_json(simulate_market(settings, plan))
    return 0


@banyan.command()
@click.option("--date", "day", type=DATE, required=True, help="Date that was delivered.")
@click.option(
    "--to",
    "last",
    type=DATE,
    help="Last date to write outcomes for (else all, up to years ahead, which a run remarks on).",
)
@click.option(
    "--with-answers",
    is_flag=True,
    help="Institutions also send receipts (some late, lost or wrong), returns and disputes.",
)
@with_settings
def respond(
    settings: Settings,
    day: date,
    last: date | None,
    with_answers: bool,  # noqa: FBT001
) -> int:
    """Let the simulated market answer what was delivered."""
    from pipelines.simulate import respond as respond_with_outcomes
    from pipelines.simulate.answers import answer_deliveries

    _check_order(day, last, "Nothing was answered.")
    counts = respond_with_outcomes(settings, day, last)
    if with_answers:
        counts |= answer_deliveries(settings, day, last)
    print_json(counts)
    return 0


@banyan.command(context_settings=MARKET_CONTEXT)
@market_options
@click.option(
    "--history",
    type=WHOLE_NUMBER,
    default=0,
    metavar="N",
    help="Dates of broadcast matching before --start; 0 is a cold start.",
)
@with_settings
def season(
    settings: Settings,
    start: date,
    days: int,
    history: int,
    shocks: tuple[str, ...],
    **market: Any,
) -> int:
    """Simulate, run and answer one day after the other."""
    from dags.local.season import play_season
    from pipelines.simulate import SimulationPlan
    from pipelines.simulate.shocks import Shock

    plan = SimulationPlan(
        **market,
        start=start - timedelta(days=history),
        days=history + days,
        broadcast_days=history,
        shocks=tuple(map(Shock.parse, shocks)),
    )
    print_json(play_season(settings, plan))
    return 0


@banyan.command("import")
@click.argument("mapping")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--start", type=DATE, help="First landing date to write.")
@click.option("--days", type=COUNT, metavar="N", help="Number of dates from --start on.")
@click.option(
    "--as-correction",
    is_flag=True,
    help="Land files of closed dates under names of their own; they count from the next date on.",
)
@with_settings
def import_file(
    settings: Settings,
    mapping: str,
    file: Path,
    start: date | None,
    days: int | None,
    as_correction: bool,  # noqa: FBT001
) -> int:
    """Turn a foreign FILE into feed files, by a MAPPING.

    MAPPING is a name in expectations/mappings/, or a .yml file.

    The source of a row (its channel, institution or list) is a name that matches
    ^[a-z0-9][a-z0-9_-]{0,63}$: lower-case letters, digits, - and _, at most 64.

    No landed file changes. Importing the same file again changes nothing; what would overwrite a
    landed file, or add to a closed date, is refused (exit 1), unless --as-correction is given. An
    import is also refused if no row is usable, or of one feed a larger share of rows is unusable
    than BANYAN_MAX_REJECT_SHARE.
    """
    from pipelines.importing import import_file as import_by_mapping

    result = import_by_mapping(settings, mapping, file, start, days, as_correction=as_correction)
    print_json(result)
    landed = result["landed"]
    if not landed["new"] and not landed["corrections"]:
        print("Every file of this import has landed before; nothing changed.", file=sys.stderr)
    return 0


@banyan.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--feed", default="leads", show_default=True, help="The feed that its rows become.")
@click.option("--source", help="Folder of the source (else by the name of the file).")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The draft to write (else NAME.draft.yml here)."
)
@click.option("--force", is_flag=True, help="Replace the draft if it exists.")
@json_option
@with_settings
def onboard(
    settings: Settings,
    file: Path,
    feed: str,
    source: str | None,
    out: Path | None,
    force: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Profile a foreign FILE and draft the mapping that imports it; nothing lands.

    Ends with 0 if the draft was written, questions or not.
    """
    from pipelines.importing.onboarding.onboard import onboard as onboard_file
    from pipelines.importing.onboarding.text import describe

    found = onboard_file(settings, file, feed, source, out, force=force)
    print_json(found) if as_json else print(describe(found))
    return 0


@banyan.command()
@date_option
@click.option("--to", "last", type=DATE, help="Last date (else only --date).")
@click.option(
    "--allow-far-date",
    is_flag=True,
    help="Run a date far from today and from every landed file; else it is refused as mistyped.",
)
@json_option
@with_settings
def run(
    settings: Settings,
    day: date,
    last: date | None,
    allow_far_date: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Run the whole day in this process, for each date in order; exit 1: a day is not fit."""
    from dags.local.in_process import run_dates
    from dags.local.run_date import check_run_date
    from dags.local.run_summary import describe_results, describe_verdicts

    _check_order(day, last, "Nothing was run.")
    if not allow_far_date:
        for end in (day, last or day):
            check_run_date(settings, end)
    results = run_dates(settings, day, last or day)
    if as_json:
        print("\n".join(describe_verdicts(results)), file=sys.stderr)
        print_json(results)
    else:
        print(describe_results(settings, results))
    return 1 if any(figures["verdict"] == "not_fit" for figures in results.values()) else 0


def _add_step(name: str, text: str) -> None:
    """Add the verb that runs the step `name` as its Airflow tasks do."""

    @banyan.command(name, help=text)
    @date_option
    @with_settings
    def run_one_step(settings: Settings, day: date) -> int:
        from dags.steps import run_whole_step
        from pipelines.core.home.lock import lock_home

        with lock_home(settings):
            print_json(run_whole_step(name.replace("-", "_"), settings, day))
        return 0


STEP_VERBS = {
    "ingest": "Check the landed files into the lake.",
    "transform": "Build the tables: staging, intermediate, features, marts.",
    "train": "Train the models of the date's week, unless the registry has them.",
    "score": "Find the eligible pairs and score them.",
    "match": "Choose the day's matches.",
    "deliver": "Write the institutions' lead files.",
    "follow-up": "Take in receipts and returns; write notices, decisions, feedback and statements.",
    "report": "Write the day's page.",
}
"""Verb -> its help; `send` is not among them, because it needs Airflow's connections."""
for _name, _text in STEP_VERBS.items():
    _add_step(_name, _text)


@banyan.command()
@json_option
@with_settings
def champions(settings: Settings, as_json: bool) -> int:  # noqa: FBT001
    """List which model was champion from when to when, and why."""
    from models.champion.history import format_table, group_by_model, load_tenures

    tenures = load_tenures(settings)
    if not as_json:
        print(format_table(tenures))
    print_json(group_by_model(tenures))
    return 0


@banyan.command()
@date_option
@with_settings
def replay(settings: Settings, day: date) -> int:
    """Compute a day again and compare every published file."""
    from dags.local.replay import replay as replay_day

    comparison = replay_day(settings, day)
    print_json(comparison)
    return 1 if comparison["differences"] else 0


@banyan.command()
@with_settings
def docs(settings: Settings) -> int:
    """Write dbt's documentation of every table as one page."""
    from pipelines.transform.warehouse import generate_docs

    print(generate_docs(settings))
    return 0


@banyan.command()
@date_option
@click.option(
    "--lead", type=QUALIFIED_NAME, metavar="CHANNEL/LEAD", help="Why these offers or none."
)
@click.option(
    "--product",
    type=QUALIFIED_NAME,
    metavar="INSTITUTION/PRODUCT",
    help="Why its quota was not filled; with --lead: what decided between the two.",
)
@click.option(
    "--match",
    "match_id",
    metavar="ID",
    help="To what the person agreed, who received the lead and when, and what came since.",
)
@json_option
@with_settings
def explain(
    settings: Settings,
    day: date,
    lead: tuple[str, str] | None,
    product: tuple[str, str] | None,
    match_id: str | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Show what decided about a lead or a product, or the consent behind a match."""
    from pipelines.explain import explain as explain_decision
    from pipelines.explain import explain_match, format_explanation

    if match_id and not lead and not product:
        explanation = explain_match(settings, day, match_id)
    elif (lead or product) and not match_id:
        explanation = explain_decision(settings, day, lead=lead, product=product)
    else:
        raise UsageError(
            "explain needs --lead, --product or both, or --match alone. Nothing was explained."
        )
    if as_json:
        print_json(explanation)
    else:
        print(format_explanation(explanation))
    return 0


@banyan.command()
@date_range_options
@click.option(
    "--truth",
    is_flag=True,
    help="Use a simulated market's truth, beside other policies; writes a page as well.",
)
@click.option(
    "--shuffled",
    is_flag=True,
    help="A control: each pair gets the truth of another pair, so no gain may remain.",
)
@json_option
@click.option("--headline", is_flag=True, help="Print one sentence; needs --truth.")
@with_settings
def scorecard(settings: Settings, first: date, last: date, **flags: bool) -> int:
    """Show the value of some days' matching."""
    from pipelines.evaluation.scorecard.metric_labels import format_headline, format_table

    if (flags["headline"] or flags["shuffled"]) and not flags["truth"]:
        raise UsageError("--headline and --shuffled need --truth. Nothing was done.")
    if flags["headline"] and flags["as_json"]:
        raise UsageError("--json and --headline exclude each other. Nothing was done.")
    figures = _scorecard_figures(settings, first, last, **flags)
    if flags["headline"]:
        print(format_headline(figures))
        return 0
    if not flags["as_json"]:
        print(format_table(figures))
    print_json(figures)
    return 0


def _scorecard_figures(
    settings: Settings, first: date, last: date, *, truth: bool, shuffled: bool, **_: bool
) -> Any:
    from pipelines.evaluation import scorecard

    if shuffled:
        return scorecard.compute_negative_control(settings, first, last)
    if not truth:
        return scorecard.compute_scorecard(settings, first, last, with_truth=False)
    figures, page = scorecard.publish_scorecard(settings, first, last)
    print(f"page       {page}", file=sys.stderr)
    return figures


@banyan.command("off-policy")
@date_range_options
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A value policy, written as expectations/policy/value.yml.",
)
@click.option("--models", type=DATE, metavar="AS_OF", help="A model set of the registry.")
@with_settings
def off_policy(
    settings: Settings, first: date, last: date, policy: Path | None, models: date | None
) -> int:
    """Estimate from the log the value of another policy; exit 1: it may not be used."""
    from pipelines.evaluation.off_policy.policy_value import estimate_policy_value

    if (policy is None) == (models is None):
        raise UsageError("off-policy needs either --policy or --models. Nothing was estimated.")
    estimate = estimate_policy_value(settings, first, last, file=policy, as_of=models)
    print(f"{estimate['decision']}: {estimate['reason']}", file=sys.stderr)
    print_json(estimate)
    return 0 if estimate["decision"] == "promoted" else 1


@banyan.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--prepare",
    is_flag=True,
    help="Only create Airflow's metadata tables and the pool, in the environment as it is, and "
    "close the home to other users.",
)
@with_settings
def airflow(settings: Settings, arguments: tuple[str, ...], prepare: bool) -> int:  # noqa: FBT001
    """Run the DAGs under Airflow's scheduler, with its page, until Ctrl-C.

    With ARGUMENTS: run that command of Airflow's own command line on the home's database, such as
    `banyan airflow dags list`.
    """
    from dags.local.environment import close_folders, prepare_metadata
    from dags.local.standalone import run_airflow_command, run_standalone

    if prepare:
        close_folders(settings)
        prepare_metadata()
        return 0
    if arguments:
        return run_airflow_command(settings, arguments)
    return run_standalone(settings)


banyan.add_command(bench)
for command in (*HOME_COMMANDS, *DELIVERY_COMMANDS, *PERSON_COMMANDS, *EVIDENCE_COMMANDS):
    banyan.add_command(command)


def _check_order(first: date, last: date | None, consequence: str) -> None:
    if last and last < first:
        raise UsageError(f"--to {last} is before --date {first}. {consequence}")
