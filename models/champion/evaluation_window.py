"""What became known since a champion was trained: what it and its challenger are compared on.

Of decisions these are the rows whose label counts since then. A loan counts from its second month
on, and most of what comes of it comes later. So of loans these are all that were at risk since
then, and whether they fell behind: also those that the champion had learned from as sound. A
model's probability is for the whole horizon; what of it could show is told by `Exposure`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.champion.registry import Champion
from models.params import params
from models.training import loan_maturity
from models.training.dataset import examples, loans, told_until
from models.training.loan_maturity import Exposure
from models.training.paired_bootstrap import KNOWN_WHOLE
from models.training.reject_inference import for_all_who_ask
from pipelines.core.arrays import spread_evenly
from pipelines.core.settings import Settings

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Stretch:
    """What is compared on, and what was known before it."""

    compared: pa.Table
    """Rows with `label`: what happened, 0 to 1; between them, how likely that is by now."""
    begins: date
    """What became known from this day on is compared."""
    known_then: Callable[[], pa.Table]
    """What a model learned from as of the day on which it begins."""
    exposure: Exposure = KNOWN_WHOLE
    """How much of what the label is about could happen within the stretch, row by row."""

    @cached_property
    def past(self) -> pa.Table:
        """What `known_then` gives, made once."""
        return self.known_then()

    @property
    def happened(self) -> float:
        """How many of the rows it happened to."""
        return float(self.compared["label"].to_numpy().sum())

    @property
    def too_few(self) -> str:
        """Return in words that there are too few outcomes to compare on; empty: enough."""
        rules, rows = params().challenge, self.compared.num_rows
        rarer = int(min(self.happened, rows - self.happened))
        if rows >= rules.least_rows and rarer >= rules.least_rows_of_a_class:
            return ""
        return (
            f"too few outcomes are known since {self.begins}, new to the champion: {rows:,}, of "
            f"which {rarer:,} of the rarer class; `challenge` in models/params.yml asks for "
            f"{rules.least_rows:,} and {rules.least_rows_of_a_class:,}"
        )


def learned_from(settings: Settings, day: date, model: str, *, as_of: date) -> pa.Table:
    """Return what `model` learns from as of a day, from the marts of `day`.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    label = params().models[model].label
    table = examples(settings, day, label, as_of=as_of)
    return for_all_who_ask(settings, day, table, as_of=as_of) if label == "defaulted" else table


def newly_known(
    settings: Settings, day: date, model: str, champion: Champion, *, as_of: date
) -> Stretch:
    """Return what became known to `as_of` that `champion` has not seen, from the marts of `day`.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    label = params().models[model].label
    if label == "defaulted":
        return of_loans(settings, day, model, champion, as_of=as_of)
    return of_labels(champion, examples(settings, day, label, as_of=as_of), as_of)


def of_loans(
    settings: Settings, day: date, model: str, champion: Champion, *, as_of: date
) -> Stretch:
    """Return what became known of the loans at risk since `champion` was trained."""
    rules = params().challenge
    begins = _begins(champion, as_of, rules.most_days_of_loans)
    days = (told_until(settings, as_of) - told_until(settings, begins)) / DAY
    known = loan_maturity.curve_of(loans(settings, day, as_of=begins))
    compared, exposure = loan_maturity.newly_shown(loans(settings, day, as_of=as_of), days, known)
    some = spread_evenly(compared.num_rows, rules.most_loans)
    past = partial(learned_from, settings, day, model, as_of=begins)
    return Stretch(compared.take(pa.array(some)), begins, past, exposure.take(some))


def of_labels(champion: Champion, table: pa.Table, as_of: date) -> Stretch:
    """Return the newest outcomes of `table`, known before `as_of`, that the champion has not seen.

    A champion of a young market learned from decisions that were one day old. Where they now wait
    for a week, some that it knew become known only now, by today's rule; there, only leads later
    than its last one count.
    """
    rules, knew = params().challenge, champion.entry.facts
    begins = _begins(champion, as_of, rules.most_days)
    is_new = pc.greater_equal(table["label_known_on"], pa.scalar(begins))
    if (knew.get("least_age_days") or 0) < (least_age(table) or 0) and "last_lead_on" in knew:
        last = date.fromisoformat(knew["last_lead_on"])
        is_new = pc.and_(is_new, pc.greater(table["business_date"], pa.scalar(last)))
    compared = table.filter(is_new)
    if compared.num_rows > rules.most_rows:
        known_on = np.sort(compared["label_known_on"].to_numpy())
        begins = known_on[-rules.most_rows].astype("datetime64[D]").astype(object)
        compared = compared.filter(pc.greater_equal(compared["label_known_on"], pa.scalar(begins)))
    past = table.filter(pc.less(table["label_known_on"], pa.scalar(begins)))
    return Stretch(compared, begins, lambda: past)


def least_age(table: pa.Table) -> int | None:
    """Return after how many days the quickest outcome counted; it tells the rule of the sample."""
    if not table.num_rows:
        return None
    ages = table["label_known_on"].to_numpy() - table["business_date"].to_numpy()
    return int(ages.min().astype("timedelta64[D]").astype(np.int64))


def _begins(champion: Champion, as_of: date, most_days: int) -> date:
    return max(champion.trained_as_of, as_of - timedelta(days=most_days))
