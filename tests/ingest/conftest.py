from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.core.settings import Settings


@pytest.fixture(scope="module")
def remembered() -> Iterator[None]:
    """Look up the verdict of Great Expectations on a table that it has checked before."""
    from tests.helpers.remembered_gate import remembered_gate  # noqa: PLC0415

    with remembered_gate():
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "var", threads=1, memory_limit="1GB")
