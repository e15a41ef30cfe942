"""Whether a policy may take the place of another one, by what the log says of both."""

from dataclasses import dataclass
from typing import Literal

from expectations.policy_types import Exploration
from pipelines.evaluation.off_policy.estimate import Estimate, Log, Shares, doubly_robust


@dataclass(frozen=True)
class Verdict:
    """What was decided, and on what ground."""

    decision: Literal["promoted", "refused", "abstained"]
    """`abstained`: too little of what it would do otherwise was ever tried out."""
    reason: str
    challenger: Estimate
    champion: Estimate
    gain: Estimate
    """Of the challenger over the champion."""

    @property
    def is_promoted(self) -> bool:
        """Return whether the challenger may serve."""
        return self.decision == "promoted"


def judge(
    log: Log,
    challenger: Shares,
    champion: Shares,
    policy: Exploration,
    *,
    of_models: bool = False,
) -> Verdict:
    """Return whether `challenger` may replace `champion`.

    It may where even the low end of its gain loses no more than the policy bears, and enough of
    what it would do differently was tried out to tell. Where the expectations of the log are those
    of the champion's own models, and models are judged, nothing is said without support.

    Args:
        log: What was shown, and what came of it.
        challenger: The pairs that the new policy would have made.
        champion: The pairs that the present one makes.
        policy: How much may be lost, and how much support is asked for.
        of_models: Whether they differ by their models, and not by how they weigh what models say.
    """
    ours, theirs = doubly_robust(log, champion), doubly_robust(log, challenger)
    gain = doubly_robust(log, challenger, instead_of=champion)
    bears = policy.most_lost * ours.worth
    figures = f"{gain.worth:+,.0f} ({gain.low:+,.0f} to {gain.high:+,.0f}) on {ours.worth:,.0f}"
    decision: Literal["promoted", "refused", "abstained"] = "refused"
    name = "least_support_of_models" if of_models else "least_support"
    least = float(getattr(policy, name))
    if gain.high < 0 and not (of_models and gain.support < least):
        reason = f"it would lose; its gain is {figures}"
    elif gain.support < least:
        decision = "abstained"
        reason = (
            f"only {gain.support:.0%} of what it would do differently was ever tried out, and "
            f"`{name}` in exploration.yml is {least:.0%}; its gain by the present models is "
            f"{figures}"
        )
    elif gain.low < -bears:
        reason = (
            f"it may lose more than the {policy.most_lost:.1%} that `most_lost` in "
            f"exploration.yml bears; its gain is {figures}"
        )
    else:
        decision, reason = "promoted", f"its gain is {figures}"
    return Verdict(decision, reason, theirs, ours, gain)
