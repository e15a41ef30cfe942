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

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from models.explanations.reason_text import SCHEMA as REASON
from models.explanations.reasons import Effect
from models.model_set import ModelSet
from pipelines.core.database import query_table, run_query
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
"""Number of leads processed at once: bounds the memory, never changes the result."""


@dataclass(frozen=True)
class AdverseActions:
    """Leads that one model left without a match."""

    model: str
    effect: Effect
    """Effect of the reasons against them: they raise the risk, or lower the approval."""
    rows: pa.Table
    """The columns that the models read, with `stage`, and `institution_id` and `product_id` of the
    product that counted (null if none)."""


def explain_matches(model_set: ModelSet, chosen: pa.Table) -> pa.Table:
    """Return the reasons of the pairs `chosen` with their keys, in their order.

    Args:
        model_set: The models that scored them.
        chosen: The columns that the models read of the pairs, as `load_pair_features` returns them.
    """
    reasons = model_set.explainer("approval").explain(chosen)
    return _add_keys(reasons, chosen.select(KEY))


def add_match_ids(connection: duckdb.DuckDBPyConnection, reasons: pa.Table) -> pa.Table:
    """Return the reasons of table `chosen` with match ids, ordered as the matches are.

    Args:
        connection: With the matches as `chosen`.
        reasons: As `explain_matches` returns them.
    """
    connection.register("match_reasons", reasons)
    table = query_table(connection, SQL / "match_reasons.sql")
    return table.select(MATCH_REASONS.names).cast(MATCH_REASONS)


def explain_adverse_actions(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, rules: CompiledRules, day: date
) -> pa.Table:
    """Return the reasons of each lead of table `unmatched` that a model left unmatched.

    Args:
        connection: With the tables of the day: `leads` with their pd, `products`, `pairs` and
            `unmatched`.
        model_set: The models that scored the day.
        rules: The rules of the products.
        day: The business date.
    """
    parts = [ADVERSE_ACTION_REASONS.empty_table()]
    for actions in find_adverse_actions(connection, model_set, rules, day):
        explainer = model_set.explainer(actions.model)
        reasons = explainer.explain(actions.rows, [actions.effect])
        keys = actions.rows.select([n for n in ADVERSE_ACTION_REASONS.names[:6] if n != "model"])
        model = pa.repeat(actions.model, keys.num_rows)
        parts.append(_add_keys(reasons, keys.add_column(3, "model", model)))
    return pa.concat_tables([part.cast(ADVERSE_ACTION_REASONS) for part in parts]).sort_by(
        [("channel_id", "ascending"), ("lead_id", "ascending"), ("strength_rank", "ascending")]
    )


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
    yield from _find_low_values(connection, model_set, eligible)
    best = query_table(connection, SQL / "best_pairs_without_quota.sql")
    connection.register("best_pairs", best)
    rows = load_pair_features(connection, "from best_pairs")
    yield AdverseActions("approval", "lowers", _add_stage(rows, "quota"))


@dataclass(frozen=True)
class _EligiblePairs:
    """The products that leads at a stage were eligible for, in portions."""

    connection: duckdb.DuckDBPyConnection
    rules: CompiledRules
    day: date

    def split(self, stage: str) -> Iterator[tuple[int, int]]:
        """Yield the first and last row of the unmatched leads at `stage`, in portions."""
        yield from run_query(
            self.connection, SQL / "stage_portions.sql", {"stage": stage, "portion": PORTION}
        ).fetchall()

    def create_table(self, stage: str, portion: tuple[int, int], eligibility: Eligibility) -> None:
        """Create table `eligible_pairs`: the eligible pairs of the leads of a portion."""
        rows = run_query(
            self.connection,
            SQL / "stage_leads.sql",
            {"stage": stage, "first": portion[0], "last": portion[1]},
        ).fetchnumpy()["lead_row"]
        self.connection.register(
            "portion_pairs", eligibility.select_pairs(np.asarray(rows, np.int64))
        )
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
        eligible.create_table(stage, portion, eligibility)
        for effect, is_above in effects:
            rows = query_table(connection, SQL / "leads_outside_bands.sql", {"is_above": is_above})
            yield AdverseActions("risk", effect, _add_stage(rows, stage))


def _find_low_values(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, eligible: _EligiblePairs
) -> Iterator[AdverseActions]:
    """Yield the leads whose products all had too low a value, with the product of the greatest."""
    stage, eligibility = "low_value", eligible.apply_rules(STEPS)
    for portion in eligible.split(stage):
        eligible.create_table(stage, portion, eligibility)
        scored = model_set.score(load_pair_features(connection, "from eligible_pairs"))
        connection.register("rescored_pairs", scored)
        connection.execute(
            "create or replace temp view revalued_pairs as "
            + value_sql("rescored_pairs", policy.value())
        )
        best = query_table(connection, SQL / "best_valued_pairs.sql")
        connection.register("best_pairs", best)
        rows = load_pair_features(connection, "from best_pairs")
        yield AdverseActions("approval", "lowers", _add_stage(rows, stage))


def _add_stage(rows: pa.Table, stage: str) -> pa.Table:
    return rows.append_column("stage", pa.repeat(stage, rows.num_rows))
