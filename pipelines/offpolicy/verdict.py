"""Whether a policy may take the place of another one, by what the log says of both."""

from dataclasses import dataclass

from expectations.policy_types import Exploration
from pipelines.offpolicy.estimate import Estimate, Log, Truths, doubly_robust


@dataclass(frozen=True)
class Verdict:
    """What was decided, and on what ground."""

    is_promoted: bool
    reason: str
    challenger: Estimate
    champion: Estimate
    gain: Estimate
    """Of the challenger over the champion."""


def judge(log: Log, challenger: Truths, champion: Truths, policy: Exploration) -> Verdict:
    """Return whether `challenger` may replace `champion`.

    It may where even the low end of its gain loses no more than the policy bears, and enough of
    what it would do differently was tried out to tell.

    Args:
        log: What was shown, and what came of it.
        challenger: The pairs that the new policy would have made.
        champion: The pairs that the present one makes.
        policy: How much may be lost, and how much support is asked for.
    """
    ours, theirs = doubly_robust(log, champion), doubly_robust(log, challenger)
    gain = doubly_robust(log, challenger, instead_of=champion)
    bears = policy.most_lost * ours.worth
    figures = f"{gain.worth:+,.0f} ({gain.low:+,.0f} to {gain.high:+,.0f}) on {ours.worth:,.0f}"
    is_promoted = gain.low >= -bears and gain.support >= policy.least_support
    if is_promoted:
        reason = f"promoted: its gain is {figures}"
    elif gain.high < 0:
        reason = f"refused: it would lose; its gain is {figures}"
    elif gain.support < policy.least_support:
        reason = (
            f"refused: only {gain.support:.0%} of what it would do differently was ever tried "
            f"out, and `least_support` in exploration.yml is {policy.least_support:.0%}; its gain "
            f"by the model is {figures}"
        )
    else:
        reason = (
            f"refused: it may lose more than the {policy.most_lost:.1%} that `most_lost` in "
            f"exploration.yml bears; its gain is {figures}"
        )
    return Verdict(is_promoted, reason, theirs, ours, gain)
