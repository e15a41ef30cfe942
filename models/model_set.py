"""Ask the models: three probabilities for each pair, and the reasons of the chosen ones."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import numpy as np
import pyarrow as pa

from models.champion import model_artifacts, registry
from models.explanations.reasons import Explainer
from models.explanations.reference_profile import Ordinary
from models.scoring.estimators import Estimator
from pipelines.core.arrays import FloatArray
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings

OUTPUTS = {"risk": "pd", "approval": "p_approve", "take_up": "p_fund"}
"""Model -> the column of its probabilities."""

ROWS_AT_ONCE = 65_536
"""Rows that are made into one matrix: bounds the memory, never changes the result."""


@dataclass(frozen=True)
class ModelSet:
    """The three models that score a day."""

    version: str
    """What a match says of who scored it: the anchor, and the start of its content's hash."""
    estimators: dict[str, Estimator]
    threads: int
    ordinary: Mapping[str, Ordinary | None] = field(default_factory=dict)
    """Model -> what its leads were like, which reasons are told against."""

    def score_leads(self, leads: pa.Table) -> pa.Table:
        """Return `leads` with `pd`, which is the same for every product."""
        return self._with(leads, ["risk"])

    def score(self, pairs: pa.Table) -> pa.Table:
        """Return `pairs` with `pd`, `p_approve` and `p_fund` (given approval) as last columns.

        A pure function of each row: batches, threads and the order of rows change no bit. A `pd`
        that `score_leads` has given already stays as it is.

        Raises:
            MissingColumns: `pairs` lacks columns that the models look at.
        """
        return self._with(
            pairs, [m for m, name in OUTPUTS.items() if name not in pairs.schema.names]
        )

    def take_up_at(self, pairs: pa.Table, rank: FloatArray) -> FloatArray:
        """Return how likely each pair is taken up, once approved, at its place among the offers.

        `score` takes each pair for its lead's first offer. Further down a person is less ready to
        take it and may have taken one before: the same pair, at another `rank` (1 is the first).
        """
        placed = pairs.drop_columns("rank").append_column("rank", pa.array(rank))
        return np.concatenate(
            [
                self.estimators["take_up"].predict(part, threads=self.threads)
                for part in _portions(placed)
            ]
            or [np.empty(0)]
        )

    def reasons(self, pairs: pa.Table) -> pa.ListArray:
        """Return for each pair the codes of what spoke most for its approval, strongest first."""
        return self.explainer("approval").codes(pairs)

    def explainer(self, model: str) -> Explainer:
        """Return who names the reasons of one model's probabilities."""
        return Explainer(self.estimators[model], self.ordinary.get(model), self.threads)

    def _with(self, table: pa.Table, models: Sequence[str]) -> pa.Table:
        scored = table
        for model in models:
            estimator = self.estimators[model]
            parts = self._in_threads(estimator, scored)
            scored = scored.append_column(OUTPUTS[model], pa.chunked_array(parts, pa.float64()))
        return scored

    def _in_threads(self, estimator: Estimator, table: pa.Table) -> list[FloatArray]:
        """Return the probabilities of each portion, in order; each is computed by one thread."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(partial(estimator.predict, threads=1), _portions(table)))


def load(settings: Settings, day: date) -> ModelSet:
    """Return the model set that scores `day`: the latest trained on or before it.

    Raises:
        InputMissing: None was.
    """
    as_of = registry.champion(settings, day)
    content = read_manifest(registry.folder(settings, as_of))["content_sha256"]
    estimators = registry.read(settings, as_of)
    stands = registry.folder(settings, as_of)
    ordinary = {name: model_artifacts.ordinary(stands / name) for name in estimators}
    return ModelSet(f"{as_of}:{content[:12]}", estimators, settings.threads, ordinary)


def _portions(table: pa.Table) -> Iterator[pa.Table]:
    return (table.slice(start, ROWS_AT_ONCE) for start in range(0, table.num_rows, ROWS_AT_ONCE))
