"""The evaluation window: outcomes that neither the champion nor the challenger was trained on.

For approval and take-up, the window has the rows whose label became known since the champion was
trained. For risk, it has every loan that was at risk since then, with its arrears in the window:
a loan counts from its second month on and most defaults show later, so loans that the champion was
trained on as non-defaults are included. A probability is for the whole horizon; `Exposure` is the
part of it that could be observed within the window.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.champion.registry import Champion
from models.features.columns import to_floats
from models.params import params
from models.training import loan_maturity
from models.training.dataset import knowledge_cutoff, load_examples, load_loans
from models.training.loan_maturity import Exposure
from models.training.paired_bootstrap import FULL_EXPOSURE, ModelOutcomes
from models.training.reject_inference import add_rejected_applicants
from models.validation import splits
from pipelines.core.arrays import FloatArray, spread_evenly
from pipelines.core.publishing import code_version
from pipelines.core.settings import Settings
from pipelines.core.statistics import Z_95, auc

DAY = timedelta(days=1)
THREADS = 1
"""An evaluation is small; the number of threads does not change its figures."""
MAX_ROWS_RANKED = 10_000


@dataclass(frozen=True)
class EvaluationWindow:
    """The rows of a comparison, and the training rows that were known before it."""

    rows: pa.Table
    """Rows with `label`: the outcome, 0 or 1; in between, its probability as known now."""
    starts_on: date
    """Outcomes that became known from this day on are compared."""
    load_training_rows: Callable[[], pa.Table]
    """Loads the training rows of a model as of `starts_on`."""
    exposure: Exposure = FULL_EXPOSURE
    """The part of the label that could be observed within the window, row by row."""

    @cached_property
    def training_rows(self) -> pa.Table:
        """The result of `load_training_rows`, loaded once."""
        return self.load_training_rows()

    @property
    def positives(self) -> float:
        """The number of rows with the outcome."""
        return float(self.rows["label"].to_numpy().sum())

    @property
    def shortage(self) -> str:
        """Return a sentence if there are too few outcomes to compare; empty if there are enough."""
        rules, rows = params().challenge, self.rows.num_rows
        rarer = int(min(self.positives, rows - self.positives))
        if rows >= rules.min_rows and rarer >= rules.min_rows_of_a_class:
            return ""
        return (
            f"too few outcomes that are new to the champion are known since {self.starts_on}: "
            f"{rows:,}, of which {rarer:,} of the rarer class; `challenge` in models/params.yml "
            f"asks for {rules.min_rows:,} and {rules.min_rows_of_a_class:,}"
        )


def load_training_rows(settings: Settings, day: date, model: str, *, as_of: date) -> pa.Table:
    """Return the training rows of `model` as of a date, from the marts of `day`.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    label = params().models[model].label
    table = load_examples(settings, day, label, as_of=as_of)
    return (
        add_rejected_applicants(settings, day, table, as_of=as_of)
        if label == "defaulted"
        else table
    )


def load_evaluation_window(
    settings: Settings, day: date, model: str, champion: Champion, *, as_of: date
) -> EvaluationWindow:
    """Return the outcomes known before `as_of` that are new to `champion`, from the marts of `day`.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    label = params().models[model].label
    if label == "defaulted":
        return _load_loan_window(settings, day, model, champion, as_of=as_of)
    return select_new_labels(champion, load_examples(settings, day, label, as_of=as_of), as_of)


def _load_loan_window(
    settings: Settings, day: date, model: str, champion: Champion, *, as_of: date
) -> EvaluationWindow:
    """Return the outcomes of the loans at risk since `champion` was trained."""
    rules = params().challenge
    starts_on = _compute_start(champion, as_of, rules.loan_window_days)
    days = (knowledge_cutoff(settings, as_of) - knowledge_cutoff(settings, starts_on)) / DAY
    curve = loan_maturity.fit_loan_curve(load_loans(settings, day, as_of=starts_on))
    rows, exposure = loan_maturity.select_loans_at_risk(
        load_loans(settings, day, as_of=as_of), days, curve
    )
    drawn = spread_evenly(rows.num_rows, rules.max_loans)
    earlier = partial(load_training_rows, settings, day, model, as_of=starts_on)
    return EvaluationWindow(rows.take(pa.array(drawn)), starts_on, earlier, exposure.take(drawn))


def select_new_labels(champion: Champion, table: pa.Table, as_of: date) -> EvaluationWindow:
    """Return the newest labels of `table`, known before `as_of`, that are new to the champion.

    A champion of a young market was trained on decisions that were one day old. Decisions now count
    after a week, so some that it was trained on seem new by today's rule. In that case only leads
    after its last one count.
    """
    rules, metadata = params().challenge, champion.version.metadata
    starts_on = _compute_start(champion, as_of, rules.window_days)
    is_new = pc.greater_equal(table["label_known_on"], pa.scalar(starts_on))
    had_younger_labels = (metadata.get("min_age_days") or 0) < (min_label_age(table) or 0)
    if had_younger_labels and "last_lead_on" in metadata:
        last = date.fromisoformat(metadata["last_lead_on"])
        is_new = pc.and_(is_new, pc.greater(table["business_date"], pa.scalar(last)))
    rows = table.filter(is_new)
    if rows.num_rows > rules.max_rows:
        known_on = np.sort(rows["label_known_on"].to_numpy())
        starts_on = known_on[-rules.max_rows].astype("datetime64[D]").astype(object)
        rows = rows.filter(pc.greater_equal(rows["label_known_on"], pa.scalar(starts_on)))
    earlier = table.filter(pc.less(table["label_known_on"], pa.scalar(starts_on)))
    return EvaluationWindow(rows, starts_on, lambda: earlier)


def min_label_age(table: pa.Table) -> int | None:
    """Return the shortest delay of a label in days, which depends on the sampling rule."""
    if not table.num_rows:
        return None
    ages = table["label_known_on"].to_numpy() - table["business_date"].to_numpy()
    return int(ages.min().astype("timedelta64[D]").astype(np.int64))


def is_refit_of_champion(champion: Champion, window: EvaluationWindow) -> bool:
    """Return whether the recipe and the training rows are the champion's: a refit would equal it.

    Corrections may have removed some training rows. The labels are still the champion's if it ranks
    them at least as well as leads that it was not trained on.
    """
    if window.starts_on != champion.trained_as_of or champion.code_version != code_version():
        return False
    rows, tolerance = champion.version.metadata["rows"], params().challenge.max_history_loss
    if abs(window.training_rows.num_rows - rows) > tolerance * rows:
        return False
    observed = window.training_rows.filter(pa.array(~splits.is_inferred(window.training_rows)))
    if not observed.num_rows:
        return False
    sample = observed.take(pa.array(spread_evenly(observed.num_rows, MAX_ROWS_RANKED)))
    labels = to_floats(sample, "label")
    if labels.min() == labels.max():
        return False
    area, _ = auc(champion.version.estimator.predict(sample, threads=THREADS), labels)
    return area >= float(champion.version.metadata["figures"]["auc_low"])


def to_outcomes(model: str, window: EvaluationWindow) -> ModelOutcomes:
    """Return the rows of the window as input of the paired bootstrap."""
    return ModelOutcomes.from_examples(
        window.rows, params().models[model].label, exposure=window.exposure
    )


def is_miscalibrated(
    predicted: FloatArray, outcomes: ModelOutcomes, deviations: float = Z_95
) -> bool:
    """Return whether predicted over observed is outside the calibration band beyond chance.

    Args:
        predicted: The probability of each row to have the outcome by now.
        outcomes: The outcomes; rows of one lead count as one draw.
        deviations: The standard errors that are attributed to chance.
    """
    residuals = predicted - outcomes.labels
    by_lead = np.bincount(outcomes.lead, residuals - residuals.mean())
    standard_error = np.sqrt(np.sum(by_lead**2)) / len(residuals)
    certain = abs(residuals.mean()) - deviations * standard_error
    return bool(certain > params().challenge.calibration_band * outcomes.labels.mean())


def _compute_start(champion: Champion, as_of: date, max_days: int) -> date:
    return max(champion.trained_as_of, as_of - timedelta(days=max_days))
