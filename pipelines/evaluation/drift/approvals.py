"""Whether institutions approve as many as was predicted, by the decisions known of late."""

from collections.abc import Iterator
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
from scipy import special

from expectations import policy
from pipelines.core.arrays import FloatArray
from pipelines.core.settings import Settings
from pipelines.core.statistics import round_significant
from pipelines.evaluation.drift.figures import Figure, Grouping
from pipelines.evaluation.drift.window import window

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
    matches."date" as matched_on,
    matches."date" > $last_reference as is_now,
    matches.models is not distinct from $models as by_same_models,
    said.institution_id,
    said.channel_id,
    pairs.industry,
    said.is_approved,
    cast(matches.p_approve as decimal(28, 9)) as p_approve
from read_parquet($matches, hive_partitioning = true) as matches
inner join said using (channel_id, lead_id, institution_id, product_id)
inner join read_parquet($pairs) as pairs using (channel_id, lead_id, institution_id, product_id)
where date_diff('day', matches."date", said.known_on) <= $within
"""


def approval_figures(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield approvals over predicted ones, of each group with decisions enough.

    Of the matches of the days just before `day`, those count that are decided by its end; of
    earlier ones those that were decided as fast, since what is decided at once is not like what
    takes a week.

    Args:
        settings: Whose matches and outcomes.
        day: Only what was known by its end counts.
        connection: Gets the temporary table `decided`.
    """
    within = window(settings, settings.matches, day - timedelta(days=1))
    if not within.has_reference:
        return
    marts = settings.day_folder(settings.marts, day)
    matches = [
        str(settings.day_folder(settings.matches, some_day) / "matches.parquet")
        for some_day in within.days
    ]
    newest = connection.execute("select max(models) from read_parquet(?)", [matches[-1]])
    connection.execute(
        DECIDED,
        {
            "zone": settings.time_zone,
            "outcomes": str(marts / "outcomes.parquet"),
            "pairs": str(marts / "training_pairs.parquet"),
            "matches": matches,
            "models": newest.fetchall()[0][0],
            "last_reference": within.reference[-1],
            "within": policy.drift().current_days,
        },
    )
    for grouping, column in COLUMNS.items():
        cells = connection.sql(
            f"""
            select
                {column} as name,
                count(*) filter (is_now) as now_decided,
                count(*) filter (is_now and is_approved) as now_approved,
                coalesce(sum(p_approve) filter (is_now), 0)::double as now_predicted,
                count(*) filter (not is_now) as then_decided,
                count(*) filter (not is_now and is_approved) as then_approved,
                coalesce(sum(p_approve) filter (not is_now), 0)::double as then_predicted,
                count(distinct matched_on) filter (not is_now) as then_days,
                count(*) filter (not is_now and is_approved and by_same_models)
                    as same_approved,
                coalesce(sum(p_approve) filter (not is_now and by_same_models), 0)::double
                    as same_predicted
            from decided
            where {column} is not null
            group by name
            order by name
            """
        ).to_arrow_table()
        yield from _figures(grouping, cells)


def _figures(grouping: Grouping, cells: pa.Table) -> Iterator[Figure]:
    """Yield the figures of one grouping from its sums, one row a group."""
    rules = policy.drift()
    sums = {name: cells[name].to_numpy().astype(np.float64) for name in cells.column_names[1:]}
    enough = np.minimum(sums["now_decided"], sums["then_decided"]) >= rules.least_rows
    enough &= np.minimum(sums["now_predicted"], sums["then_predicted"]) >= rules.least_expected
    enough &= sums["then_days"] >= rules.least_reference_days
    names = np.array(cells["name"].to_pylist(), np.str_)[enough]
    sums = {name: column[enough] for name, column in sums.items()}
    found, before = (
        (sums[f"{side}_approved"] + 0.5) / (sums[f"{side}_predicted"] + 0.5)
        for side in ("now", "then")
    )
    # What the models that predict now have shown so far; as new ones are taken at their word.
    evidence = sums["same_predicted"] + rules.word_of_new_models
    usual = (sums["same_approved"] + rules.word_of_new_models) / evidence
    p_values = _p_values(sums["now_approved"], sums["now_predicted"] * usual, evidence * usual)
    for place, name in enumerate(names):
        yield Figure(
            topic="approval",
            what="approved to predicted",
            grouping=grouping,
            group=str(name),
            statistic="ratio",
            value=round_significant(found[place]),
            reference=round_significant(before[place]),
            distance=round_significant(_distance(found[place], found[place] / before[place])),
            watch_from=rules.lines.approval.watch,
            threshold=rules.lines.approval.drift,
            p_value=round_significant(p_values[place]),
            rows=int(sums["now_decided"][place]),
            reference_rows=int(sums["then_decided"][place]),
            reference_days=int(sums["then_days"][place]),
        )


def _distance(*ratios: float) -> float:
    """Return how far approvals are off now and were not before: the nearest of `ratios` to 1.

    A new model may be right where the old one was wrong: a change to what was predicted is none
    for the worse. And an institution that was never predicted well hasn't changed.
    """
    logs = np.log(ratios)
    return 0.0 if np.ptp(np.sign(logs)) else float(np.exp(np.abs(logs).min()) - 1)


def _p_values(approved: FloatArray, expected: FloatArray, expected_then: FloatArray) -> FloatArray:
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
