"""Reject inference: a risk model that is trained on loans is made to hold for all applicants.

Borrowers are a biased sample of applicants: lenders also use information that no column has. Three
methods of the literature, each an option of `models/params.yml`:

- `weighting` (Horvitz and Thompson 1952; for credit Banasik and Crook 2007, "Reject inference,
  augmentation, and sample selection"): each loan represents all applicants like it, so it weighs
  1 / p(loan | columns). Right if the columns contain all that the selection used.
- `augmentation` (fuzzy augmentation; Siddiqi 2006, "Credit Risk Scorecards"): an applicant without
  a loan joins the sample in part as bad and in part as good, by the model of the loans, with the
  odds of bad raised by a stated factor for the lenders' additional information.
- `parcelling` (ibid.): the same by bands of the bureau score, with the stated rates of the bands
  (expectations/policy/priors.yml), which also cover applicants that no lender accepts.
"""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.params import Features, RejectInferenceParams, params
from models.scoring.estimators import Prior, TrainedModel
from models.training.dataset import load_examples
from models.training.fit_model import InsufficientData, fit
from models.validation.splits import row_weights, split_by_time
from pipelines.core.arrays import BoolArray, FloatArray
from pipelines.core.settings import Settings

THREADS = 1
"""Fixed, so that the result is the same on every machine."""


def add_rejected_applicants(
    settings: Settings, day: date, loans: pa.Table, *, as_of: date
) -> pa.Table:
    """Return the result of `infer_rejected` for `loans`, by the parameters and the marts of `day`.

    With insufficient data on applicants without a loan, the loans are unchanged.
    """
    rules = params().reject_inference
    if rules.method == "none":
        return loans
    applicants = load_examples(settings, day, "approved", as_of=as_of)
    try:
        return infer_rejected(loans, applicants, params().model_features("risk"), rules)
    except InsufficientData:
        return loans


def infer_rejected(
    loans: pa.Table, applicants: pa.Table, features: Features, rules: RejectInferenceParams
) -> pa.Table:
    """Return a training sample for a risk model that holds for all `applicants`.

    Args:
        loans: Examples of `defaulted`, with their weights.
        applicants: Examples of `approved`: the pairs with a decision.
        features: The features of the model, all of them of the lead.
        rules: The method and its parameters; `none` returns the loans.

    Returns:
        The loans with other weights, or followed by rows of applicants without a loan, which have
        `is_inferred`: no model is validated on them.

    Raises:
        InsufficientData: There are too few loans, or too few applicants without one.
    """
    if rules.method == "none" or not loans.num_rows:
        return loans
    sample = _sample_applicants(applicants, loans, rules.max_rejected)
    if rules.method == "weighting":
        return _reweight(loans, sample, features, rules.max_weight)
    rejected = sample.filter(pc.equal(sample["label"], 0.0))
    if rules.method == "parcelling":
        prior = Prior("risk", "stated by band")
        return _append_rejected(loans, rejected, prior.predict(rejected, threads=THREADS))
    model, _ = fit(loans, features, split_by_time(loans))
    probability = _predict(model, rejected)
    odds = rules.rejected_odds_factor * (probability / (1 - probability))
    return _append_rejected(loans, rejected, odds / (1 + odds))


def _sample_applicants(applicants: pa.Table, loans: pa.Table, max_rejected: int) -> pa.Table:
    """Return one row of each lead up to the newest loan's date; `label`: 1 if it got a loan.

    At most `max_rejected` leads without a loan stay, evenly spread, with a weight for the others.
    """
    before = pc.less_equal(applicants["business_date"], pc.max(loans["business_date"]))
    pairs = applicants.filter(before)
    _, first = np.unique(_lead_names(pairs).to_numpy(zero_copy_only=False), return_index=True)
    leads = pairs.take(pa.array(np.sort(first)))
    has_loan = np.asarray(pc.is_in(_lead_names(leads), value_set=_lead_names(loans)))
    number = np.cumsum(~has_loan)
    step = max(1, -(-int(number[-1]) // max_rejected))
    weight = np.where(has_loan, 1.0, float(step))
    labelled = _set_weight(_set_label(leads, has_loan.astype(float)), weight)
    return labelled.filter(pa.array(has_loan | (number % step == 0)))


def _lead_names(table: pa.Table) -> pa.Array:
    joined = pc.binary_join_element_wise(table["channel_id"], table["lead_id"], "/")
    return joined.combine_chunks()


def _reweight(
    loans: pa.Table, applicants: pa.Table, features: Features, max_weight: float
) -> pa.Table:
    """Weigh each loan by the applicants it represents, at most `max_weight` of the average one."""
    unconstrained = Features(numbers=features.numbers, categories=features.categories)
    selection, _ = fit(applicants, unconstrained, split_by_time(applicants))
    represented = 1 / np.maximum(_predict(selection, loans), 1e-9)
    loan_rate = np.average(applicants["label"].to_numpy(), weights=row_weights(applicants))
    relative = represented * float(loan_rate)
    return _set_weight(loans, row_weights(loans) * np.minimum(relative, max_weight))


def _append_rejected(loans: pa.Table, rejected: pa.Table, probability: FloatArray) -> pa.Table:
    """Append each rejected applicant as bad and as good; in total they weigh as the loans."""
    weight = float(row_weights(loans).sum()) / max(1, rejected.num_rows)
    observed = loans.append_column("is_inferred", pa.array(_all(loans, value=False)))
    parts = [observed]
    for label, share in ((1.0, probability), (0.0, 1 - probability)):
        labelled = _set_label(rejected, np.full(rejected.num_rows, label))
        inferred = _set_weight(labelled, weight * share).append_column(
            "is_inferred", pa.array(_all(rejected, value=True))
        )
        parts.append(inferred.select(observed.column_names))
    return pa.concat_tables(parts)


def _all(table: pa.Table, *, value: bool) -> BoolArray:
    return np.full(table.num_rows, value, np.bool_)


def _predict(model: TrainedModel, table: pa.Table) -> FloatArray:
    return model.predict(table, threads=THREADS)


def _set_label(table: pa.Table, label: FloatArray) -> pa.Table:
    return table.set_column(table.column_names.index("label"), "label", pa.array(label))


def _set_weight(table: pa.Table, weight: FloatArray) -> pa.Table:
    others = table.drop_columns("weight") if "weight" in table.column_names else table
    return others.append_column("weight", pa.array(weight))
