"""Worlds made plain: in them a few columns say nearly all, which the leak check would refuse."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import pytest

from expectations import policy
from expectations.policy_types import AllowedLeak


@contextmanager
def allowed(columns: Sequence[str], since: date, until: date) -> Iterator[None]:
    """Let `columns` say as much as they like within the block."""
    entries = tuple(
        AllowedLeak(
            column=column,
            tests=frozenset({"alone", "gain", "part", "fading"}),
            by="this test",
            why="who wins is asked here, and the world is made plain for it",
            decided_on=since,
            until=until,
        )
        for column in columns
    )
    with pytest.MonkeyPatch.context() as patch:
        changed = policy.leaks().model_copy(update={"allowed": entries})
        patch.setattr(policy, "leaks", lambda: changed)
        yield
