"""Champion and challenger meet over outcomes that neither has seen (models/champion/evaluation_window.py).

The champion predicts them as it is. The challenger itself has learned from them; so in its place
stands its recipe, fitted on what was known before the first of them. Where recipe and past are the
champion's own, that fit would give the champion again, so none is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from models.champion.evaluation_window import Stretch
from models.champion.registry import Champion, Entry
from models.features.encoder import numbers
from models.params import params
from models.scoring.estimators import Estimator
from models.training.paired_bootstrap import Outcomes
from models.validation import splits
from pipelines.core.arrays import FloatArray, spread_evenly
from pipelines.core.publishing import code_version
from pipelines.core.statistics import Z_95, auc

THREADS = 1
"""A comparison is small; its figures do not depend on them."""
PAST_LOOKED_AT = 10_000
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
    as_of: date
    newly_known: Callable[[], Stretch]
    """What they are compared on; only asked for where nothing else decides."""
    refit: Refit
    worth: Worth | None = None

    @property
    def is_outgrown(self) -> bool:
        """Return whether the champion has learned from far fewer rows."""
        rows, before = self.challenger.facts["rows"], self.champion.entry.facts["rows"]
        return bool(rows >= params().challenge.outgrown * before)


def is_champion_again(champion: Champion, found: Stretch) -> bool:
    """Return whether recipe and past are the champion's, so that a fit would give it again.

    The past may have lost some rows to corrections. That its labels are still those that it learned
    from shows in how well it ranks them: at least as well as the leads that it had not seen.
    """
    if found.begins != champion.trained_as_of or champion.code_version != code_version():
        return False
    rows, lost = champion.entry.facts["rows"], params().challenge.most_past_lost
    if abs(found.past.num_rows - rows) > lost * rows:
        return False
    past = found.past.filter(pa.array(~splits.is_inferred(found.past)))
    if not past.num_rows:
        return False
    known = past.take(pa.array(spread_evenly(past.num_rows, PAST_LOOKED_AT)))
    labels = numbers(known, "label")
    if labels.min() == labels.max():
        return False
    area, _ = auc(champion.entry.estimator.predict(known, threads=THREADS), labels)
    return area >= float(champion.entry.facts["figures"]["auc_low"])


def outcomes(model: str, on: Stretch) -> Outcomes:
    """Return the rows compared as the paired bootstrap sees them."""
    return Outcomes.of(on.compared, params().models[model].label, exposure=on.exposure)


def out_of_band(foretold: FloatArray, outcomes: Outcomes, deviations: float = Z_95) -> bool:
    """Return whether foretold over observed is off by more than the band, beyond chance.

    Args:
        foretold: The chance of each row to have happened by now.
        outcomes: What happened; rows of one lead count as one draw.
        deviations: How many standard deviations chance is given.
    """
    off = foretold - outcomes.happened
    by_lead = np.bincount(outcomes.lead, off - off.mean())
    surely = abs(off.mean()) - deviations * np.sqrt(np.sum(by_lead**2)) / len(off)
    return bool(surely > params().challenge.calibration_band * outcomes.happened.mean())
