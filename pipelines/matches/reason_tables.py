"""The day's reasons for each match and each adverse action (a lead that a model left unmatched).

They are published in `reasons/date=D/` and not as columns of the matches, whose schema is fixed.

At three stages a model decides that a lead is unmatched. At `risk_band` the lead's pd lies outside
the band of every product it was otherwise eligible for. At `low_value` and `quota` the probability
of approval, at the product of greatest expected value, was too low for a match or lower than that
of other leads for the same quota.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from models.explanations.reason_text import SCHEMA as REASON
from models.explanations.reasons import Effect
from models.model_set import ModelSet
from pipelines.core.arrays import IntArray
from pipelines.core.database import query_table, run_query
from pipelines.core.publishing import ROW_GROUP, open_writer, write_batches
from pipelines.matches.match_id import SQL
from pipelines.pairs.eligibility.engine import STATED_STEPS, STEPS, Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.rules import CompiledRules
from pipelines.pairs.scoring import load_pair_features
from pipelines.pairs.valuation import value_sql

KEY = ("channel_id", "lead_id", "institution_id", "product_id")
REASON_FIELDS = [field for field in REASON if field.name != "row"]

MATCH_REASONS = pa.schema(
    [("match_id", pa.string()), *((name, pa.string()) for name in KEY), *REASON_FIELDS]
)
"""A reason of a match: it `raises` or `lowers` the probability of approval."""

ADVERSE_ACTION_REASONS = pa.schema(
    [
        ("channel_id", pa.string()),
        ("lead_id", pa.string()),
        ("stage", pa.string()),
        ("model", pa.string()),
        ("institution_id", pa.string()),
        ("product_id", pa.string()),
        *REASON_FIELDS,
    ]
)
"""A reason of a lead without a match. `model`: the model that decided. The risk is the same for all
products, so none is named; for an approval it is the best product that the lead could have had."""

PORTION = 5_000
"""Number of leads whose eligible pairs are read at once: bounds the memory, never changes the
result."""
PORTION_OF_MATCHES = 50_000
"""About how many matches are explained, or offered, together: the same."""


@dataclass(frozen=True)
class AdverseActions:
    """Leads that one model left without a match."""

    model: str
    effect: Effect
    """Effect of the reasons against them: they raise the risk, or lower the approval."""
    rows: pa.Table
    """The columns that the models read, with `stage`, and `institution_id` and `product_id` of the
    product that counted (null if none)."""


def write_match_reasons(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, path: Path
) -> None:
    """Write the reasons of the matches, ordered as the matches are, and create `explained`.

    `explained` has the matches with their reason codes and the words for a person.

    Args:
        connection: With the matches as `chosen`, and `leads` with their pd.
        model_set: The models that scored the day.
        path: The file, `MATCH_REASONS`.
    """
    explainer = model_set.explainer("approval")
    run_query(connection, SQL / "empty_reason_words.sql")
    with open_writer(path, MATCH_REASONS) as write:
        for portion in split_matches(connection):
            rows = query_table(connection, SQL / "portion_of_matches.sql", portion)
            connection.register("portion_of_matches", rows)
            chosen = load_pair_features(connection, "from portion_of_matches")
            reasons = _add_keys(explainer.explain(chosen), chosen.select(KEY))
            connection.register("match_reasons", reasons)
            run_query(connection, SQL / "reason_words.sql")
            write(query_table(connection, SQL / "match_reasons.sql").select(MATCH_REASONS.names))
            connection.unregister("match_reasons")
            connection.unregister("portion_of_matches")
    run_query(connection, SQL / "explained.sql")


def split_matches(connection: duckdb.DuckDBPyConnection) -> list[dict[str, int]]:
    """Return the `first` and `last` lead of each portion of table `chosen`; one without matches."""
    portions = run_query(
        connection, SQL / "match_portions.sql", {"portion": PORTION_OF_MATCHES}
    ).fetchall()
    return [{"first": first, "last": last} for first, last in portions or [(0, 0)]]


def write_adverse_action_reasons(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    rules: CompiledRules,
    day: date,
    path: Path,
) -> None:
    """Write the reasons of each lead of table `unmatched` that a model left unmatched.

    Args:
        connection: With the tables of the day: `leads` with their pd, `products`, `pairs` and
            `unmatched`.
        model_set: The models that scored the day.
        rules: The rules of the products.
        day: The business date.
        path: The file, `ADVERSE_ACTION_REASONS`, ordered by lead.
    """
    connection.register("no_reasons", ADVERSE_ACTION_REASONS.empty_table())
    connection.execute("create or replace table adverse_action_reasons as from no_reasons")
    for actions in find_adverse_actions(connection, model_set, rules, day):
        reasons = model_set.explainer(actions.model).explain(actions.rows, [actions.effect])
        keys = actions.rows.select([n for n in ADVERSE_ACTION_REASONS.names[:6] if n != "model"])
        model = pa.repeat(actions.model, keys.num_rows)
        rows = _add_keys(reasons, keys.add_column(3, "model", model)).cast(ADVERSE_ACTION_REASONS)
        connection.register("some_reasons", rows)
        connection.execute("insert into adverse_action_reasons from some_reasons")
        connection.unregister("some_reasons")
    ordered = connection.sql(
        "from adverse_action_reasons order by channel_id, lead_id, strength_rank"
    )
    write_batches(ordered.to_arrow_reader(ROW_GROUP), ADVERSE_ACTION_REASONS, path)


def _add_keys(reasons: pa.Table, keys: pa.Table) -> pa.Table:
    """Return the reasons with the keys of their rows."""
    row_keys = keys.take(reasons["row"])
    columns = [*row_keys.columns, *(reasons[field.name] for field in REASON_FIELDS)]
    return pa.table(columns, names=[*keys.column_names, *(field.name for field in REASON_FIELDS)])


def find_adverse_actions(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, rules: CompiledRules, day: date
) -> Iterator[AdverseActions]:
    """Yield the leads of table `unmatched` that a model left unmatched, by model.

    Args:
        connection: As `explain_adverse_actions` takes it.
        model_set: The models that scored the day.
        rules: The rules of the products.
        day: The business date.
    """
    eligible = _EligiblePairs(connection, rules, day)
    yield from _find_outside_bands(connection, eligible)
    best = query_table(connection, SQL / "best_pairs_of_low_value.sql")
    yield from _describe_best(connection, best, "low_value")
    yield from _find_unscored(connection, model_set, eligible, best)
    best = query_table(connection, SQL / "best_pairs_without_quota.sql")
    yield from _describe_best(connection, best, "quota")


@dataclass(frozen=True)
class _EligiblePairs:
    """The products that leads at a stage were eligible for, in portions."""

    connection: duckdb.DuckDBPyConnection
    rules: CompiledRules
    day: date

    def split(self, stage: str, *, without: pa.ChunkedArray | None = None) -> Iterator[IntArray]:
        """Yield the rows of the unmatched leads at `stage`, in portions, except some."""
        found = query_table(self.connection, SQL / "unmatched_at_stage.sql", {"stage": stage})
        rows = found["lead_row"].to_numpy()
        if without is not None:
            rows = np.setdiff1d(rows, without.to_numpy())
        for first in range(0, len(rows), PORTION):
            yield np.asarray(rows[first : first + PORTION], np.int64)

    def create_table(self, rows: IntArray, eligibility: Eligibility) -> None:
        """Create table `eligible_pairs`: the eligible pairs of the leads of a portion."""
        self.connection.register("portion_pairs", eligibility.select_pairs(rows))
        self.connection.execute("create or replace table eligible_pairs as from portion_pairs")
        self.connection.unregister("portion_pairs")

    def apply_rules(self, steps: Collection[str]) -> Eligibility:
        """Return the eligibility of the day's pairs after the rules of `steps`."""
        return find_eligible_pairs(self.connection, self.rules, self.day, steps)


def _find_outside_bands(
    connection: duckdb.DuckDBPyConnection, eligible: _EligiblePairs
) -> Iterator[AdverseActions]:
    """Yield the leads whose pd is above a band, and then the leads below all their bands."""
    stage, eligibility = "risk_band", eligible.apply_rules(STATED_STEPS)
    effects: tuple[tuple[Effect, bool], ...] = (("raises", True), ("lowers", False))
    for portion in eligible.split(stage):
        eligible.create_table(portion, eligibility)
        for effect, is_above in effects:
            rows = query_table(connection, SQL / "leads_outside_bands.sql", {"is_above": is_above})
            yield AdverseActions("risk", effect, _add_stage(rows, stage))


def _find_unscored(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    eligible: _EligiblePairs,
    best: pa.Table,
) -> Iterator[AdverseActions]:
    """Yield the leads of low value of which a large day kept no pair, with their best product."""
    stage, eligibility = "low_value", None
    for portion in eligible.split(stage, without=best["lead_row"]):
        eligibility = eligibility or eligible.apply_rules(STEPS)
        eligible.create_table(portion, eligibility)
        scored = model_set.score(load_pair_features(connection, "from eligible_pairs"))
        connection.register("scored_now", scored)
        connection.execute(
            "create or replace temp view valued_now as " + value_sql("scored_now", policy.value())
        )
        best_now = query_table(connection, SQL / "best_valued.sql")
        yield from _describe_best(connection, best_now, stage)


def _describe_best(
    connection: duckdb.DuckDBPyConnection, best: pa.Table, stage: str
) -> Iterator[AdverseActions]:
    """Yield the leads at a stage that the model of approvals decided, each with its best pair."""
    for first in range(0, best.num_rows, PORTION_OF_MATCHES):
        connection.register("best_pairs", best.slice(first, PORTION_OF_MATCHES))
        rows = load_pair_features(connection, "from best_pairs")
        connection.unregister("best_pairs")
        yield AdverseActions("approval", "lowers", _add_stage(rows, stage))


def _add_stage(rows: pa.Table, stage: str) -> pa.Table:
    return rows.append_column("stage", pa.repeat(stage, rows.num_rows))
