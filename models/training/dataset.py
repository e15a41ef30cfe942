"""What the models learn from: pairs with their labels, as far as known before an anchor.

One rule keeps the sample fair: whether a row is in it never depends on what its label became. An
approval that was taken up at once and one that was not both wait until the time for it has passed.
A loan is in it from its second month on and weighs as much as was seen of it, see `running`.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.policy_types import Segment
from models.params import WEEKDAYS, Label, params
from models.training import loan_maturity
from pipelines.core.database import connect
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings

KEYS = ("channel_id", "lead_id", "institution_id", "product_id")

LABELS: dict[Label, str] = {
    # What the institution said last; corrections count as soon as they are known.
    "approved": """
        select {keys}, cast(event = 'approved' as double) as label, known_at as label_known_at
        from events where event in ('approved', 'declined')
        qualify row_number() over (
            partition by {keys} order by recorded_at desc, event_at desc, event
        ) = 1
    """,
    # Whether an approval was taken up in the time that the policy gives it.
    "funded": """
        select
            {keys},
            cast(coalesce(first_funded.event_at <= maturity, false) as double) as label,
            greatest(first_approved.maturity, first_funded.known_at) as label_known_at
        from (
            select {keys}, known_at + to_days({take_up}) as maturity
            from first_events inner join pairs using ({keys}) where event = 'approved'
        ) as first_approved
        left join (select * from first_events where event = 'funded') as first_funded
        using ({keys})
    """,
    # How each loan stands, as told by then; `running.weighed` makes labels and weights of it. A
    # loan counts from its second month on: in its first it says nothing.
    "defaulted": """
        select
            {keys},
            date_diff('day', start, start + to_months({horizon})) as horizon,
            date_diff('second', start, {told_until}) / 86400.0 as seen,
            date_diff('second', start, at_30) / 86400.0 as behind_30,
            date_diff('second', start, at_60) / 86400.0 as behind_60,
            date_diff('second', start, at_90) / 86400.0 as behind_90,
            start + to_days(30 + {told_after_days}) as label_known_at
        from (
            select {keys}, segment, known_at as start
            from first_events inner join pairs using ({keys}) where event = 'funded'
        )
        left join (
            select
                {keys},
                min(event_at) filter (event = 'overdue_30') as at_30,
                min(event_at) filter (event = 'overdue_60') as at_60,
                min(event_at) filter (event = 'overdue_90') as at_90
            from first_events where event_at < {told_until} group by {keys}
        ) using ({keys})
    """,
    # How a loan ended, for benchmarks on books that are closed: written off or repaid.
    "charged_off": """
        select
            {keys},
            cast(bool_or(event = 'overdue_90') as double) as label,
            min(known_at) as label_known_at
        from first_events where event in ('overdue_90', 'repaid') group by {keys}
    """,
}
"""Label -> SQL for the key, the label or how it stands, and from when on that can be counted."""


def anchor(day: date) -> date:
    """Return the name of the model set of `day`: the latest anchor weekday on or before it."""
    since = (day.weekday() - WEEKDAYS.index(params().anchor_weekday)) % 7
    return day - timedelta(days=since)


def examples(settings: Settings, day: date, label: Label, *, as_of: date) -> pa.Table:
    """Return the pairs whose `label` was known before `as_of` began, from the marts of `day`.

    Returns:
        Every column of `training_pairs`, then `label` (0.0 or 1.0) and `label_known_on` (the
        business date from whose end on the label counts), in the order of `KEYS`. The bytes
        depend on what was known before `as_of` alone, whichever later `day` they are read from.
        Of loans there is also a `weight`, and `label_known_on` is when they begin to count: what
        is said of each is what was known before `as_of`.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    found = _labelled(settings, day, label, as_of)
    return loan_maturity.weighed(found) if label == "defaulted" else found


def loans(settings: Settings, day: date, *, as_of: date) -> pa.Table:
    """Return the loans that are examples of `defaulted`, each as it stood, from the marts of `day`.

    Returns:
        As `examples`, one row a loan, with the columns of `running.STATE` in place of `label` and
        `weight`.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    return _labelled(settings, day, "defaulted", as_of)


def told_until(settings: Settings, as_of: date) -> datetime:
    """Return up to when all that happened to loans is told, and counts, as of a day."""
    return settings.day_start(as_of - timedelta(days=params().decision_maturity_days))


def _labelled(settings: Settings, day: date, label: Label, as_of: date) -> pa.Table:
    """Return the pairs with what `LABELS` makes of their outcomes."""
    marts = settings.day_folder(settings.marts, day)
    read_manifest(marts)
    with connect(settings) as connection:
        _views(connection, marts, settings, as_of)
        return connection.sql(_labelled_sql(label, settings, as_of)).to_arrow_table()


def _views(
    connection: duckdb.DuckDBPyConnection, marts: Path, settings: Settings, as_of: date
) -> None:
    """Make `pairs`, and `events` and `first_events` as known before `as_of`."""
    before = f"timestamptz '{settings.day_start(as_of).isoformat()}'"
    connection.execute(
        f"create view pairs as from read_parquet('{marts / 'training_pairs.parquet'}') "
        f"where business_date < date '{as_of}'"
    )
    connection.execute(
        f"create view events as from read_parquet('{marts / 'outcomes.parquet'}') "
        f"where known_at < {before}"
    )
    keys = ", ".join(KEYS)
    connection.execute(
        f"create view first_events as select {keys}, event, min(event_at) as event_at, "
        f"min(known_at) as known_at from events group by {keys}, event"
    )


def _labelled_sql(label: Label, settings: Settings, as_of: date) -> str:
    rules, keys = policy.outcomes(), ", ".join(KEYS)
    labels = LABELS[label].format(
        keys=keys,
        take_up=_by_segment(rules.take_up_maturity_days),
        horizon=_by_segment(rules.default_horizon_months),
        told_after_days=params().decision_maturity_days,
        told_until=f"timestamptz '{told_until(settings, as_of).isoformat()}'",
    )
    young, mature = params().decision_maturity_days_when_young, params().decision_maturity_days
    return f"""
        with market as (
            select
                case
                    when date '{as_of}' - min(business_date) < {params().young_days}
                    then {young} else {mature}
                end as waits
            from pairs
        )

        select pairs.*, labels.* exclude ({keys}, label_known_at, known_on),
            label_known_on
        from pairs
        inner join (
            select *, cast(label_known_at at time zone '{settings.time_zone}' as date) as known_on
            from ({labels})
        ) as labels using ({keys})
        cross join market
        cross join lateral (
            select greatest(known_on, business_date + waits) as label_known_on
        )
        where label_known_on < date '{as_of}'
        order by {keys}
    """


def _by_segment(figures: Mapping[Segment, int]) -> str:
    cases = " ".join(f"when '{name}' then {figure}" for name, figure in sorted(figures.items()))
    return f"cast(case segment {cases} end as integer)"
