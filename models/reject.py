"""Reject inference: a model of risk sees the loans that were made, and judges everyone who asks.

Who was approved and took the loan is no fair sample: lenders also look at what no column shows. Two
ways of the literature to learn from it for all, each an option of `models/params.yml`:

- `weighting` (Horvitz and Thompson 1952; for credit Banasik and Crook 2007, "Reject inference,
  augmentation, and sample selection"): each loan stands for all applicants like it, so it weighs
  1 / p(it was made | its columns). Right if the columns tell all that was chosen by.
- `augmentation` (fuzzy augmentation with parcelling; Siddiqi 2006, "Credit Risk Scorecards"):
  whoever got no loan joins as in part good and in part bad, by the model of the loans alone, with
  the odds of bad raised by a stated factor for what lenders saw of them and no column shows.
"""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.dataset import examples
from models.estimators import Trained
from models.features import Numbers
from models.fitting import TooLittle, fit
from models.params import Features, RejectInference, params
from models.splits import in_time, weights_of
from pipelines.settings import Settings

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
    asked = _asked(applicants, loans)
    if how.method == "weighting":
        return _reweighed(loans, asked, features, how.most_weight)
    return _augmented(loans, asked, features, how.odds_of_the_rejected)


def _asked(applicants: pa.Table, loans: pa.Table) -> pa.Table:
    """Return one row of each lead not newer than the newest loan; `label`: whether it got one."""
    old = pc.less_equal(applicants["business_date"], pc.max(loans["business_date"]))
    pairs = applicants.filter(old)
    _, first = np.unique(_lead(pairs).to_numpy(zero_copy_only=False), return_index=True)
    leads = pairs.take(pa.array(np.sort(first)))
    got_one = pc.cast(pc.is_in(_lead(leads), value_set=_lead(loans)), pa.float64())
    return leads.set_column(leads.column_names.index("label"), "label", got_one)


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
    share = stands_for * float(np.mean(asked["label"].to_numpy()))
    return _with_weight(loans, weights_of(loans) * np.minimum(share, most_weight))


def _augmented(loans: pa.Table, asked: pa.Table, features: Features, odds: float) -> pa.Table:
    """Add everyone who got no loan twice: as bad, and as good."""
    known, _ = fit(loans, features, in_time(loans))
    others = asked.filter(pc.equal(asked["label"], 0.0))
    likely = _predicted(known, others)
    bad = odds * likely / (1 - likely + odds * likely)
    both = [_with_weight(_labelled(others, label), w) for label, w in ((1.0, bad), (0.0, 1 - bad))]
    marked = [
        part.append_column("is_inferred", pa.array(np.full(part.num_rows, is_inferred)))
        for part, is_inferred in ((loans, False), *((part, True) for part in both))
    ]
    names = marked[0].column_names
    return pa.concat_tables([part.select(names) for part in marked])


def _predicted(model: Trained, table: pa.Table) -> Numbers:
    return model.predict(table, threads=THREADS)


def _labelled(table: pa.Table, label: float) -> pa.Table:
    labels = pa.array(np.full(table.num_rows, label))
    return table.set_column(table.column_names.index("label"), "label", labels)


def _with_weight(table: pa.Table, weight: Numbers) -> pa.Table:
    kept = table.drop_columns("weight") if "weight" in table.column_names else table
    return kept.append_column("weight", pa.array(weight))
