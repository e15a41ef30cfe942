"""The pydantic base and the error of files that people write: contracts, policies, parameters.

What reads them loads Arrow or dbt; this module loads neither, so that the command line's help and
Airflow's parser can name the error.
"""

from pydantic import BaseModel, ConfigDict


class ContractError(ValueError):
    """A contract is invalid; the message has its file, and the column of each mistake."""


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys, so that a misspelt one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
