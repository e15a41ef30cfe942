"""Why a lead got these offers or none, and why a product's quota was not filled; made on demand."""

from pipelines.explain.explain import explain

__all__ = ["explain"]
