"""Import: turn a foreign file into feed files under `landing/`, by a mapping."""

from pipelines.importing.import_file import import_file

__all__ = ["import_file"]
