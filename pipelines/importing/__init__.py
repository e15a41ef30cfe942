"""Turn a foreign file into feed files under `landing/`, as a mapping says."""

from pipelines.importing.import_file import import_file

__all__ = ["import_file"]
