"""How well the features of a lead could guess what no model may know: its protected attributes.

A model that never sees an attribute may still act on it through what stands for it (a proxy). How
far it could is measured by trying: trees are trained to tell each group from the rest by the
features alone, and asked about leads they were not trained on. 0.5: the features say nothing.

Protected values come in here, figures about groups go out, and nothing of a single lead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.features.encoder import Encoder
from models.params import Features, params
from models.validation.splits import at_random
from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import auc_with_interval, quantile_edges

FOLDS = 5
TREES = 50
"""Enough to find what a few thousand leads can show."""
MOST_LEADS = 10_000
"""More leads would narrow the interval to less than 0.01 and only take longer."""
MOST_NAMED = 3
BINS, MOST_BINS = 16, 64
"""Into how many a number is cut that is looked at alone, if it has more values than the latter."""
PULL = 10
"""Leads of average kind that are added to each bin: a bin of few leads says little."""


@dataclass(frozen=True)
class Proxy:
    """One feature, and how well it tells a group from the rest by itself."""

    feature: str
    auc: float
    auc_low: float
    auc_high: float
    """95% interval of `auc`."""


@dataclass(frozen=True)
class Guess:
    """How well the features tell one group from all others of whom the attribute is known."""

    attribute: str
    group: str
    leads: int
    """With the attribute known."""
    share: float
    """Of them in the group."""
    auc: float
    auc_low: float
    auc_high: float
    """95% interval of `auc`."""
    strongest: tuple[Proxy, ...]
    """The features that tell most by themselves, strongest first."""


@dataclass(frozen=True)
class Guessed:
    """How well the features tell one attribute."""

    attribute: str
    leads: int
    """With the attribute known, at most `MOST_LEADS`."""
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    """Mean over its groups, weighted by their size (Provost and Domingos 2000); the interval is the
    widest that the groups' own allow. None: no two groups are large enough to say."""
    groups: tuple[Guess, ...]


def guess(
    leads: pa.Table, protected: Mapping[str, pa.ChunkedArray], features: Features
) -> list[Guessed]:
    """Return for each protected attribute how well `features` of `leads` tell it.

    Args:
        leads: The columns that `features` name, in an order that never changes.
        protected: Attribute -> its values, row by row as `leads`; null or empty: not known.
        features: What the models look at of a lead.
    """
    return [_attribute(name, leads, values, features) for name, values in sorted(protected.items())]


def _attribute(name: str, leads: pa.Table, values: pa.ChunkedArray, features: Features) -> Guessed:
    known = pc.fill_null(pc.greater(pc.utf8_length(values), 0), fill_value=False)
    rows = _sample(np.flatnonzero(known.to_numpy()))
    table, told = leads.take(rows), values.take(rows).to_numpy()
    encoder = Encoder.learned_from(table, features, least_rows=params().min_rows_of_a_category)
    matrix = encoder.matrix(table)
    groups = [
        _group(name, group, (told == group).astype(np.float64), matrix, encoder)
        for group in _large_enough(told)
    ]
    if not groups:
        return Guessed(name, len(rows), None, None, None, ())
    weights = np.array([found.share for found in groups])
    mean = [
        round(float(np.average([getattr(found, figure) for found in groups], weights=weights)), 4)
        for figure in ("auc", "auc_low", "auc_high")
    ]
    return Guessed(name, len(rows), mean[0], mean[1], mean[2], tuple(groups))


def _sample(rows: np.ndarray) -> np.ndarray:
    chosen = np.random.default_rng(params().boosting["seed"]).permutation(rows)[:MOST_LEADS]
    return np.sort(chosen)


def _large_enough(told: np.ndarray) -> Iterator[str]:
    """Yield the groups with enough leads in and outside them; of two, the first stands for both."""
    groups, counts = np.unique(told, return_counts=True)
    fewest = params().min_rows_of_a_class
    large = [
        f"{group}"
        for group, count in zip(groups, counts, strict=True)
        if fewest <= count <= len(told) - fewest
    ]
    yield from large[:1] if len(groups) == 2 else large  # noqa: PLR2004  a yes or no


def _group(
    attribute: str, group: str, belongs: FloatArray, matrix: FloatArray, encoder: Encoder
) -> Guess:
    told = _with_interval(_out_of_fold(matrix, belongs, encoder.categorical_indexes), belongs)
    alone = [
        Proxy(name, *_with_interval(_alone(matrix[:, column], belongs), belongs))
        for column, name in enumerate(encoder.features.names)
    ]
    return Guess(
        attribute=attribute,
        group=group,
        leads=len(belongs),
        share=round(float(belongs.mean()), 4),
        auc=told[0],
        auc_low=told[1],
        auc_high=told[2],
        strongest=tuple(sorted(alone, key=lambda proxy: (-proxy.auc, proxy.feature))[:MOST_NAMED]),
    )


def _with_interval(said: FloatArray, belongs: FloatArray) -> tuple[float, float, float]:
    area, low, high = auc_with_interval(said, belongs)
    return round(area, 4), round(low, 4), round(high, 4)


def _out_of_fold(matrix: FloatArray, belongs: FloatArray, categories: list[int]) -> FloatArray:
    """Return what trees that were trained on the other folds say of each lead."""
    stated = params().boosting | {"verbosity": -1, "num_leaves": 15, "learning_rate": 0.05}
    said = np.empty(len(belongs))
    for fold in at_random(len(belongs), FOLDS):
        data = lightgbm.Dataset(
            matrix[fold.fit], belongs[fold.fit], categorical_feature=categories, params=stated
        )
        said[fold.check] = lightgbm.train(stated, data, TREES).predict(matrix[fold.check])
    return said


def _alone(values: FloatArray, belongs: FloatArray) -> FloatArray:
    """Return what one feature says of each lead: the group's share of its bin in other folds."""
    bins = _binned(values)
    said = np.empty(len(belongs))
    for fold in at_random(len(belongs), FOLDS):
        usual = belongs[fold.fit].mean()
        count = np.bincount(bins[fold.fit], minlength=bins.max() + 1)
        inside = np.bincount(bins[fold.fit], belongs[fold.fit], minlength=bins.max() + 1)
        said[fold.check] = ((inside + PULL * usual) / (count + PULL))[bins[fold.check]]
    return said


def _binned(values: FloatArray) -> np.ndarray:
    """Return bins of about equal size; equal values share one, and so do those not known."""
    unknown = np.isnan(values)
    known = values[~unknown]
    if not len(known):
        return np.zeros(len(values), dtype=np.int64)
    cuts = quantile_edges(known, BINS, "lower")
    distinct = np.unique(known)  # categories, among others: each is a bin of its own
    edges = distinct if len(distinct) <= MOST_BINS else cuts
    return np.where(unknown, 0, 1 + np.searchsorted(edges, np.where(unknown, 0, values)))
