"""What the models learn from: pairs with their labels, as far as known before an anchor.

One rule keeps the sample fair: whether a row is in it never depends on what its label became. A
loan that was taken up at once and one that was not both wait until the time for it has passed.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.policy_types import Segment
from models.params import WEEKDAYS, Label, params
from pipelines.database import connect
from pipelines.publish import read_manifest
from pipelines.settings import Settings

KEYS = ("channel_id", "lead_id", "institution_id", "product_id")

LABELS: dict[Label, str] = {
    # What the institution said last; corrections count as soon as they are known.
    "approved": """
        select {keys}, event = 'approved' as label, known_at as label_known_at
        from events where event in ('approved', 'declined')
        qualify row_number() over (
            partition by {keys} order by recorded_at desc, event_at desc, event
        ) = 1
    """,
    # Whether an approval was taken up in the time that the policy gives it.
    "funded": """
        select
            {keys},
            coalesce(first_funded.event_at <= first_approved.maturity, false) as label,
            greatest(first_approved.maturity, first_funded.known_at) as label_known_at
        from (
            select {keys}, known_at + to_days({take_up}) as maturity
            from first_events inner join pairs using ({keys}) where event = 'approved'
        ) as first_approved
        left join (select * from first_events where event = 'funded') as first_funded
        using ({keys})
    """,
    # Whether a loan fell 90 days behind within the horizon of its segment.
    "defaulted": """
        select
            {keys},
            coalesce(first_overdue.event_at <= first_funded.maturity, false) as label,
            greatest(first_funded.maturity, first_overdue.known_at) as label_known_at
        from (
            select
                {keys},
                known_at + to_months({horizon}) as maturity
            from first_events inner join pairs using ({keys}) where event = 'funded'
        ) as first_funded
        left join (select * from first_events where event = 'overdue_90') as first_overdue
        using ({keys})
    """,
    # How a loan ended, for benchmarks on books that are closed: written off or repaid.
    "charged_off": """
        select {keys}, bool_or(event = 'overdue_90') as label, min(known_at) as label_known_at
        from first_events where event in ('overdue_90', 'repaid') group by {keys}
    """,
}
"""Label -> SQL for the key, the label, and from when on it can be counted."""


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

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    marts = settings.of_day(settings.marts, day)
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
    rules = policy.outcomes()
    labels = LABELS[label].format(
        keys=", ".join(KEYS),
        take_up=_by_segment(rules.take_up_maturity_days),
        horizon=_by_segment(rules.default_horizon_months),
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

        select pairs.*, cast(labels.label as double) as label, label_known_on
        from pairs
        inner join (
            select *, cast(label_known_at at time zone '{settings.time_zone}' as date) as known_on
            from ({labels})
        ) as labels using ({", ".join(KEYS)})
        cross join market
        cross join lateral (
            select greatest(known_on, business_date + waits) as label_known_on
        )
        where label_known_on < date '{as_of}'
        order by {", ".join(KEYS)}
    """


def _by_segment(figures: Mapping[Segment, int]) -> str:
    cases = " ".join(f"when '{name}' then {figure}" for name, figure in sorted(figures.items()))
    return f"cast(case segment {cases} end as integer)"
