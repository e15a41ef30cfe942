"""The model set of a day: three probabilities for each pair, and reasons of the chosen pairs."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import numpy as np
import pyarrow as pa

from models.champion import registry
from models.explanations.reasons import Explainer
from models.explanations.reference_profile import ReferenceProfile
from models.scoring.estimators import Estimator
from pipelines.core.arrays import FloatArray
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings

OUTPUTS = {"risk": "pd", "approval": "p_approve", "take_up": "p_fund"}
"""Model -> the column of its probabilities."""

BATCH_ROWS = 65_536
"""Rows of one matrix: bounds the memory, never changes the result."""


@dataclass(frozen=True)
class ModelSet:
    """The three models that score a day."""

    version: str
    """The version that a match names: the date of the set, and the start of its content's hash."""
    estimators: dict[str, Estimator]
    threads: int
    profiles: Mapping[str, ReferenceProfile | None] = field(default_factory=dict)
    """The reference profile of each model, with which its reasons compare."""

    def score_leads(self, leads: pa.Table) -> pa.Table:
        """Return `leads` with `pd`, which is the same for every product."""
        return self._append_probabilities(leads, ["risk"])

    def score(self, pairs: pa.Table) -> pa.Table:
        """Return `pairs` with `pd`, `p_approve` and `p_fund` (given approval) as last columns.

        A pure function of each row: batches, threads and the order of rows change no bit. A `pd`
        that `score_leads` has already added stays as it is.

        Raises:
            MissingColumns: `pairs` lacks columns that the models read.
        """
        missing = [m for m, column in OUTPUTS.items() if column not in pairs.schema.names]
        return self._append_probabilities(pairs, missing)

    def take_up_at(self, pairs: pa.Table, rank: FloatArray) -> FloatArray:
        """Return the take-up probability of each pair, once approved, at an offer rank.

        `score` treats each pair as its lead's first offer. At a lower rank a person is less likely
        to take it and may have taken an earlier one: the same pair, at another `rank` (1 is first).
        """
        ranked = pairs.drop_columns("rank").append_column("rank", pa.array(rank))
        return np.concatenate(
            [
                self.estimators["take_up"].predict(batch, threads=self.threads)
                for batch in _batches(ranked)
            ]
            or [np.empty(0)]
        )

    def reasons(self, pairs: pa.Table) -> pa.ListArray:
        """Return for each pair the reason codes for its approval, strongest first."""
        return self.explainer("approval").codes(pairs)

    def explainer(self, model: str) -> Explainer:
        """Return the explainer of one model's probabilities."""
        return Explainer(self.estimators[model], self.profiles.get(model), self.threads)

    def _append_probabilities(self, table: pa.Table, models: Sequence[str]) -> pa.Table:
        scored = table
        for model in models:
            batches = self._predict_in_threads(self.estimators[model], scored)
            scored = scored.append_column(OUTPUTS[model], pa.chunked_array(batches, pa.float64()))
        return scored

    def _predict_in_threads(self, estimator: Estimator, table: pa.Table) -> list[FloatArray]:
        """Return the probabilities of each batch, in order; one thread computes each batch."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(partial(estimator.predict, threads=1), _batches(table)))


def load(settings: Settings, day: date) -> ModelSet:
    """Return the model set that scores `day`: the latest trained on or before it.

    Raises:
        InputMissing: No set was trained on or before `day`.
    """
    as_of = registry.find_active_set(settings, day)
    folder = registry.set_folder(settings, as_of)
    content = read_manifest(folder)["content_sha256"]
    estimators = registry.load_estimators(settings, as_of)
    profiles = {model: registry.load_reference_profile(folder / model) for model in estimators}
    return ModelSet(f"{as_of}:{content[:12]}", estimators, settings.threads, profiles)


def _batches(table: pa.Table) -> Iterator[pa.Table]:
    return (table.slice(start, BATCH_ROWS) for start in range(0, table.num_rows, BATCH_ROWS))
