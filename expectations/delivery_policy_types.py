"""The schemas of the policies on what happens after a delivery, up to the end of retention."""

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


class PersonRights(Decision):
    """Until when a person's request is answered."""

    review_days: int = Field(ge=1)
    """Days within which a human has looked at a decision that a person disputes."""
    erasure_days: int = Field(ge=1)
    """Days within which an order to erase a person is carried out."""


class RetentionPeriod(StrictModel):
    """How long one kind of data is kept under one jurisdiction."""

    jurisdiction: str = Field(pattern=r"^([A-Z]{2}|default)$")
    days: int = Field(ge=1)
    source: str = Field(min_length=1)
    to_be_read_by_a_lawyer: bool = True


class RetentionKind(StrictModel):
    """One kind of data: where it is, and how long it is kept."""

    kind: str = Field(pattern=r"^[a-z_]+$")
    what: str = Field(min_length=1)
    places: tuple[str, ...] = Field(min_length=1)
    """Patterns of paths below the home."""
    unit: Literal["lead", "file"] = "lead"
    """`lead`: what names a lead goes, so many days after the date of the lead. `file`: a file goes,
    so many days after it was written last."""
    periods: tuple[RetentionPeriod, ...]

    @model_validator(mode="after")
    def _has_default(self) -> "RetentionKind":
        names = [period.jurisdiction for period in self.periods]
        if "default" not in names or len(set(names)) < len(names):
            raise ValueError(f"retention.yml: {self.kind} needs one period of `default`, each once")
        return self

    def period(self, jurisdiction: str) -> RetentionPeriod:
        """Return the period under a jurisdiction."""
        by_name = {period.jurisdiction: period for period in self.periods}
        return by_name.get(jurisdiction, by_name["default"])


class Retention(Decision):
    """How long data is kept."""

    grace_days: int = Field(ge=0)
    """What is due for more days is overdue."""
    notice_days: int = Field(ge=1)
    """What is due within so many days is named in the day's report."""
    jurisdictions: dict[str, str]
    """Currency of a lead -> jurisdiction; of any other currency it is `default`."""
    kept: dict[str, str]
    """What no period ends, and why."""
    kinds: tuple[RetentionKind, ...]

    @model_validator(mode="after")
    def _last_is_the_lead(self) -> "Retention":
        """Check that nothing of a lead is kept longer than the row by which the person is found."""
        *others, last = [kind for kind in self.kinds if kind.unit == "lead"]
        for jurisdiction in {*self.jurisdictions.values(), "default"}:
            longest = last.period(jurisdiction).days
            if late := [kind.kind for kind in others if kind.period(jurisdiction).days > longest]:
                raise ValueError(
                    f"retention.yml: {late[0]} is kept longer than {last.kind} ({jurisdiction}), "
                    "by which its person is found"
                )
        return self
