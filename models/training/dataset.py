"""Training examples: pairs with their labels, as of an anchor date.

One rule keeps the sample unbiased: whether a row is in it never depends on its label. An approval
that was funded at once waits as long as one that was not. A loan is in the sample from its second
month and weighs by its observed part, see `loan_maturity`.
"""

from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from models.params import WEEKDAYS, Label, params
from models.training import loan_maturity
from pipelines.core.database import connect, read_query, run_query
from pipelines.core.home.shared_marts import list_mart_files
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings

KEYS = ("channel_id", "lead_id", "institution_id", "product_id")
SQL = Path(__file__).parent / "sql"


def find_anchor(day: date) -> date:
    """Return the name of the model set of `day`: the latest anchor weekday on or before it."""
    since = (day.weekday() - WEEKDAYS.index(params().anchor_weekday)) % 7
    return day - timedelta(days=since)


def load_examples(settings: Settings, day: date, label: Label, *, as_of: date) -> pa.Table:
    """Return the pairs whose `label` was known before `as_of` began, from the marts of `day`.

    Returns:
        Every column of `training_pairs`, then `label` (0.0 or 1.0) and `label_known_on` (the
        business date from whose end the label counts), in the order of `KEYS`. The bytes depend
        only on what was known before `as_of`, not on `day`. Loans also have a `weight`, and their
        `label_known_on` is when they begin to count, while their state is that of `as_of`.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    examples = _load_labelled(settings, day, label, as_of)
    return loan_maturity.label_loans(examples) if label == "defaulted" else examples


def load_loans(settings: Settings, day: date, *, as_of: date) -> pa.Table:
    """Return the loans that are examples of `defaulted`, in their state, from the marts of `day`.

    Returns:
        As `load_examples`, one row a loan, with the columns of `loan_maturity.LOAN_STATE` in place
        of `label` and `weight`.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    return _load_labelled(settings, day, "defaulted", as_of)


def knowledge_cutoff(settings: Settings, as_of: date) -> datetime:
    """Return the time before which all events of loans are reported, and count, as of a day."""
    return settings.day_start(as_of - timedelta(days=params().decision_maturity_days))


def _load_labelled(settings: Settings, day: date, label: Label, as_of: date) -> pa.Table:
    marts = settings.day_folder(settings.marts, day)
    read_manifest(marts)
    with connect(settings) as connection:
        _create_views(connection, marts, settings, as_of)
        _create_labels(connection, label, settings, as_of)
        parameters = {
            "as_of": as_of,
            "time_zone": settings.time_zone,
            "maturity_days": params().decision_maturity_days,
            "young_market_days": params().young_market_days,
            "young_market_maturity_days": params().young_market_maturity_days,
        }
        query = read_query(SQL / "examples.sql")
        return connection.sql(query, params=parameters).to_arrow_table()


def _create_views(
    connection: duckdb.DuckDBPyConnection, marts: Path, settings: Settings, as_of: date
) -> None:
    """Create `pairs` and `events`, as known before `as_of`, `first_events` and `outcome_rules`."""
    before = f"timestamptz '{settings.day_start(as_of).isoformat()}'"
    connection.execute(
        f"create view pairs as from {_read_mart(marts, 'training_pairs')} "
        f"where business_date < date '{as_of}'"
    )
    connection.execute(
        f"create view events as from {_read_mart(marts, 'outcomes')} where known_at < {before}"
    )
    run_query(connection, SQL / "first_events.sql")
    rules = policy.outcomes()
    segments = sorted(rules.take_up_maturity_days)
    connection.register(
        "outcome_rules",
        pa.table(
            {
                "segment": pa.array(segments, pa.string()),
                "take_up_days": pa.array(
                    [rules.take_up_maturity_days[segment] for segment in segments], pa.int32()
                ),
                "horizon_months": pa.array(
                    [rules.default_horizon_months[segment] for segment in segments], pa.int32()
                ),
            }
        ),
    )


def _read_mart(marts: Path, name: str) -> str:
    """Return the SQL that reads a mart from its files."""
    files = ", ".join("'" + file.replace("'", "''") + "'" for file in list_mart_files(marts, name))
    return f"read_parquet([{files}], hive_partitioning = false)"


def _create_labels(
    connection: duckdb.DuckDBPyConnection, label: Label, settings: Settings, as_of: date
) -> None:
    """Create `labels`: the pairs' keys, their label or loan state, and when it is known."""
    parameters: dict[str, date | datetime | int] = {}
    if label == "defaulted":
        parameters = {
            "known_until": knowledge_cutoff(settings, as_of),
            "maturity_days": params().decision_maturity_days,
        }
    query = read_query(SQL / f"{label}.sql")
    connection.execute(f"create temp table labels as {query}", parameters)
