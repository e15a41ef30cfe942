"""`banyan bench NAME`: a group that imports a benchmark only when it is called.

Each benchmark's module has a function `main(settings, options)` that returns its figures; the group
prints them as the last line.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from pipelines.cli.options import home_option, print_json
from pipelines.core.settings import Settings, use_home

Benchmark = Callable[[Settings, Sequence[str]], dict[str, Any]]


def _allocate() -> Benchmark:
    """The allocation where only quotas bind, against other solvers."""
    from pipelines.bench.benchmarks.allocate import main

    return main


def _budgets() -> Benchmark:
    """The allocation with quotas, budgets, pacing and floors."""
    from pipelines.bench.benchmarks.budgets import main

    return main


def _candidates() -> Benchmark:
    """What the prefilter of pairs saves, and what it costs."""
    from pipelines.bench.benchmarks.prefilter import main

    return main


def _eligibility() -> Benchmark:
    """Leads against the hard rules of many products."""
    from pipelines.bench.benchmarks.eligibility import main

    return main


def _leaks() -> Benchmark:
    """The leak checks on columns with and without a leak."""
    from pipelines.bench.benchmarks.leaks import main

    return main


def _models() -> Benchmark:
    """A model on a labelled file, through a mapping."""
    from pipelines.bench.benchmarks.models import main

    return main


def _offpolicy() -> Benchmark:
    """Coverage and bias of the off-policy estimates."""
    from pipelines.bench.benchmarks.offpolicy import main

    return main


def _real() -> Benchmark:
    """The models on public records; writes docs/figures.md."""
    from pipelines.bench.benchmarks.real_records import main

    return main


def _reasons() -> Benchmark:
    """The fidelity of the stated reasons."""
    from pipelines.bench.studies.reasons import main

    return main


def _reject() -> Benchmark:
    """What reject inference gains."""
    from pipelines.bench.studies.reject_inference import main

    return main


def _score() -> Benchmark:
    """Scoring pairs, against LightGBM."""
    from pipelines.bench.benchmarks.score import main

    return main


def _simulate() -> Benchmark:
    """Simulating one day of a large market."""
    from pipelines.bench.benchmarks.simulate import main

    return main


def _world() -> Benchmark:
    """The cost of a borrower in the simulated market, by seed."""
    from pipelines.bench.benchmarks.world import main

    return main


LOADERS: dict[str, Callable[[], Benchmark]] = {
    "allocate": _allocate,
    "budgets": _budgets,
    "candidates": _candidates,
    "eligibility": _eligibility,
    "leaks": _leaks,
    "models": _models,
    "offpolicy": _offpolicy,
    "real": _real,
    "reasons": _reasons,
    "reject": _reject,
    "score": _score,
    "simulate": _simulate,
    "world": _world,
}
"""Name -> the function that imports the benchmark; its docstring is the line in the help."""


class BenchmarkGroup(click.Group):
    """The benchmarks by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the benchmarks."""
        return list(LOADERS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the benchmark `cmd_name`, or None where there is none."""
        if cmd_name not in LOADERS:
            return None
        benchmark = LOADERS[cmd_name]()

        @click.command(
            cmd_name, context_settings={"ignore_unknown_options": True}, add_help_option=False
        )
        @click.argument("options", nargs=-1, type=click.UNPROCESSED)
        @click.pass_obj
        def run(settings: Settings, options: tuple[str, ...]) -> int:
            print_json(benchmark(settings, options))
            return 0

        return run

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of benchmarks without importing them."""
        with formatter.section("Benchmarks"):
            formatter.write_dl([(name, f"{load.__doc__}") for name, load in LOADERS.items()])


@click.command("bench", cls=BenchmarkGroup)
@home_option
@click.pass_context
def bench(context: click.Context, home: Path | None) -> None:
    """Run one benchmark; its last line is one JSON object."""
    context.obj = use_home(home) if home else Settings()
