"""The verbs about what goes out and comes back: send, deliveries, statement, signing-key."""

import sys
from datetime import date, datetime

import click

from pipelines.cli.options import DATE, date_option, json_option, print_json, with_settings
from pipelines.core.settings import Settings


@click.command()
@date_option
@with_settings
def send(settings: Settings, day: date) -> int:
    """Send the deliveries of a date that have not arrived; exit 1: one could not be sent.

    It sends again what waited for a delivery window and what was a dead letter, and writes the
    date's report again. What has arrived is not sent again.
    """
    from dags.local.environment import prepare_metadata, set_airflow_environment
    from dags.local.terminal import redirect_output
    from dags.steps import run_whole_step
    from pipelines.core.home.lock import lock_home

    log = settings.logs / "send" / f"date={day}.log"
    with lock_home(settings), redirect_output(log):  # Airflow writes to the terminal
        set_airflow_environment(settings)
        prepare_metadata()
        counts = run_whole_step("send", settings, day)
        if settings.day_folder(settings.reports, day).is_dir():
            run_whole_step("report", settings, day)
    print_json(counts)
    return 1 if counts.get("dead_letters") else 0


@click.command()
@date_option
@json_option
@with_settings
def deliveries(settings: Settings, day: date, as_json: bool) -> int:  # noqa: FBT001
    """Show the state of each match of the deliveries of a date, by institution."""
    from pipelines.deliveries.ledger.events import STAGES, count_states

    counts = count_states(settings, day)
    if as_json:
        print_json({"date": f"{day}", "institutions": counts})
        return 0
    if not counts:
        print(f"The ledger has no delivery of {day}. Run the date first: banyan run --date {day}")
        return 0
    shown = [name for name in STAGES if any(name in states for states in counts.values())]
    print("  ".join([f"{'institution':<24}", *(f"{name:>9}" for name in shown)]))
    for institution, states in counts.items():
        figures = (f"{states.get(name, 0):>9,}" for name in shown)
        print("  ".join([f"{institution:<24}", *figures]))
    print_json({"date": f"{day}", "institutions": counts})
    return 0


class MonthName(click.ParamType[date]):
    """A month, written YYYY-MM."""

    name = "month"

    def convert(
        self, value: str | date, param: click.Parameter | None, ctx: click.Context | None
    ) -> date:
        """Return the first date of the month that `value` names."""
        if isinstance(value, date):
            return value
        try:
            return datetime.strptime(f"{value}-01", "%Y-%m-%d").date()  # noqa: DTZ007
        except ValueError:
            self.fail(f"{value!r} is no month such as 2026-03", param, ctx)


@click.command()
@click.option("--month", type=MonthName(), required=True, help="Month, YYYY-MM.")
@click.option("--institution", help="Only this institution (else all).")
@with_settings
def statement(settings: Settings, month: date, institution: str | None) -> int:
    """Show what institutions owe for a month; a month that is not over has a preview."""
    from pipelines.billing.statement import Month, load_statement

    figures = load_statement(settings, Month.of(month), institution)
    print(f"{figures['month']}: {figures['state']}", file=sys.stderr)
    print_json(figures)
    return 0


@click.command("signing-key")
@click.option(
    "--rotate-from", "first", type=DATE, help="Make a new key that signs from this date on."
)
@with_settings
def signing_key(settings: Settings, first: date | None) -> int:
    """Print the public keys by which institutions verify manifests; the first is made at once."""
    from pipelines.core.home.lock import lock_home
    from pipelines.deliveries.signatures import publish_keys, rotate_key

    with lock_home(settings):
        if first:
            rotate_key(settings, first)
        print(publish_keys(settings), end="")
    return 0


DELIVERY_COMMANDS = (send, deliveries, statement, signing_key)
