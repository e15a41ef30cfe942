"""The schemas of the policies on what happens after a delivery: receipts, notices, returns."""

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from expectations.policy_types import Decision
from expectations.strict_model import StrictModel

NoticeKind = Literal["withdrawal", "erasure", "do_not_contact"]


class Notices(StrictModel):
    """Which orders reach the institutions that received a person, and by when."""

    retention_days: int = Field(ge=1)
    """Deliveries of so many days are searched for the person."""
    kinds: dict[str, NoticeKind]
    """Reason of an order -> kind in the notice; other reasons send none."""
    deadline_business_days: dict[str, int]
    """Currency of the lead, or `default` -> business days from the day of knowing."""
    deadline_source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _has_default(self) -> "Notices":
        if "default" not in self.deadline_business_days:
            raise ValueError("deliveries.yml: deadline_business_days has no `default`")
        return self


class Deliveries(Decision):
    """Answers to what went out."""

    receipt_days: int = Field(ge=0)
    """A delivery without an accepted receipt counts as expired from so many days on."""
    late_receipt_days: int = Field(ge=1)
    """A receipt is still judged so many days after the delivery."""
    notices: Notices


class ReturnCap(StrictModel):
    """Most accepted returns of an institution among its leads of one delivery month."""

    share: float = Field(ge=0, le=1)
    least_returns: int = Field(ge=0)
    """So many are accepted in any case."""


class ChannelReturns(StrictModel):
    """From when a channel's returned leads are a finding: both are reached."""

    least_returns: int = Field(ge=1)
    least_share: float = Field(gt=0, le=1)


class DisputeDecision(StrictModel):
    """What people decided on a dispute."""

    institution_id: str
    match_id: str
    decision: Literal["accepted", "refused"]
    decided_on: date
    source: str = Field(min_length=1)


class Returns(Decision):
    """Returns and disputes of delivered leads."""

    reasons: dict[str, int]
    """Code -> days after the delivery within which the platform must have the return."""
    cap: ReturnCap
    dispute_days: int = Field(ge=0)
    disputes: tuple[DisputeDecision, ...]
    channel_finding: ChannelReturns
