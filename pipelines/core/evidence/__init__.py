"""Evidence that outlives a day: what was published, and what officers decided on the days."""

from typing import Literal, get_args

Decision = Literal["fit", "remarks", "not_fit"]
"""What an officer decides on a day."""

DECISIONS: tuple[Decision, ...] = get_args(Decision)
