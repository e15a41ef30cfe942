"""What champion and challenger are compared on: outcomes that neither has seen.

Compared are outcomes that became known after the champion was trained, and no older than
`most_days`. The champion predicts them as it is. The challenger itself has learned from them; so in
its place stands its recipe, fitted on what was known before the first of them.

Where recipe and past are the champion's own, that fit would give the champion again, so none is
made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations import policy
from models import splits
from models.estimators import Estimator
from models.evaluate import Z_95, auc
from models.features import Numbers, numbers
from models.paired import Outcomes
from models.params import params
from models.registry import Champion, Entry
from pipelines.publish import code_version

THREADS = 1
"""A comparison is small; its figures do not depend on them."""
PAST_LOOKED_AT = 10_000
FEARED = frozenset({"defaulted", "charged_off"})
"""Labels of what nobody wants."""

Refit = Callable[[pa.Table], Entry]
"""The recipe: examples to a model, or to the prior where they are too few."""

Worth = Callable[[Estimator, date], tuple[str, str]]
"""The recipe, and since when outcomes are new to it, to what the log of trials decides (`promoted`,
`refused`, `undecided`, or `abstained` where too little was tried out) and why."""


@dataclass(frozen=True)
class Contest:
    """Who meets whom, and over what."""

    model: str
    champion: Champion
    challenger: Entry
    table: pa.Table
    """The examples known before `as_of`, as `dataset.examples` gives them."""
    as_of: date
    refit: Refit
    worth: Worth | None = None

    @property
    def is_outgrown(self) -> bool:
        """Return whether the champion has learned from far fewer rows."""
        rows, before = self.challenger.facts["rows"], self.champion.entry.facts["rows"]
        return bool(rows >= params().challenge.outgrown * before)


@dataclass(frozen=True)
class Stretch:
    """What is compared on, and what was known before it."""

    compared: pa.Table
    past: pa.Table
    begins: date
    """Outcomes known from this day on are compared."""

    @property
    def too_few(self) -> str:
        """Return in words that there are too few outcomes to compare on; empty: enough."""
        rules, labels = params().challenge, self.compared["label"].to_numpy()
        rarer = int(min(labels.sum(), len(labels) - labels.sum()))
        if len(labels) >= rules.least_rows and rarer >= rules.least_rows_of_a_class:
            return ""
        return (
            f"too few outcomes are known since the champion was trained: {len(labels):,}, of which "
            f"{rarer:,} of the rarer class; `challenge` in models/params.yml asks for "
            f"{rules.least_rows:,} and {rules.least_rows_of_a_class:,}"
        )


def least_age(table: pa.Table) -> int | None:
    """Return after how many days the quickest outcome counted; it tells the rule of the sample."""
    if not table.num_rows:
        return None
    ages = table["label_known_on"].to_numpy() - table["business_date"].to_numpy()
    return int(ages.min().astype("timedelta64[D]").astype(np.int64))


def stretch(champion: Champion, table: pa.Table, as_of: date) -> Stretch:
    """Return the newest outcomes of `table`, known before `as_of`, that the champion has not seen.

    A champion of a young market learned from decisions that were one day old. Where they now wait
    for a week, some that it knew become known only now, by today's rule; there, only leads later
    than its last one count.
    """
    rules, knew = params().challenge, champion.entry.facts
    begins = max(champion.trained_as_of, as_of - timedelta(days=rules.most_days))
    is_new = pc.greater_equal(table["label_known_on"], pa.scalar(begins))
    if (knew.get("least_age_days") or 0) < (least_age(table) or 0) and "last_lead_on" in knew:
        last = date.fromisoformat(knew["last_lead_on"])
        is_new = pc.and_(is_new, pc.greater(table["business_date"], pa.scalar(last)))
    compared = table.filter(pc.and_(is_new, pa.array(~splits.is_inferred(table))))
    if compared.num_rows > rules.most_rows:
        known_on = np.sort(compared["label_known_on"].to_numpy())
        begins = known_on[-rules.most_rows].astype("datetime64[D]").astype(object)
        compared = compared.filter(pc.greater_equal(compared["label_known_on"], pa.scalar(begins)))
    past = table.filter(pc.less(table["label_known_on"], pa.scalar(begins)))
    return Stretch(compared, past, begins)


def is_champion_again(champion: Champion, found: Stretch) -> bool:
    """Return whether recipe and past are the champion's, so that a fit would give it again.

    The past may have lost some rows to corrections. That its labels are still those that it learned
    from shows in how well it ranks them: at least as well as the leads that it had not seen.
    """
    rows, lost = champion.entry.facts["rows"], params().challenge.most_past_lost
    past = found.past
    if found.begins != champion.trained_as_of or champion.code_version != code_version():
        return False
    if not past.num_rows or abs(past.num_rows - rows) > lost * rows:
        return False
    some = np.linspace(0, past.num_rows - 1, min(past.num_rows, PAST_LOOKED_AT)).astype(np.int64)
    known = past.take(some)
    labels = numbers(known, "label")
    if labels.min() == labels.max():
        return False
    area, _ = auc(champion.entry.estimator.predict(known, threads=THREADS), labels)
    return area >= float(champion.entry.facts["figures"]["auc_low"])


def outcomes(model: str, compared: pa.Table) -> Outcomes:
    """Return the rows compared as the paired bootstrap sees them."""
    likes = params().models[model].label not in FEARED
    return Outcomes(numbers(compared, "label"), _leads(compared), _worth(compared), likes)


def out_of_band(predicted: Numbers, outcomes: Outcomes, deviations: float = Z_95) -> bool:
    """Return whether predicted over observed is off by more than the band, beyond chance.

    Args:
        predicted: Probabilities of the rows.
        outcomes: What happened; rows of one lead count as one draw.
        deviations: How many standard deviations chance is given.
    """
    off = predicted - outcomes.happened
    by_lead = np.bincount(outcomes.lead, off - off.mean())
    surely = abs(off.mean()) - deviations * np.sqrt(np.sum(by_lead**2)) / len(off)
    return bool(surely > params().challenge.calibration_band * outcomes.happened.mean())


def _leads(table: pa.Table) -> NDArray[np.int64]:
    named = pc.binary_join_element_wise(table["channel_id"], table["lead_id"], "/")
    codes = pc.dictionary_encode(named.combine_chunks()).indices
    return np.asarray(codes.to_numpy(), np.int64)


def _worth(table: pa.Table) -> Numbers:
    """Return the amount asked for, in the base currency; 1 where it is not known."""
    amounts = np.nan_to_num(numbers(table, "amount"), nan=1.0)
    rates = policy.currencies(pc.max(table["business_date"]).as_py())
    coded = pc.dictionary_encode(table["currency"].combine_chunks())
    rate_of = np.array([rates.get(name, 1.0) for name in coded.dictionary.to_pylist()])
    return np.asarray(amounts * rate_of[coded.indices.to_numpy(zero_copy_only=False)])
