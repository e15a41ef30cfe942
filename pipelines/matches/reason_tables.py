"""The day's reasons in words: of each match, and of each lead that a model left without one.

They stand in `reasons/date=D/`, beside the matches and not in them, whose columns are agreed.
"""

from datetime import date

import duckdb
import pyarrow as pa

from models.explanations.reason_text import SCHEMA as REASON
from models.model_set import ModelSet
from pipelines.matches.adverse_actions import declines
from pipelines.pairs.eligibility.rules import CompiledRules

KEY = ("channel_id", "lead_id", "institution_id", "product_id")
WHY = [field for field in REASON if field.name != "row"]

OF_MATCHES = pa.schema([("match_id", pa.string()), *((name, pa.string()) for name in KEY), *WHY])
"""A reason of a match: what speaks for (`raises`) or against (`lowers`) its approval."""

OF_UNMATCHED = pa.schema(
    [
        ("channel_id", pa.string()),
        ("lead_id", pa.string()),
        ("stage", pa.string()),
        ("model", pa.string()),
        ("institution_id", pa.string()),
        ("product_id", pa.string()),
        *WHY,
    ]
)
"""A reason of a lead without a match. `model`: whose probability counted; of the risk, which is the
same everywhere, no product is named, of an approval the best that the lead could have had."""


def of_matches(model_set: ModelSet, chosen: pa.Table) -> pa.Table:
    """Return the reasons of the pairs `chosen` with their keys, in their order.

    Args:
        model_set: Who scored them.
        chosen: All that the models read of the pairs, as `scoring.features` returns it.
    """
    told = model_set.explainer("approval").explain(chosen)
    return _keyed(told, chosen.select(KEY))


def with_match_ids(connection: duckdb.DuckDBPyConnection, told: pa.Table) -> pa.Table:
    """Return the reasons `told` of table `chosen` with its match ids, ordered as the matches are.

    Args:
        connection: Where the matches stand as `chosen`.
        told: As `of_matches` returns it.
    """
    connection.register("told", told)
    found = connection.sql(
        f"""
        select match_id, told.*
        from told join chosen using ({", ".join(KEY)})
        order by channel_id, lead_id, rank, effect desc, strength_rank
        """
    ).to_arrow_table()
    return found.select(OF_MATCHES.names).cast(OF_MATCHES)


def of_unmatched(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, rules: CompiledRules, day: date
) -> pa.Table:
    """Return why each lead of table `without_match` has none, where a model decided it.

    Args:
        connection: Where the day is matched: leads with their pd, products, pairs and
            `without_match`.
        model_set: Who scored the day.
        rules: What the products' own rules ask.
        day: The business date.
    """
    parts = [OF_UNMATCHED.empty_table()]
    for declined in declines(connection, model_set, rules, day):
        explainer = model_set.explainer(declined.model)
        told = explainer.explain(declined.rows, [declined.effect])
        keys = declined.rows.select([n for n in OF_UNMATCHED.names[:6] if n != "model"])
        parts.append(_keyed(told, keys.add_column(3, "model", _same(declined.model, keys))))
    return pa.concat_tables([part.cast(OF_UNMATCHED) for part in parts]).sort_by(
        [("channel_id", "ascending"), ("lead_id", "ascending"), ("strength_rank", "ascending")]
    )


def _keyed(told: pa.Table, keys: pa.Table) -> pa.Table:
    """Return the reasons `told` with the keys of the rows that they are of."""
    named = keys.take(told["row"])
    columns = [*named.columns, *(told[field.name] for field in WHY)]
    return pa.table(columns, names=[*keys.column_names, *(field.name for field in WHY)])


def _same(text: str, table: pa.Table) -> pa.Array:
    return pa.repeat(text, table.num_rows)
