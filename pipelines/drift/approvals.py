"""Whether institutions approve as many as was predicted, by the decisions known of late."""

from collections.abc import Iterator
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from expectations import policy
from pipelines.drift.chance import Floats, kept
from pipelines.drift.facts import Figure, Grouping
from pipelines.drift.window import window
from pipelines.settings import Settings

COLUMNS: dict[Grouping, str] = {
    "all": "''",
    "institution": "institution_id",
    "channel": "channel_id",
    "industry": "industry",
}
LEAST_GROUPS = 8
"""Groups from which on they tell how much each of them changes by itself."""
CHI_SQUARE_MEDIAN = 0.4549
"""Of one degree of freedom."""

# What a decision says may be corrected; it counts from the day on which it was first known.
DECIDED = """
create or replace temp table decided as
with said as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        cast(timezone($zone, min(known_at)) as date) as known_on,
        arg_max(event, (known_at, event_at, event)) <> 'declined' as is_approved
    from read_parquet($outcomes)
    where event in ('approved', 'declined', 'funded')
    group by channel_id, lead_id, institution_id, product_id

)

select
    date_diff('day', $first, said.known_on) as day,
    said.institution_id,
    said.channel_id,
    pairs.industry,
    said.is_approved,
    cast(matches.p_approve as decimal(28, 9)) as p_approve
from read_parquet($matches) as matches
inner join said using (channel_id, lead_id, institution_id, product_id)
inner join read_parquet($pairs) as pairs using (channel_id, lead_id, institution_id, product_id)
where said.known_on between $first and $last
"""


def approval_figures(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield approvals over predicted ones, of each group with decisions enough.

    Args:
        settings: Whose matches and outcomes.
        day: Only what was known by its end counts.
        connection: Gets the temporary table `decided`.
    """
    rules = policy.drift()
    marts = settings.of_day(settings.marts, day)
    matched = window(settings, settings.matches, day).days
    if not matched:
        return
    last_reference = day - timedelta(days=rules.current_days)
    first = last_reference - timedelta(days=rules.reference_days - 1)
    connection.execute(
        DECIDED,
        {
            "zone": settings.time_zone,
            "outcomes": str(marts / "outcomes.parquet"),
            "pairs": str(marts / "training_pairs.parquet"),
            "matches": [
                str(settings.of_day(settings.matches, some_day) / "matches.parquet")
                for some_day in matched
            ],
            "first": first,
            "last": day,
        },
    )
    for grouping, column in COLUMNS.items():
        cells = connection.sql(
            f"""
            select
                day,
                {column} as name,
                count(*)::double as decisions,
                count(*) filter (is_approved)::double as approved,
                sum(p_approve)::double as predicted
            from decided
            where {column} is not null
            group by all
            order by all
            """
        ).to_arrow_table()
        yield from _figures(grouping, cells, (last_reference - first).days + 1)


def _figures(grouping: Grouping, cells: pa.Table, reference_days: int) -> Iterator[Figure]:
    """Yield the figures of one grouping from its cells of a day and a group."""
    rules = policy.drift()
    names = sorted(set(cells["name"].to_pylist()))
    of_group = np.searchsorted(names, cells["name"].to_numpy())
    is_now = cells["day"].to_numpy() >= reference_days

    def sums(name: str, which: NDArray[np.bool_]) -> Floats:
        values = cells[name].to_numpy()[which]
        return np.asarray(np.bincount(of_group[which], values, len(names)), np.float64)

    now = {name: sums(name, is_now) for name in cells.column_names[2:]}
    then = {name: sums(name, ~is_now) for name in cells.column_names[2:]}
    days = np.bincount(of_group[~is_now], minlength=len(names))
    enough = np.minimum(now["decisions"], then["decisions"]) >= rules.least_rows
    enough &= np.minimum(now["predicted"], then["predicted"]) >= rules.least_expected
    places = np.flatnonzero(enough & (days >= rules.least_reference_days))
    found, usual = (
        ((side["approved"] + 0.5) / (side["predicted"] + 0.5))[places] for side in (now, then)
    )
    p_values = _p_values(
        now["approved"][places], now["predicted"][places] * usual, then["predicted"][places] * usual
    )
    for place, ratio, before, p_value in zip(places, found, usual, p_values, strict=True):
        yield Figure(
            topic="approval",
            what="approved to predicted",
            grouping=grouping,
            group=names[place],
            statistic="ratio",
            value=kept(ratio),
            reference=kept(before),
            distance=kept(_distance(ratio, ratio / before)),
            watch_from=rules.lines.approval.watch,
            threshold=rules.lines.approval.drift,
            p_value=kept(p_value),
            rows=int(now["decisions"][place]),
            reference_rows=int(then["decisions"][place]),
            reference_days=int(days[place]),
        )


def _distance(*ratios: float) -> float:
    """Return how far approvals are off now and were not before: the nearest of `ratios` to 1.

    A new model may be right where the old one was wrong: a change to what was predicted is none
    for the worse. And an institution that was never predicted well hasn't changed.
    """
    logs = np.log(ratios)
    return 0.0 if np.ptp(np.sign(logs)) else float(np.exp(np.abs(logs).min()) - 1)


def _p_values(approved: Floats, expected: Floats, expected_then: Floats) -> Floats:
    """Return how often chance alone takes the approvals so far from what is expected.

    Twice the root of a count has the variance 1 (F. Anscombe, Biometrika 35, 1948), and more by
    as much as what is expected is uncertain: by the decisions before, and by the moods of
    institutions. These are measured on all groups of today, of which most have not changed (B.
    Efron, Journal of the American Statistical Association 99, 2004).
    """
    apart = 2 * (np.sqrt(approved + 0.375) - np.sqrt(expected + 0.375))
    variance = 1 + expected / expected_then
    if approved.size >= LEAST_GROUPS:
        moods = np.median((apart**2 / CHI_SQUARE_MEDIAN - variance) / expected)
        variance = variance + max(0.0, float(moods)) * expected
    return np.asarray(special.chdtrc(1, apart**2 / variance))
