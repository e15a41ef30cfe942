"""Reject inference: a model of risk sees the loans that were made, and judges everyone who asks.

Who was approved and took the loan is no fair sample: lenders also look at what no column shows.
Three ways of the literature to learn from it for all, each an option of `models/params.yml`:

- `weighting` (Horvitz and Thompson 1952; for credit Banasik and Crook 2007, "Reject inference,
  augmentation, and sample selection"): each loan stands for all applicants like it, so it weighs
  1 / p(it was made | its columns). Right if the columns tell all that was chosen by.
- `augmentation` (fuzzy augmentation; Siddiqi 2006, "Credit Risk Scorecards"): whoever got no loan
  joins as in part good and in part bad, by the model of the loans alone, with the odds of bad
  raised by a stated factor for what lenders saw of them and no column shows.
- `parcelling` (ibid.): the same by bands of the bureau score, with the rates that are stated for
  them (expectations/policy/priors.yml): what is known of people whom nobody lends to.
"""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.params import Features, RejectInference, params
from models.scoring.estimators import Prior, Trained
from models.training.dataset import examples
from models.training.fit_model import TooLittle, fit
from models.validation.splits import in_time, weights_of
from pipelines.core.arrays import FloatArray
from pipelines.core.settings import Settings

THREADS = 1
"""The same result wherever it is computed."""


def for_all_who_ask(settings: Settings, day: date, loans: pa.Table, *, as_of: date) -> pa.Table:
    """Return what `inferred` makes of `loans` by the parameters, from the marts of `day`.

    Where too little is known of those who got none, the loans are left as they are.
    """
    how = params().reject_inference
    if how.method == "none":
        return loans
    asked = examples(settings, day, "approved", as_of=as_of)
    try:
        return inferred(loans, asked, params().features_of("risk"), how)
    except TooLittle:
        return loans


def inferred(
    loans: pa.Table, applicants: pa.Table, features: Features, how: RejectInference
) -> pa.Table:
    """Return what to fit a model of risk on, so that it holds for all `applicants`.

    Args:
        loans: Examples of `defaulted`, with their weights.
        applicants: Examples of `approved`: the pairs that institutions decided on.
        features: What the model looks at, all of it the lead's.
        how: See above; `none` gives the loans as they are.

    Returns:
        The loans, weighed anew, or followed by rows of the others. Those bear `is_inferred`: a
        model is never checked on them.

    Raises:
        TooLittle: There are too few loans, or too few others, to tell one from the other.
    """
    if how.method == "none" or not loans.num_rows:
        return loans
    asked = _asked(applicants, loans, how.most_others)
    if how.method == "weighting":
        return _reweighed(loans, asked, features, how.most_weight)
    others = asked.filter(pc.equal(asked["label"], 0.0))
    if how.method == "parcelling":
        return _joined(
            loans, others, Prior("risk", "stated by band").predict(others, threads=THREADS)
        )
    known, _ = fit(loans, features, in_time(loans))
    odds = how.odds_of_the_rejected * _odds(_predicted(known, others))
    return _joined(loans, others, odds / (1 + odds))


def _asked(applicants: pa.Table, loans: pa.Table, most_others: int) -> pa.Table:
    """Return one row of each lead not newer than the newest loan; `label`: whether it got one.

    Of those who got none at most so many stay, evenly over the leads, each for several.
    """
    old = pc.less_equal(applicants["business_date"], pc.max(loans["business_date"]))
    pairs = applicants.filter(old)
    _, first = np.unique(_lead(pairs).to_numpy(zero_copy_only=False), return_index=True)
    leads = pairs.take(pa.array(np.sort(first)))
    got_one = np.asarray(pc.is_in(_lead(leads), value_set=_lead(loans)))
    number = np.cumsum(~got_one)
    stands_for = max(1, -(-int(number[-1]) // most_others))
    kept = pa.array(got_one | (number % stands_for == 0))
    weight = np.where(got_one, 1.0, float(stands_for))
    return _with_weight(_labelled(leads, got_one.astype(float)), weight).filter(kept)


def _lead(table: pa.Table) -> pa.Array:
    joined = pc.binary_join_element_wise(table["channel_id"], table["lead_id"], "/")
    return joined.combine_chunks()


def _reweighed(
    loans: pa.Table, asked: pa.Table, features: Features, most_weight: float
) -> pa.Table:
    """Weigh each loan by the applicants it stands for, at most `most_weight` of the average one."""
    free = Features(numbers=features.numbers, categories=features.categories)
    chosen, _ = fit(asked, free, in_time(asked))
    stands_for = 1 / np.maximum(_predicted(chosen, loans), 1e-9)
    share = stands_for * float(np.average(asked["label"].to_numpy(), weights=weights_of(asked)))
    return _with_weight(loans, weights_of(loans) * np.minimum(share, most_weight))


def _joined(loans: pa.Table, others: pa.Table, likely: FloatArray) -> pa.Table:
    """Add everyone who got no loan twice, as bad and as good; all together weigh as the loans."""
    each = float(weights_of(loans).sum()) / max(1, others.num_rows)
    known = loans.append_column("is_inferred", pa.array(np.zeros(loans.num_rows, np.bool_)))
    parts = [known]
    for label, share in ((1.0, likely), (0.0, 1 - likely)):
        part = _with_weight(_labelled(others, np.full(others.num_rows, label)), each * share)
        told = part.append_column("is_inferred", pa.array(np.ones(others.num_rows, np.bool_)))
        parts.append(told.select(known.column_names))
    return pa.concat_tables(parts)


def _odds(likely: FloatArray) -> FloatArray:
    return likely / (1 - likely)


def _predicted(model: Trained, table: pa.Table) -> FloatArray:
    return model.predict(table, threads=THREADS)


def _labelled(table: pa.Table, label: FloatArray) -> pa.Table:
    return table.set_column(table.column_names.index("label"), "label", pa.array(label))


def _with_weight(table: pa.Table, weight: FloatArray) -> pa.Table:
    kept = table.drop_columns("weight") if "weight" in table.column_names else table
    return kept.append_column("weight", pa.array(weight))
