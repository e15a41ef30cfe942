"""Why a model of SBA's loans is better in random folds than by time: measured, piece by piece.

Random folds put loans of one lender and month on both sides. How much that is worth shows when
whole months, or whole lenders, are held out instead; what has changed besides shows feature by
feature, and by what a loan's own columns tell of its time.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.params import Features, params
from models.training.dataset import examples
from models.training.fit_model import fit
from models.validation import splits
from pipelines.bench.evaluate import closed_book, part_by_part
from pipelines.bench.experiment import CLOSED_BOOK, LEAD_DAY, Question
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.settings import Settings
from pipelines.core.statistics import auc, quantile_edges

PARTS = 5
"""Into which loans, months and lenders are dealt."""
SEED = 20_261_124
BANDS = 10
SHRUNK_BY = 30
"""Rows of the mean rate that stand beside those of a value, where one column is tried."""
RECENT = np.datetime64("2003-01-01")
"""SBA's book leaps from 1997 to 2003: few loans lie between."""
LEAST_OF_A_YEAR = 300
YEARS_SEEN = 5
"""Of the sooner label: charged off within so many years."""
FILE_ENDS = np.datetime64("2014-12-31")
"""A loan that still ran is told as paid by then (expectations/mappings/sba.yml)."""

Row = dict[str, Any]


def explain(settings: Settings, day: date, question: Question) -> dict[str, list[Row]]:
    """Return what parts the two figures, as rows of four tables; see `tables.why`.

    Args:
        settings: Where the prepared book is.
        day: Of its marts.
        question: By time, of a closed book; `split` says from when on loans are later.
    """
    book = Book.of(settings, day, question)
    known = examples(settings, day, CLOSED_BOOK, as_of=day)["label_known_on"].to_numpy()
    random = book.across(book.features, book.folds)
    return {
        "held_out": list(_held_out(book, random)),
        "years": list(_years(book, random)),
        "columns": list(_columns(book)),
        "endings": list(_endings(book, random, known)),
    }


class Book:
    """Labelled loans, and which of them are later."""

    def __init__(self, table: pa.Table, question: Question, threads: int):
        self.table, self.question, self._threads = table, question, threads
        self.features = question.features
        self.labels = np.asarray(table["label"].to_numpy(), dtype=np.float64)
        self.days = table[LEAD_DAY].to_numpy()
        self.years = self.days.astype("datetime64[Y]").astype(np.int64) + 1970
        self.is_later = self.days >= np.datetime64(question.split)

    @classmethod
    def of(cls, settings: Settings, day: date, question: Question) -> "Book":
        """Return the whole book that `question` is about."""
        return cls(closed_book(settings, day), question, settings.threads)

    @property
    def folds(self) -> IntArray:
        """The random fold of each row, as `bench models --folds` deals them."""
        part = np.zeros(len(self.labels), dtype=np.int64)
        for number, fold in enumerate(splits.at_random(len(self.labels), PARTS)):
            part[fold.check] = number
        return part

    def together(self, groups: IntArray) -> IntArray:
        """Return a part for each row, by lot over `groups`, which stay together."""
        _, place = np.unique(groups, return_inverse=True)
        return np.random.default_rng(SEED).permutation(int(place.max()) + 1)[place] % PARTS

    def across(self, features: Features, part: IntArray) -> FloatArray:
        """Return what a model of all other parts says of each part."""
        return part_by_part(self.table, features, part, threads=self._threads)

    def later_from(self, rows: BoolArray) -> FloatArray:
        """Return what a model of some `rows` says of the later loans."""
        before = self.table.filter(pa.array(rows))
        model, _ = fit(before, self.features, splits.in_time(before))
        return model.predict(self.table.filter(pa.array(self.is_later)), threads=self._threads)

    def with_labels(self, labels: FloatArray, kept: BoolArray) -> "Book":
        """Return the loans that are `kept`, labelled otherwise."""
        place = self.table.column_names.index("label")
        table = self.table.set_column(place, "label", pa.array(labels)).filter(pa.array(kept))
        return Book(table, self.question, self._threads)


def _held_out(book: Book, random: FloatArray) -> Iterator[Row]:
    """Yield the AUC by what was held out together."""
    levels = frozenset(level.name for level in params().effects.levels)
    own = book.features.without(levels)
    months = book.days.astype("datetime64[M]").astype(np.int64)
    lenders = pc.dictionary_encode(book.table["institution_id"].combine_chunks()).indices.to_numpy()
    by_parts = {
        "single loans (random folds)": random,
        "single loans, no effects of lenders": book.across(own, book.folds),
        "whole months": book.across(book.features, book.together(months)),
        "whole lenders": book.across(book.features, book.together(lenders)),
    }
    for words, predicted in by_parts.items():
        yield {"held_out": words, "auc_of_all": auc(predicted, book.labels)[0]} | _of_later(
            book, predicted[book.is_later]
        )
    for words, rows in (
        ("all later loans (by time)", ~book.is_later),
        (
            f"the same, learned from {RECENT.astype('datetime64[Y]')} on",
            ~book.is_later & (book.days >= RECENT),
        ),
    ):
        yield {"held_out": words, "auc_of_all": None} | _of_later(book, book.later_from(rows))
    later = book.with_labels(book.is_later.astype(np.float64), np.ones(len(random), dtype=bool))
    told = later.across(own, book.folds)
    yield {
        "held_out": "(whether a loan is a later one, told from its own columns)",
        "auc_of_all": auc(told, later.labels)[0],
        "auc_of_later": None,
        "said": None,
        "happened": None,
    }


def _of_later(book: Book, predicted: FloatArray) -> Row:
    happened = book.labels[book.is_later]
    return {
        "auc_of_later": auc(predicted, happened)[0],
        "said": float(predicted.mean()),
        "happened": float(happened.mean()),
    }


def _years(book: Book, random: FloatArray) -> Iterator[Row]:
    """Yield rate and AUC within each year, then across years, then what the year alone tells."""
    pairs_within, won_within = 0.0, 0.0
    for year in np.unique(book.years):
        rows = book.years == year
        happened = book.labels[rows]
        pairs = float(happened.sum() * (1 - happened).sum())
        if not pairs:
            continue
        area = auc(random[rows], happened)[0]
        pairs_within, won_within = pairs_within + pairs, won_within + pairs * area
        if rows.sum() >= LEAST_OF_A_YEAR:
            yield _year(f"{year}", int(rows.sum()), float(happened.mean()), area)
    every = float(book.labels.sum() * (1 - book.labels).sum())
    whole = auc(random, book.labels)[0]
    share = pairs_within / every
    across = (whole * every - won_within) / (every - pairs_within)
    yield _year(
        f"pairs of loans of one year ({share:.0%} of all)", None, None, won_within / pairs_within
    )
    yield _year("pairs of loans of two years", None, None, across)
    alone = _rate_of(book.years, book.labels, book.folds)
    yield _year("the rate of the year alone, all loans", None, None, auc(alone, book.labels)[0])


def _year(words: str, rows: int | None, rate: float | None, area: float) -> Row:
    return {"year": words, "rows": rows, "rate": rate, "auc": area}


def _columns(book: Book) -> Iterator[Row]:
    """Yield how well each column alone orders loans, within a period and from one to the next."""
    periods = {
        "of_1997": book.years == 1997,  # noqa: PLR2004  the book's first large year
        "of_2004": (book.years == 2004) & ~book.is_later,  # noqa: PLR2004  and its second
        "of_later": book.is_later,
    }
    lot = np.random.default_rng(SEED).integers(0, 2, len(book.labels))
    names = set(book.features.names) & set(book.table.column_names) | {"institution_id"}
    for name in sorted(names):
        codes = _codes(book.table[name])
        if len(np.unique(codes)) == 1:
            continue
        areas: Row = {}
        for period, rows in periods.items():
            happened = book.labels[rows]
            halves = _rate_of(codes[rows], happened, lot[rows])
            areas[period] = auc(halves, happened)[0] if len(set(happened)) > 1 else None
        before = np.where(book.is_later, 0, 1)
        onward = _rate_of(codes, book.labels, before)[book.is_later]
        areas["before_to_later"] = auc(onward, book.labels[book.is_later])[0]
        yield {"column": name} | areas


def _endings(book: Book, random: FloatArray, known: Any) -> Iterator[Row]:
    """Yield what it does that loans of some years were watched for longer than others."""
    took = (known - book.days).astype("timedelta64[D]").astype(np.float64) / 365.25
    is_running = (book.labels == 0) & (known > FILE_ENDS)
    sooner = ((book.labels == 1) & (took <= YEARS_SEEN + 1)).astype(np.float64)
    every = np.ones(len(took), dtype=bool)
    for words, labels, kept in (
        ("as it is", book.labels, every),
        ("without loans that ran until the file's end", book.labels, ~is_running),
        (f"charged off within about {YEARS_SEEN} years", sooner, every),
    ):
        other = book.with_labels(labels, kept)
        later = other.labels[other.is_later]
        said = other.later_from(~other.is_later)
        is_other = labels is not book.labels or not kept.all()
        across = other.across(other.features, other.folds) if is_other else random
        yield {
            "endings": words,
            "rows": len(other.labels),
            "rate_before": float(other.labels[~other.is_later].mean()),
            "rate_later": float(later.mean()),
            "auc_random": auc(across, other.labels)[0],
            "auc_by_time": auc(said, later)[0],
        }


def _rate_of(codes: IntArray, labels: FloatArray, part: IntArray) -> FloatArray:
    """Return the rate of each row's code in the other parts, drawn to the mean of those."""
    _, place = np.unique(codes, return_inverse=True)
    rates = np.empty(len(labels))
    for number in np.unique(part):
        others = part != number
        happened = np.bincount(place[others], labels[others], place.max() + 1)
        rows = np.bincount(place[others], minlength=place.max() + 1)
        mean = labels[others].mean()
        rate = (happened + SHRUNK_BY * mean) / (rows + SHRUNK_BY)
        rates[part == number] = rate[place[part == number]]
    return rates


def _codes(column: pa.ChunkedArray) -> IntArray:
    """Return the number of each value: of a text as it is, of a number its band; unknown is one."""
    if pa.types.is_string(column.type):
        found = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode").indices
        return np.asarray(found.to_numpy(), dtype=np.int64)
    values = pc.cast(column, pa.float64()).to_numpy()
    if np.isnan(values).all():
        return np.zeros(len(values), dtype=np.int64)
    ends = quantile_edges(values[~np.isnan(values)], BANDS)
    return np.where(np.isnan(values), -1, np.searchsorted(ends, values, side="right"))
