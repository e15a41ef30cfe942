"""A home of its own for a benchmark: empty, and gone afterwards."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.settings import Settings


@contextmanager
def own_home(settings: Settings) -> Iterator[Settings]:
    """Yield `settings` with an empty folder as home."""
    with tempfile.TemporaryDirectory(prefix="banyan-bench-") as folder:
        yield Settings(**(settings.model_dump() | {"home": Path(folder)}))
