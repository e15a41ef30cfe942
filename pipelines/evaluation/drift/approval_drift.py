"""Drift of approvals: recent decisions of each group against what the models predicted."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from scipy import special

from expectations import policy
from pipelines.core.arrays import FloatArray
from pipelines.core.database import read_query, run_query
from pipelines.core.home.shared_marts import list_mart_files
from pipelines.core.settings import Settings
from pipelines.core.statistics import round_significant
from pipelines.evaluation.drift.comparison import Figure, Grouping, load_window

SQL = Path(__file__).parent / "sql"
GROUPINGS: tuple[Grouping, ...] = ("all", "institution", "channel", "industry")
MIN_GROUPS = 8
"""Groups that are needed to estimate the variance between groups."""
CHI_SQUARE_MEDIAN = 0.4549
"""Median of chi-square with one degree of freedom."""


def approval_figures(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield approved over predicted, for each group with enough decisions.

    Matches of the days just before `day` count if they are decided by its end; earlier matches
    count as far as they were decided as fast, because fast decisions differ from slow ones.
    A group drifts only if its approvals differ from the prediction and from what was usual: the
    greater p-value counts (R. Berger, Technometrics 24, 1982).

    Args:
        settings: Settings of the home.
        day: Only outcomes known by its end count.
        connection: Gets the temporary tables `decided` and `compared`.
    """
    window = load_window(settings, settings.matches, day - timedelta(days=1))
    if not window.has_reference:
        return
    marts = settings.day_folder(settings.marts, day)
    matches = [
        str(settings.day_folder(settings.matches, date) / "matches.parquet") for date in window.days
    ]
    newest = connection.execute("select max(models) from read_parquet(?)", [matches[-1]])
    parameters = {
        "time_zone": settings.time_zone,
        "outcomes": list_mart_files(marts, "outcomes"),
        "pairs": list_mart_files(marts, "training_pairs"),
        "matches": matches,
        "models": newest.fetchall()[0][0],
        "last_reference": window.reference[-1],
        "max_days": policy.drift().current_days,
    }
    run_query(connection, SQL / "decided_matches.sql", parameters)
    usual = {
        "current_ages": [(day - date).days for date in window.current],
        "institution_weight": policy.drift().institution_weight,
    }
    run_query(connection, SQL / "usual_approvals.sql", usual)
    for grouping in GROUPINGS:
        query = read_query(SQL / "approvals_by_group.sql")
        groups = connection.sql(query, params={"grouping": grouping}).to_arrow_table()
        yield from _figures(grouping, groups)


def _figures(grouping: Grouping, groups: pa.Table) -> Iterator[Figure]:
    """Yield the figures of one grouping from its sums, one row a group."""
    rules = policy.drift()
    sums = {name: groups[name].to_numpy().astype(np.float64) for name in groups.column_names[1:]}
    enough = np.minimum(sums["current_decided"], sums["reference_decided"]) >= rules.min_rows
    enough &= (
        np.minimum(sums["current_predicted"], sums["reference_predicted"]) >= rules.min_expected
    )
    enough &= sums["reference_days"] >= rules.min_reference_days
    names = np.array(groups["group_name"].to_pylist(), np.str_)[enough]
    sums = {name: column[enough] for name, column in sums.items()}
    expected, variance = _expect_as_before(grouping, sums)
    current = (sums["current_approved"] + 0.5) / (sums["current_predicted"] + 0.5)
    usual = (expected + 0.5) / (sums["current_predicted"] + 0.5)
    p_values = np.maximum(
        p_values_of_approvals(sums["current_approved"], expected, variance),
        p_values_of_approvals(sums["current_approved"], *_expect_as_predicted(sums)),
    )
    for position, name in enumerate(names):
        distance = _distance(current[position], current[position] / usual[position])
        yield Figure(
            topic="approval",
            measure="approved to predicted",
            grouping=grouping,
            group=str(name),
            statistic="ratio",
            value=round_significant(current[position]),
            reference=round_significant(usual[position]),
            distance=round_significant(distance),
            watch_threshold=rules.lines.approval.watch,
            drift_threshold=rules.lines.approval.drift,
            p_value=round_significant(p_values[position]),
            rows=int(sums["current_decided"][position]),
            reference_rows=int(sums["reference_decided"][position]),
            reference_days=int(sums["reference_days"][position]),
        )


def _expect_as_before(
    grouping: Grouping, sums: Mapping[str, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return the approvals that are usual for the current matches, and their variance.

    They follow from what each institution approved in the reference, so that a day on which other
    institutions report is not drift. A channel or industry has a usual ratio of its own besides,
    which is shrunk to 1 as an institution's is shrunk to that of all.
    """
    expected, variance = sums["current_usual"], sums["usual_variance"]
    if grouping in ("all", "institution"):
        return expected, variance
    weight = policy.drift().institution_weight
    shape = sums["reference_approved"] + weight
    own = shape / (sums["reference_usual"] + weight)
    return expected * own, variance * own**2 + (expected * own) ** 2 / shape


def _expect_as_predicted(sums: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return the approvals by the current models' own ratio so far, and their variance.

    The ratio of new models is 1, with the weight of the policy.
    """
    weight = policy.drift().new_model_weight
    shape = sums["same_models_approved"] + weight
    expected = sums["current_predicted"] * shape / (sums["same_models_predicted"] + weight)
    return expected, expected**2 / shape


def _distance(*ratios: float) -> float:
    """Return the distance of the ratio nearest to 1; 0 if `ratios` lie on both sides of 1.

    Approvals drift only if they differ from the prediction now and did not before. A new model
    may be right where the old one was wrong, and an institution that was never predicted well has
    not changed.
    """
    logs = np.log(ratios)
    return 0.0 if np.ptp(np.sign(logs)) else float(np.exp(np.abs(logs).min()) - 1)


def p_values_of_approvals(
    approved: FloatArray, expected: FloatArray, variance: FloatArray
) -> FloatArray:
    """Return the probability that approvals differ so much from the expectation by chance.

    The expectation is uncertain: its ratio has a gamma distribution, so the count is negative
    binomial (A. Gelman et al., Bayesian Data Analysis, 2013, chapter 2.6). The variance between
    groups is added, which is estimated on all groups of the day, of which most have not changed
    (B. Efron, Journal of the American Statistical Association 99, 2004). Both tails count.

    Args:
        approved: Approvals of each group.
        expected: Expected approvals.
        variance: Variance of the expectation.
    """
    if approved.size >= MIN_GROUPS:
        # Twice the root of a count has variance 1 (F. Anscombe, Biometrika 35, 1948).
        difference = 2 * (np.sqrt(approved + 0.375) - np.sqrt(expected + 0.375))
        spread = difference**2 / CHI_SQUARE_MEDIAN - 1 - variance / expected
        variance = variance + max(0.0, float(np.median(spread / expected))) * expected**2
    size = expected**2 / variance
    stays = size / (size + expected)
    low = special.betainc(size, approved + 1, stays)
    high = np.where(approved > 0, special.betaincc(size, np.maximum(approved, 1), stays), 1.0)
    return np.asarray(np.minimum(1.0, 2 * np.minimum(low, high)))
