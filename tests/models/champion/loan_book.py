"""A loan portfolio with known default probabilities, written as dbt publishes it."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.core.settings import Settings
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts

DAY = date(2026, 11, 20)  # a Friday
FIRST = date(2025, 7, 1)
FIRST_ARREARS_BY = (0.0, 0.03, 0.08, 0.2, 0.4, 0.6, 0.75, 0.86, 0.94, 1.0)
"""Share of the defaulting loans that have been in arrears, by ninth of the time that counts."""
OVERDUE_DAYS = (30, 60, 90)


@dataclass(frozen=True)
class LoanBook:
    """Loans and applicants without one, one lead each; days count from `FIRST`."""

    score: np.ndarray
    amount: np.ndarray
    day: np.ndarray
    """Day of the lead; it is decided and funded on the next one."""
    is_loan: np.ndarray
    overdue: np.ndarray
    """Day on which a loan is first 30 days overdue; nan: never."""

    def shuffle_arrears(self, before: date) -> "LoanBook":
        """Return the book with arrears before a day permuted among the loans of each lead day."""
        random = np.random.default_rng(1)
        early = self.is_loan & ~(self.overdue >= (before - FIRST).days)
        order = np.lexsort((random.uniform(size=len(self.day)), self.day))
        by_day = np.lexsort((np.arange(len(self.day)), self.day))
        overdue = self.overdue.copy()
        overdue[by_day[early[by_day]]] = self.overdue[order[early[order]]]
        return replace(self, overdue=overdue)

    def remove_arrears(self, which: np.ndarray) -> "LoanBook":
        """Return the book in which the loans `which` never enter arrears."""
        return replace(self, overdue=np.where(which, np.nan, self.overdue))


def make_loan_book(leads: int = 16_000, *, times: float = 1.0, since: date = DAY) -> LoanBook:
    """Return a book whose default probability falls with the score and rises with the amount.

    Args:
        leads: Number of leads; four of five get a loan.
        times: Factor on the loans that enter arrears from `since` on.
        since: See `times`.
    """
    random = np.random.default_rng(5)
    score, amount = random.uniform(500, 800, leads), random.uniform(1_000, 50_000, leads)
    chance = true_pd(score, amount)
    default = random.uniform(size=leads) < chance
    day = np.sort(random.integers(0, (DAY - FIRST).days, leads))
    shown = np.interp(
        random.uniform(size=leads), FIRST_ARREARS_BY, np.linspace(30, 300, len(FIRST_ARREARS_BY))
    )
    overdue = day + 1 + np.round(shown)
    is_late = overdue >= (since - FIRST).days
    default |= is_late & (random.uniform(size=leads) < (times - 1) * chance)
    is_loan = random.uniform(size=leads) < 0.8
    return LoanBook(score, amount, day, is_loan, np.where(default & is_loan, overdue, np.nan))


def true_pd(score: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Return the probability of default, about as high as the stated rates."""
    odds = np.exp(-2.3 - (score - 600) / 70 + (amount - 25_000) / 30_000)
    return odds / (1 + odds)


def publish_loan_book(home: Path, loans: LoanBook) -> Settings:
    """Publish the marts of `DAY` with the outcomes of `loans` that are known then."""
    rows = len(loans.day)
    keys = {
        "channel_id": np.full(rows, "search"),
        "lead_id": np.char.add("lead-", np.char.zfill(np.arange(rows).astype(str), 6)),
        "institution_id": np.full(rows, "bank"),
        "product_id": np.full(rows, "loan"),
    }
    pairs = keys | {
        "business_date": [FIRST + timedelta(days=int(day)) for day in loans.day],
        "segment": np.full(rows, "consumer"),
        "currency": np.full(rows, "CNY"),
        "bureau_score": loans.score,
        "amount": loans.amount,
    }
    events = [
        ("declined", ~loans.is_loan, loans.day + 1),
        ("approved", loans.is_loan, loans.day + 1),
        ("funded", loans.is_loan, loans.day + 1),
        *((f"overdue_{days}", loans.is_loan, loans.overdue + days - 30) for days in OVERDUE_DAYS),
    ]
    settings = Settings(home=home)
    outcomes = [_outcomes(settings, keys, *event) for event in events]
    return write_marts(
        home,
        DAY,
        training_pairs=_table("training_pairs", pairs),
        outcomes=pa.concat_tables(outcomes),
    )


def _outcomes(
    settings: Settings, keys: dict[str, np.ndarray], event: str, which: np.ndarray, day: np.ndarray
) -> pa.Table:
    """Return an event at noon of its day, known at once, for loans that have it by `DAY`."""
    rows = np.flatnonzero(which & (day <= (DAY - FIRST).days))
    noons = [settings.day_start(FIRST + timedelta(days=d)) for d in range((DAY - FIRST).days + 1)]
    at = [noons[number] + timedelta(hours=12) for number in day[rows].astype(int)]
    columns = {name: values[rows] for name, values in keys.items()}
    columns |= {"event": [event] * len(rows), "event_at": at, "recorded_at": at, "known_at": at}
    return _table("outcomes", columns)


def _table(name: str, columns: dict[str, object]) -> pa.Table:
    rows = len(columns["lead_id"])
    schema = SCHEMAS[name]
    return pa.table(
        [
            pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
            for f in schema
        ],
        schema=schema,
    )
