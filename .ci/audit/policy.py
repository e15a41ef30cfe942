"""The accepted findings of the audit: each with its reason and the date on which it ends."""

from datetime import UTC, date, datetime
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

FILE = Path(__file__).with_name("policy.yml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accepted(_Strict):
    """A finding that is accepted until a date."""

    reason: str = Field(min_length=20)
    until: date

    @property
    def has_ended(self) -> bool:
        """Whether the finding counts again."""
        return datetime.now(UTC).date() > self.until


class AcceptedAdvisory(Accepted):
    """A known vulnerability of a package that does not concern Banyan."""

    id: str
    package: str


class AcceptedLicence(Accepted):
    """A package whose licence is not on the list of allowed ones."""

    licence: str


class AcceptedSecret(Accepted):
    """A text of the project that looks like a secret and is none."""

    file: str
    kind: str
    sha1: str


class StatedLicence(_Strict):
    """The licence of a package whose metadata does not state one licence, with its evidence."""

    licence: str
    evidence: str = Field(min_length=10)


class Policy(_Strict):
    """What the audit allows and accepts."""

    allowed_licences: frozenset[str]
    stated_licences: dict[str, StatedLicence]
    accepted_licences: dict[str, AcceptedLicence]
    accepted_advisories: list[AcceptedAdvisory]
    accepted_secrets: list[AcceptedSecret]


def load_policy(path: Path = FILE) -> Policy:
    """Return the audit's policy."""
    return Policy.model_validate(yaml.safe_load(path.read_text("utf-8")))
