"""An allowance for simple simulated markets, in which a few columns predict almost perfectly."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import pytest

from expectations import policy
from expectations.policy_types import AllowedLeak


@contextmanager
def allow_leaks(columns: Sequence[str], since: date, until: date) -> Iterator[None]:
    """Allow `columns` to fail the tests of predictive power within the block."""
    entries = tuple(
        AllowedLeak(
            column=column,
            tests=frozenset(
                {"univariate_auc", "incremental_gain", "quasi_separation", "auc_decay"}
            ),
            by="this test",
            why="the simulated market has few columns, so that each predicts strongly",
            decided_on=since,
            until=until,
        )
        for column in columns
    )
    with pytest.MonkeyPatch.context() as patch:
        changed = policy.leaks().model_copy(update={"allowed": entries})
        patch.setattr(policy, "leaks", lambda: changed)
        yield
