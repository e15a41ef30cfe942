"""The datasets of the home, and what each step of the day reads and writes, by table and column.

Feeds and their columns come from the contracts, the tables of dbt and their inputs from the parsed
project. A dataset has the name of its folder in the home without the date: `lake/leads`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from expectations.contracts import contracts, feeds
from expectations.tables import load_tables as load_columns
from pipelines.core.settings import Settings
from pipelines.deliveries.recipient import DELIVERABLE_COLUMNS, PLATFORM_COLUMNS

ColumnInputs = Mapping[str, tuple[tuple[str, str], ...]]
"""Column -> the datasets and columns that its values come from."""


@dataclass(frozen=True)
class Dataset:
    """A dataset that a step writes; `columns` is empty where their origin is not stated."""

    name: str
    inputs: tuple[str, ...]
    columns: ColumnInputs = field(default_factory=dict)


LAYERS = ("staging", "intermediate", "features", "marts")
"""The steps that build tables of dbt."""

MATCHED = ("matches", "offers", "unmatched", "reasons")

LEAD_FILE: ColumnInputs = {
    **{name: (("matches", name),) for name in PLATFORM_COLUMNS},
    **{name: (("lake/leads", name),) for name in DELIVERABLE_COLUMNS},
}
"""Every column that an institution may ask for."""

MODELS = Dataset(
    "registry",
    ("marts/leads", "marts/outcomes", "marts/products", "marts/training_pairs"),
)

PUBLISHED: Mapping[str, tuple[Dataset, ...]] = {
    "train": (MODELS,),
    "retrain": (MODELS,),
    "score": (
        Dataset(
            "pairs",
            (
                *("marts/channels", "marts/earlier_offers", "marts/leads", "marts/outcomes"),
                *("marts/product_fees", "marts/product_rules", "marts/products"),
                *("marts/shared_phones", "registry"),
            ),
        ),
    ),
    "match": tuple(
        Dataset(
            name, ("lake/leads", "marts/leads", "marts/product_fees", "marts/products", "pairs")
        )
        for name in MATCHED
    ),
    "deliver": (
        Dataset(
            "outbox/leads",
            (
                *("matches", "lake/leads", "lake/institutions", "lake/products"),
                *("lake/product_rules", "lake/product_fees", "lake/suppressions"),
                *("lake/restrictions", "lake/closing_orders"),
            ),
            LEAD_FILE,
        ),
        Dataset("delivered", ("outbox/leads",)),
        Dataset("outbox/outcome_receipts", ("marts/outcome_receipts",)),
    ),
    "follow_up": (
        Dataset(
            "settlement",
            (
                *("lake/receipts", "lake/suppressions", "lake/leads", "lake/outcomes"),
                *("delivered", "matches", "marts/outcomes", "marts/products"),
            ),
        ),
        *(
            Dataset(f"outbox/{name}", ("settlement", "matches", "unmatched"))
            for name in ("notices", "return_decisions", "channels", "statements")
        ),
        Dataset("outbox/receipt_answers", ("lake/receipts", "outbox/leads")),
    ),
    "send": (Dataset("transport", ("outbox/leads", "outbox/notices", "outbox/return_decisions")),),
    "report": (
        Dataset(
            "reports",
            (
                *("lake/leads", "marts/leads", "marts/fct_acquisition_cost", "outbox/leads"),
                *(
                    "marts/lead_contradictions",
                    "marts/loan_book",
                    "pairs",
                    "registry",
                    "settlement",
                    "transport",
                    *MATCHED,
                ),
            ),
        ),
    ),
}
"""Step -> the folders that it publishes from other published folders."""


def describe_step(settings: Settings, step: str) -> tuple[Dataset, ...]:
    """Return the datasets that `step` writes, with their inputs; none: it writes no dataset."""
    if step in LAYERS:
        return tuple(each for layer, each in _describe_tables(settings) if layer == step)
    if step == "collect":
        return _describe_ingest()
    return PUBLISHED.get(step, ())


def describe_day(settings: Settings, steps: Iterable[str]) -> dict[str, Dataset]:
    """Return every dataset that `steps` write, by name."""
    return {each.name: each for step in steps for each in describe_step(settings, step)}


@cache
def _describe_ingest() -> tuple[Dataset, ...]:
    """Return the lake and the quarantine: checked rows have the columns of their feed.

    Columns that ingest adds (hashes of identifiers, validity, file) have no single column of origin
    in the contract and are left out.
    """
    lake = (
        Dataset(
            f"lake/{contract.feed}",
            (f"landing/{contract.feed}",),
            {
                name: ((f"landing/{contract.feed}", name),)
                for name in contract.names
                if name in contract.lake_schema.names
            },
        )
        for contract in contracts()
    )
    quarantine = (Dataset(f"quarantine/{feed}", (f"landing/{feed}",)) for feed in feeds())
    landed = tuple(f"landing/{feed}" for feed in feeds())
    closing = (Dataset(f"lake/{name}", landed) for name in ("restrictions", "closing_orders"))
    return (*lake, *quarantine, *closing)


@cache
def _describe_tables(settings: Settings) -> tuple[tuple[str, Dataset], ...]:
    """Return the layer and the dataset of every table of dbt."""
    from pipelines.transform.warehouse import load_tables  # noqa: PLC0415 - other steps need no dbt

    return tuple(
        (table.layer, Dataset(table.name, table.inputs, _describe_columns(table.layer, table.name)))
        for table in load_tables(settings)
    )


def _describe_columns(layer: str, name: str) -> ColumnInputs:
    """Return the columns of a table that hold a column of a feed.

    The property file of a table states the meaning of each column by a docs block; a column whose
    block is that of a feed's column holds its values. Computed columns have blocks of their own.
    """
    origins = {
        f"{contract.feed}__{column}": (f"lake/{contract.feed}", column)
        for contract in contracts()
        for column in contract.lake_schema.names
    }
    table = load_columns(layer).get(name.partition("/")[2], {})
    return {
        column: (origins[meaning.docs_block],)
        for column, meaning in table.items()
        if meaning.docs_block in origins
    }
