"""Every place of a home that may name a person, and what an erasure does there.

This list is the only one. A file that it does not name is treated by its format: of a table the
rows of the person are removed, in a text the words that name the person are replaced. At the end an
erasure searches every file of the home, so a new place that needs an entry here makes it fail and
not forget.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from expectations.contracts import load

Treatment = Literal["remove", "unlink", "account", "blank", "orders", "discard", "leave"]
"""What is done with a row of the person, or with a file:

- `remove`: the row is removed.
- `unlink`: it stays, because money, quotas or counts rest on it; its ids are replaced by random
  ones, and of other columns only `keep` stays.
- `account`: the rows about a delivered match are unlinked, the others removed.
- `blank`: it stays as a count, without what was received.
- `orders`: only what names the person in plain is removed, as the hashes of an order keep the
  person from being processed again.
- `discard`: the file is removed, the next run makes it again.
- `leave`: nothing is done."""


@dataclass(frozen=True)
class Place:
    """One kind of file of a home."""

    pattern: str
    """Pattern of the path below the home; `*` also matches `/`."""
    treatment: Treatment
    why: str
    keep: tuple[str, ...] | None = None
    """Columns of an unlinked or blanked row that stay; None: all but the ids."""


PLAN_COLUMNS = (
    *("match_id", "channel_id", "lead_id", "institution_id", "product_id", "segment", "rank"),
    *("p_approve", "p_fund", "expected_value", "expected_cost", "price_of_quota", "explored"),
    *("propensity", "policy_version", "models"),
)
"""Columns of a match by which quotas, budgets and bills are counted."""
OUTCOME_COLUMNS = (
    *load("outcomes").names,
    *("institution_id", "file_line", "history_kind", "file", "landed_on", "is_late", "known_at"),
    "unlinked_reason",
)
"""Columns of an outcome by which fees are billed and rates are counted."""

BILLS = "bills and credits are counted by match, also after the month is closed"

PLACES = (
    Place("persons/*", "leave", "the proofs of erasures; they name nobody"),
    Place("keys/*", "leave", "keys"),
    Place(".run.lock", "leave", "a lock"),
    Place("warehouse.duckdb*", "discard", "every run builds it again from the lake"),
    Place("work/*", "discard", "intermediate files of a run"),
    Place("ingest/*", "discard", "intermediate files of a run"),
    Place("scorecards/*", "discard", "cached results of a simulated day"),
    Place("landing/suppressions/*", "orders", "orders keep the person from being processed again"),
    Place("lake/suppressions/*", "orders", "orders keep the person from being processed again"),
    Place("lake/closing_orders/*", "orders", "orders keep the person from being processed again"),
    Place("quarantine/*.arrow", "orders", "orders of unreadable rows"),
    Place(
        "quarantine/*.parquet",
        "blank",
        "each received row is accounted for",
        ("source", "file", "line", "column", "rule", "severity", "rows"),
    ),
    Place("lake/outcomes/*", "account", BILLS, OUTCOME_COLUMNS),
    Place("marts/history/outcomes/*", "account", BILLS, OUTCOME_COLUMNS),
    Place("marts/history/unlinked_outcomes/*", "account", BILLS, OUTCOME_COLUMNS),
    Place("marts/date=*/outcomes.parquet", "account", BILLS, OUTCOME_COLUMNS),
    Place("marts/date=*/unlinked_outcomes.parquet", "account", BILLS, OUTCOME_COLUMNS),
    Place(
        "matches/*/matches.parquet",
        "unlink",
        "quotas and budgets of the month are counted by match",
        PLAN_COLUMNS,
    ),
    Place("delivered/*", "unlink", BILLS),
    Place("ledger/deliveries/*", "unlink", BILLS),
    Place("settlement/*/return_decisions.parquet", "unlink", BILLS, (
        *("match_id", "channel_id", "lead_id", "institution_id", "product_id", "delivery_id"),
        *("delivered_on", "event", "recorded_at", "known_on", "decision", "decided_on"),
    )),
    Place("settlement/*/notices.parquet", "unlink", "a notice is sent once for each match"),
    Place(
        "unmatched/*",
        "unlink",
        "leads in = leads out",
        ("channel_id", "lead_id", "stage"),
    ),
    Place(
        "outbox/date=*/leads*",
        "unlink",
        "receipts, states and bills are counted by the rows of a version",
        ("match_id", "product_id", "rank", "schema_version"),
    ),
    Place("outbox/date=*/retractions*", "unlink", "a sent list has as many rows as stated"),
    Place("outbox/*.csv", "unlink", "a file that was sent has as many rows as stated"),
    Place(
        "truth/corruption/*",
        "blank",
        "what the simulator corrupted is counted",
        ("feed", "source", "file", "line", "column", "rule", "severity"),
    ),
    Place("truth/*", "unlink", "positions of the simulated world; the pipeline never reads it"),
)  # fmt: skip


def find_place(path: str) -> Place | None:
    """Return the place of a path below the home; None: it is treated by its format."""
    return next((place for place in PLACES if fnmatchcase(path, place.pattern)), None)


def is_in_scope(path: str, scope: tuple[str, ...]) -> bool:
    """Return whether a path below the home is in one of the patterns; no pattern: every path is."""
    return not scope or any(fnmatchcase(path, pattern) for pattern in scope)
