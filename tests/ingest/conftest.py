from pathlib import Path

import pytest

from pipelines.core.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "var", threads=1, memory_limit="1GB")
