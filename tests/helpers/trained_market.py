"""A simulated market and the model set trained on it, shared by tests that only read them.

And models of other rows: a model that several tests need is fitted once. A function imports the
libraries: every process reads this file, also the one that only distributes the tests.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING

import pytest

from pipelines.core.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from models.champion.registry import ModelVersion
    from models.model_set import ModelSet
    from models.params import Features

DAY = date(2026, 11, 20)  # a Friday
AS_OF = date(2026, 11, 16)  # the Monday before


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the marts of `DAY` and the model set of `AS_OF`."""
    from models.train_models import train  # noqa: PLC0415
    from tests.helpers.marts import write_marts  # noqa: PLC0415

    settings = write_marts(tmp_path_factory.mktemp("market"), DAY)
    train(settings, DAY)
    return settings


@pytest.fixture(scope="session")
def model_set(market: Settings) -> ModelSet:
    from models.model_set import load  # noqa: PLC0415

    return load(market, DAY)


@pytest.fixture(scope="session")
def pairs(market: Settings) -> pa.Table:
    import pyarrow.parquet as pq  # noqa: PLC0415

    return pq.read_table(market.day_folder(market.marts, DAY) / "training_pairs.parquet")


FITTED: dict[tuple[str, str, str], ModelVersion] = {}


def fit_once(model: str, rows: pa.Table, features: Features) -> ModelVersion:
    """Return `model` as `fit_or_use_prior` fits it; equal rows and features are fitted once."""
    import pyarrow as pa  # noqa: PLC0415

    from models.train_models import fit_or_use_prior  # noqa: PLC0415

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    key = model, repr(features), hashlib.sha256(sink.getvalue()).hexdigest()
    if key not in FITTED:
        FITTED[key] = fit_or_use_prior(model, rows, features)
    return FITTED[key]
