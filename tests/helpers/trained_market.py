"""A simulated market and the model set trained on it, shared by tests that only read them.

And models of other rows: a model that several tests need is fitted once.
"""

import hashlib
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.champion.registry import ModelVersion
from models.model_set import ModelSet, load
from models.params import Features
from models.train_models import fit_or_use_prior, train
from pipelines.core.settings import Settings
from tests.helpers.marts import write_marts

DAY = date(2026, 11, 20)  # a Friday
AS_OF = date(2026, 11, 16)  # the Monday before


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the marts of `DAY` and the model set of `AS_OF`."""
    settings = write_marts(tmp_path_factory.mktemp("market"), DAY)
    train(settings, DAY)
    return settings


@pytest.fixture(scope="session")
def model_set(market: Settings) -> ModelSet:
    return load(market, DAY)


@pytest.fixture(scope="session")
def pairs(market: Settings) -> pa.Table:
    return pq.read_table(market.day_folder(market.marts, DAY) / "training_pairs.parquet")


FITTED: dict[tuple[str, str, str], ModelVersion] = {}


def fit_once(model: str, rows: pa.Table, features: Features) -> ModelVersion:
    """Return `model` as `fit_or_use_prior` fits it; equal rows and features are fitted once."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    key = model, repr(features), hashlib.sha256(sink.getvalue()).hexdigest()
    if key not in FITTED:
        FITTED[key] = fit_or_use_prior(model, rows, features)
    return FITTED[key]
