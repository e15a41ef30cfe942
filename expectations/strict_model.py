"""The pydantic base of every file that people write: contracts, policies, mappings, parameters."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys, so that a misspelt one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
