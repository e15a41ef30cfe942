"""Fairness proxies: how well the features of leads predict their protected attributes.

A model that never reads an attribute may still act on it through a correlated feature (a proxy).
For each group, trees are trained to separate it from all others by the features, and evaluated on
leads that they were not trained on. An AUC of 0.5 means that the features carry no information.

The input has protected values; the output has statistics of groups and nothing of a single lead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.features.encoder import Encoder
from models.params import Features, params
from models.validation.splits import Split, split_at_random
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import auc_with_interval, quantile_edges

FOLDS = 5
TREES = 50
"""Enough for the information of a few thousand leads."""
MAX_LEADS = 10_000
"""More leads would narrow the interval by less than 0.01 and only take longer."""
NAMED_PROXIES = 3
BINS, MAX_DISTINCT = 16, 64
"""Bins of a single number that has more distinct values than the latter."""
PRIOR_LEADS = 10
"""Leads of the average composition that are added to each bin, so that small bins shrink."""


@dataclass(frozen=True)
class Proxy:
    """One feature, and how well it alone separates a group from all others."""

    feature: str
    auc: float
    auc_low: float
    auc_high: float
    """95% interval of `auc`."""


@dataclass(frozen=True)
class GroupInference:
    """How well the features separate one group from all others with a known attribute."""

    attribute: str
    group: str
    leads: int
    """Leads with a known attribute."""
    share: float
    """Share of them in the group."""
    auc: float
    auc_low: float
    auc_high: float
    """95% interval of `auc`."""
    strongest: tuple[Proxy, ...]
    """The features with the highest AUC, strongest first."""


@dataclass(frozen=True)
class AttributeInference:
    """How well the features predict one attribute."""

    attribute: str
    leads: int
    """Leads with a known attribute, at most `MAX_LEADS`."""
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    """Mean over the groups, weighted by size (Provost and Domingos 2000), with the mean of their
    intervals, a conservative one. None: fewer than two groups are large enough."""
    groups: tuple[GroupInference, ...]


@dataclass(frozen=True)
class _FoldData:
    """One fold of the leads, as LightGBM reads it."""

    fold: Split
    train: lightgbm.Dataset
    validate: FloatArray
    settings: dict[str, Any]


def infer_attributes(
    leads: pa.Table, protected: Mapping[str, pa.ChunkedArray], features: Features
) -> list[AttributeInference]:
    """Return for each protected attribute how well `features` of `leads` predict it.

    Args:
        leads: The columns that `features` name, in a fixed order.
        protected: Attribute -> its values, row by row as `leads`; null or empty: not known.
        features: The lead features of the models.
    """
    return [
        _infer_attribute(name, leads, values, features)
        for name, values in sorted(protected.items())
    ]


def _infer_attribute(
    name: str, leads: pa.Table, values: pa.ChunkedArray, features: Features
) -> AttributeInference:
    is_known = pc.fill_null(pc.greater(pc.utf8_length(values), 0), fill_value=False)
    rows = _draw_rows(np.flatnonzero(is_known.to_numpy()))
    table, labels = leads.take(rows), values.take(rows).to_numpy()
    encoder = Encoder.fit(table, features, min_rows=params().min_rows_of_a_category)
    matrix = encoder.encode(table)
    bins = [_bin(column) for column in matrix.T]
    folds = _make_folds(matrix, encoder.categorical_indexes)
    groups = [
        _infer_group(
            name, group, (labels == group).astype(np.float64), folds, bins, encoder.features.names
        )
        for group in _large_groups(labels)
    ]
    if not groups:
        return AttributeInference(name, len(rows), None, None, None, ())
    weights = np.array([group.share for group in groups])
    auc, low, high = (
        round(float(np.average([getattr(group, figure) for group in groups], weights=weights)), 4)
        for figure in ("auc", "auc_low", "auc_high")
    )
    return AttributeInference(name, len(rows), auc, low, high, tuple(groups))


def _draw_rows(rows: IntArray) -> IntArray:
    drawn = np.random.default_rng(params().boosting["seed"]).permutation(rows)[:MAX_LEADS]
    return np.sort(drawn)


def _large_groups(labels: np.ndarray) -> Iterator[str]:
    """Yield the groups with enough leads inside and outside; of two groups only the first."""
    groups, counts = np.unique(labels, return_counts=True)
    fewest = params().min_rows_of_a_class
    large = [
        f"{group}"
        for group, count in zip(groups, counts, strict=True)
        if fewest <= count <= len(labels) - fewest
    ]
    yield from large[:1] if len(groups) == 2 else large  # noqa: PLR2004  a binary attribute


def _infer_group(
    attribute: str,
    group: str,
    is_member: FloatArray,
    folds: Sequence[_FoldData],
    bins: Sequence[IntArray],
    names: Sequence[str],
) -> GroupInference:
    predicted = _predict_out_of_fold(folds, is_member)
    auc, low, high = _auc_with_interval(predicted, is_member)
    proxies = [
        Proxy(name, *_auc_with_interval(_predict_by_bin(of_feature, is_member), is_member))
        for of_feature, name in zip(bins, names, strict=True)
    ]
    proxies.sort(key=lambda proxy: (-proxy.auc, proxy.feature))
    return GroupInference(
        attribute=attribute,
        group=group,
        leads=len(is_member),
        share=round(float(is_member.mean()), 4),
        auc=auc,
        auc_low=low,
        auc_high=high,
        strongest=tuple(proxies[:NAMED_PROXIES]),
    )


def _auc_with_interval(predicted: FloatArray, is_member: FloatArray) -> tuple[float, float, float]:
    auc, low, high = auc_with_interval(predicted, is_member)
    return round(auc, 4), round(low, 4), round(high, 4)


def _make_folds(matrix: FloatArray, categories: list[int]) -> list[_FoldData]:
    """Return the folds with their training rows, which LightGBM bins once for all groups."""
    settings = params().boosting | {"verbosity": -1, "num_leaves": 15, "learning_rate": 0.05}
    return [
        _FoldData(
            fold,
            lightgbm.Dataset(matrix[fold.train], categorical_feature=categories, params=settings),
            matrix[fold.validate],
            settings,
        )
        for fold in split_at_random(len(matrix), FOLDS)
    ]


def _predict_out_of_fold(folds: Sequence[_FoldData], is_member: FloatArray) -> FloatArray:
    """Return the prediction for each lead by trees that were trained on the other folds."""
    predicted = np.empty(len(is_member))
    for data in folds:
        data.train.set_label(is_member[data.fold.train])
        booster = lightgbm.train(data.settings, data.train, TREES)
        predicted[data.fold.validate] = booster.predict(data.validate)
    return predicted


def _predict_by_bin(bins: IntArray, is_member: FloatArray) -> FloatArray:
    """Return the group's share in the bin of each lead's value, estimated on the other folds."""
    predicted = np.empty(len(is_member))
    for fold in split_at_random(len(is_member), FOLDS):
        mean = is_member[fold.train].mean()
        count = np.bincount(bins[fold.train], minlength=bins.max() + 1)
        members = np.bincount(bins[fold.train], is_member[fold.train], minlength=bins.max() + 1)
        share = (members + PRIOR_LEADS * mean) / (count + PRIOR_LEADS)
        predicted[fold.validate] = share[bins[fold.validate]]
    return predicted


def _bin(values: FloatArray) -> IntArray:
    """Return bins of about equal size; equal values share a bin, and so do missing ones."""
    is_missing = np.isnan(values)
    known = values[~is_missing]
    if not len(known):
        return np.zeros(len(values), dtype=np.int64)
    quantiles = quantile_edges(known, BINS, "lower")
    distinct = np.unique(known)  # with few distinct values, as of a category, each has its own bin
    edges = distinct if len(distinct) <= MAX_DISTINCT else quantiles
    return np.where(is_missing, 0, 1 + np.searchsorted(edges, np.where(is_missing, 0, values)))
