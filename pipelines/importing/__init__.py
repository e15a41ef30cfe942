"""Turn a foreign file into feed files under `landing/`, as a mapping says."""

from pipelines.importing.run import import_file

__all__ = ["import_file"]
