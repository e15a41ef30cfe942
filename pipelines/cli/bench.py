"""`banyan bench NAME`: a group that imports a benchmark only when it is called.

Each benchmark is a `click.Command` that takes the settings from the context and returns its
figures; the group prints them as the last line.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipelines.cli.options import home_option, print_json
from pipelines.core.settings import Settings, use_home


def _allocate() -> click.Command:
    """The allocation where only quotas bind, against other solvers."""
    from pipelines.bench.benchmarks.allocate import allocate_command

    return allocate_command


def _broadcast_cost() -> click.Command:
    """The cost of a borrower in the simulated market, by seed."""
    from pipelines.bench.benchmarks.simulate import broadcast_cost_command

    return broadcast_cost_command


def _budgets() -> click.Command:
    """The allocation with quotas, budgets and pacing."""
    from pipelines.bench.benchmarks.allocate import budgets_command

    return budgets_command


def _chain() -> click.Command:
    """What the supply chain's features bring in the risk of businesses."""
    from pipelines.bench.studies.supply_chain import command

    return command


def _chain_matches() -> click.Command:
    """What the supply chain's features bring in the matches of businesses."""
    from pipelines.bench.studies.supply_chain_matches import command

    return command


def _day() -> click.Command:
    """A whole day through its DAG, against its bare kernels."""
    from pipelines.bench.benchmarks.whole_day.day import command

    return command


def _deliver() -> click.Command:
    """Delivering a large matched day, sealed and signed."""
    from pipelines.bench.benchmarks.deliveries.deliver import command

    return command


def _disk() -> click.Command:
    """The disk that each day adds to a home."""
    from pipelines.bench.studies.disk_growth import command

    return command


def _eligibility() -> click.Command:
    """Leads against the hard rules of many products."""
    from pipelines.bench.benchmarks.eligibility import command

    return command


def _leaks() -> click.Command:
    """The leak check on columns with and without a leak."""
    from pipelines.bench.benchmarks.leaks import command

    return command


def _models() -> click.Command:
    """A model on a labelled file, through a mapping."""
    from pipelines.bench.benchmarks.models import command

    return command


def _off_policy() -> click.Command:
    """Coverage and bias of the off-policy estimates."""
    from pipelines.bench.benchmarks.off_policy import command

    return command


def _portions() -> click.Command:
    """What the portions of a day cost the driver and the workers of Spark."""
    from pipelines.bench.benchmarks.portions import command

    return command


def _prefilter() -> click.Command:
    """The value that the prefilter of pairs loses."""
    from pipelines.bench.benchmarks.prefilter import command

    return command


def _prices() -> click.Command:
    """Shadow prices and rule costs against solving a day again."""
    from pipelines.bench.benchmarks.prices import command

    return command


def _real() -> click.Command:
    """The models on public records; writes docs/figures.md."""
    from pipelines.bench.benchmarks.real_records import command

    return command


def _reasons() -> click.Command:
    """The fidelity of the stated reasons."""
    from pipelines.bench.benchmarks.reasons import command

    return command


def _reject_inference() -> click.Command:
    """The gain of reject inference."""
    from pipelines.bench.studies.reject_inference import command

    return command


def _score() -> click.Command:
    """Scoring pairs, against LightGBM."""
    from pipelines.bench.benchmarks.score import command

    return command


def _simulate() -> click.Command:
    """Simulating one day of a large market."""
    from pipelines.bench.benchmarks.simulate import simulate_command

    return simulate_command


LOADERS: dict[str, Callable[[], click.Command]] = {
    "allocate": _allocate,
    "broadcast-cost": _broadcast_cost,
    "budgets": _budgets,
    "chain": _chain,
    "chain-matches": _chain_matches,
    "day": _day,
    "deliver": _deliver,
    "disk": _disk,
    "eligibility": _eligibility,
    "leaks": _leaks,
    "models": _models,
    "off-policy": _off_policy,
    "portions": _portions,
    "prefilter": _prefilter,
    "prices": _prices,
    "real": _real,
    "reasons": _reasons,
    "reject-inference": _reject_inference,
    "score": _score,
    "simulate": _simulate,
}
"""Name -> the function that imports the benchmark; its docstring is the line in the help."""


class BenchmarkGroup(click.Group):
    """The benchmarks by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the benchmarks."""
        return list(LOADERS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the benchmark `cmd_name`, or None where there is none."""
        return LOADERS[cmd_name]() if cmd_name in LOADERS else None

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


@bench.result_callback()
def print_figures(figures: dict[str, Any], home: Path | None) -> int:  # noqa: ARG001
    """Print the figures of a benchmark as one JSON object."""
    print_json(figures)
    return 0
