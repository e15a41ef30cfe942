"""Ask the models: three probabilities for each pair, and the reasons of the chosen ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from expectations import policy
from models import registry
from models.estimators import Estimator
from models.features import Matrix
from models.params import params
from pipelines.publish import read_manifest
from pipelines.settings import Settings

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

    def reasons(self, pairs: pa.Table) -> pa.ListArray:
        """Return for each pair the codes of what spoke most for its approval, strongest first.

        Exact contributions of the trees are summed by code (expectations/policy/reasons.yml);
        the strongest positive ones are named, at most `most_reasons`, and at least one.
        """
        parts = [self._reasons(portion) for portion in _portions(pairs)]
        return pa.concat_arrays([pa.array([], pa.list_(pa.string())), *parts])

    def _with(self, table: pa.Table, models: Sequence[str]) -> pa.Table:
        scored = table
        for model in models:
            estimator = self.estimators[model]
            parts = [estimator.predict(part, threads=self.threads) for part in _portions(scored)]
            scored = scored.append_column(OUTPUTS[model], pa.chunked_array(parts, pa.float64()))
        return scored

    def _reasons(self, pairs: pa.Table) -> pa.ListArray:
        approval = self.estimators["approval"]
        codes, sums = _by_code(
            approval.features, approval.contributions(pairs, threads=self.threads)
        )
        order = np.argsort(-sums, axis=1, kind="stable")[:, : params().most_reasons]
        speaks = np.take_along_axis(sums, order, axis=1) > 0
        speaks[:, 0] = True
        offsets = np.concatenate([[0], np.cumsum(speaks.sum(axis=1))])
        chosen = pa.array(np.array(codes)[order[speaks]], pa.string())
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), chosen)


def load(settings: Settings, day: date) -> ModelSet:
    """Return the model set that scores `day`: the latest trained on or before it.

    Raises:
        InputMissing: None was.
    """
    as_of = registry.champion(settings, day)
    content = read_manifest(registry.folder(settings, as_of))["content_sha256"]
    return ModelSet(f"{as_of}:{content[:12]}", registry.read(settings, as_of), settings.threads)


def _portions(table: pa.Table) -> Iterator[pa.Table]:
    return (table.slice(start, ROWS_AT_ONCE) for start in range(0, table.num_rows, ROWS_AT_ONCE))


def _by_code(features: Sequence[str], values: Matrix) -> tuple[list[str], Matrix]:
    """Return the reason codes of `features`, sorted, and the sum of each code's columns."""
    code_of = policy.reason_codes()
    codes = sorted({code_of[name] for name in features})
    sums = np.zeros((len(values), len(codes)))
    for column, name in enumerate(features):
        sums[:, codes.index(code_of[name])] += values[:, column]
    return codes, sums
