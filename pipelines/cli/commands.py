"""Banyan decides every day which lead goes to which product."""

import argparse
import json
import os
import sys
from datetime import date, timedelta
from importlib import import_module
from typing import Any, NoReturn

from dags.steps import run_step
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings

BENCHMARKS = {
    "allocate": "pipelines.bench.benchmarks.allocate",
    "budgets": "pipelines.bench.benchmarks.budgets",
    "candidates": "pipelines.bench.benchmarks.prefilter",
    "eligibility": "pipelines.bench.benchmarks.eligibility",
    "leaks": "pipelines.bench.benchmarks.leaks",
    "models": "pipelines.bench.benchmarks.models",
    "offpolicy": "pipelines.bench.benchmarks.offpolicy",
    "real": "pipelines.bench.benchmarks.real_records",
    "reasons": "pipelines.bench.studies.reasons",
    "reject": "pipelines.bench.studies.reject_inference",
    "score": "pipelines.bench.benchmarks.score",
    "simulate": "pipelines.bench.benchmarks.simulate",
    "world": "pipelines.bench.benchmarks.world",
}
"""Name -> the module whose `main(settings, options)` measures and returns the figures."""

MARKET = ("start", "days", "leads_per_day", "institutions", "channels", "seed", "dirt")
"""Options that say which market is simulated."""

WHOLE = {
    "ingest": ("pipelines.ingest", "ingest"),
    "transform": ("pipelines.transform.build", "transform"),
}
"""Verb -> module and function that does at once what several tasks do in the DAG."""


def simulate(settings: Settings, asked: argparse.Namespace) -> int:
    """Write a simulated market under `landing/` and print what was written."""
    module = import_module("pipelines.simulate")
    plan = module.Plan(**_market(asked), broadcast_days=asked.broadcast_days)
    _print(module.simulate(settings, plan))
    return 0


def respond(settings: Settings, asked: argparse.Namespace) -> int:
    """Write the outcomes of what was delivered and print how much was written."""
    if asked.to and asked.to < asked.date:
        raise UsageError(f"--to {asked.to} is before --date {asked.date}. Nothing was answered.")
    _print(import_module("pipelines.simulate").respond(settings, asked.date, asked.to))
    return 0


def season(_: Settings, asked: argparse.Namespace) -> int:
    """Become the process that plays a season, for the reasons of `run`."""
    plan = _market(asked) | {
        "start": asked.start - timedelta(days=asked.history),
        "days": asked.history + asked.days,
        "broadcast_days": asked.history,
    }
    _become("dags.local.season", json.dumps(plan, default=str))


def import_file(settings: Settings, asked: argparse.Namespace) -> int:
    """Write a foreign file's rows as feed files and print what was read, written, set aside."""
    module = import_module("pipelines.importing")
    _print(module.import_file(settings, asked.mapping, asked.file, asked.start, asked.days))
    return 0


def run(_: Settings, asked: argparse.Namespace) -> int:
    """Become the process that runs the DAG for the dates asked for.

    Airflow must find its variables when it starts, and a process that is killed must not leave
    another one working: so this process is replaced, not a child started.
    """
    if asked.to and asked.to < asked.date:
        raise UsageError(f"--to {asked.to} is before --date {asked.date}. Nothing was run.")
    options = ["--date", f"{asked.date}", *(["--to", f"{asked.to}"] if asked.to else [])]
    options += ["--json"] if asked.json else []
    _become("dags.local.in_process", *options)


def one_step(settings: Settings, asked: argparse.Namespace) -> int:
    """Run one step for a date and print its counts."""
    _print(whole_step(asked.step, settings, asked.date))
    return 0


def whole_step(name: str, settings: Settings, day: date) -> Any:
    """Run what the DAG's tasks of one station do, one after the other."""
    if name in WHOLE:
        module, function = WHOLE[name]
        return getattr(import_module(module), function)(settings, day)
    if name == "deliver":
        shards = run_step("plan_deliver", settings, day)
        return [run_step("deliver", settings, day, shard) for shard in shards]
    return run_step(name, settings, day)


def replay(settings: Settings, asked: argparse.Namespace) -> int:
    """Compute a day again in a home of its own and print which published files differ."""
    found = import_module("dags.local.replay").replay(settings, asked.date)
    _print(found)
    return 1 if found["differences"] else 0


def champions(settings: Settings, _: argparse.Namespace) -> int:
    """Print which model served from when to when and why: a table, then one JSON object."""
    module = import_module("pipelines.training.champion_history")
    reigns = import_module("models.champion.registry").history(settings)
    print(module.table(reigns))
    _print(module.figures(reigns))
    return 0


def explain(settings: Settings, asked: argparse.Namespace) -> int:
    """Print what decided about a lead or a product: text for people, JSON for programs."""
    if not asked.lead and not asked.product:
        raise UsageError("explain needs --lead, --product or both. Nothing was explained.")
    found = import_module("pipelines.explain").explain(
        settings, asked.date, lead=asked.lead, product=asked.product
    )
    if asked.json:
        _print(found)
    else:
        print(import_module("pipelines.explain.text").text(found))
    return 0


def scorecard(settings: Settings, asked: argparse.Namespace) -> int:
    """Print what the matching of some days was worth: a table for people, JSON for programs."""
    if (asked.headline or asked.shuffled) and not asked.truth:
        raise UsageError("--headline and --shuffled need --truth. Nothing was done.")
    module, days = import_module("pipelines.evaluation.scorecard"), (asked.first, asked.last)
    if asked.shuffled:
        figures = module.control(settings, *days)
    elif asked.truth:
        figures, page = module.scorecard_page(settings, *days)
        print(f"page       {page}", file=sys.stderr)
    else:
        figures = module.scorecard(settings, *days, with_truth=False)
    written = import_module("pipelines.evaluation.scorecard.table")
    if asked.headline:
        print(written.headline(figures))
        return 0
    if not asked.json:
        print(written.table(figures))
    _print(figures)
    return 0


def worth(settings: Settings, asked: argparse.Namespace) -> int:
    """Print what another policy would have been worth on logged days; 1: it may not serve."""
    found = import_module("pipelines.evaluation.off_policy.policy_value").worth_of(
        settings, asked.first, asked.last, file=asked.policy, as_of=asked.models
    )
    print(f"{found['decision']}: {found['reason']}", file=sys.stderr)
    _print(found)
    return 0 if found["decision"] == "promoted" else 1


def bench(settings: Settings, asked: argparse.Namespace) -> int:
    """Run one benchmark and print its figures."""
    _print(import_module(BENCHMARKS[asked.name]).main(settings, asked.options))
    return 0


def _market(asked: argparse.Namespace) -> dict[str, Any]:
    parse = import_module("pipelines.simulate.shocks").Shock.parse
    shocks = tuple(parse(text) for text in asked.shocks)
    return {name: getattr(asked, name) for name in MARKET} | {"shocks": shocks}


def _become(module: str, *options: str) -> NoReturn:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *options])  # noqa: S606


def _print(figures: object) -> None:
    print(json.dumps(figures, ensure_ascii=False, default=str))
