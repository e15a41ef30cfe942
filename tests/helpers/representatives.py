"""A long list of cases, of which `make test` runs some and `make prove` the others as well."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest


def keep(kept: Collection[int], cases: Iterable[Any]) -> list[Any]:
    """Return the cases for `parametrize`; only the ones at the places `kept` are in `make test`.

    The others take the same way through the code with other values, and cost seconds each.
    """
    listed = list(cases)
    assert max(kept) < len(listed)
    return [
        case if place in kept else pytest.param(*_values(case), marks=pytest.mark.prove)
        for place, case in enumerate(listed)
    ]


def _values(case: Any) -> Sequence[Any]:
    """Return the values of a case: a tuple has one for each argument of the test."""
    return case if isinstance(case, tuple) else (case,)
