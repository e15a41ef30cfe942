"""The pairs that exchanges compare are the ones of plain sorting."""

import numpy as np
import pytest

from pipelines.allocation.exchanges import take_first_by_code


@pytest.mark.parametrize("pairs", [0, 1, 7, 300, 20_000])
@pytest.mark.parametrize("width", [1, 24])
def test_the_first_pairs_of_each_code_are_the_ones_of_plain_sorting(pairs, width):
    rng = np.random.default_rng(pairs + width)
    code = rng.integers(0, max(1, pairs // 50), pairs)
    rank = np.where(rng.random(pairs) < 0.5, rng.normal(size=pairs), rng.integers(-2, 3, pairs))
    rank[rng.random(pairs) < 0.1] = np.inf
    rank[rng.random(pairs) < 0.05] = -np.inf
    key = rng.integers(0, 4, pairs)
    expected = []
    for one in range(code.max(initial=-1) + 1):
        rows = np.flatnonzero(code == one)
        expected += sorted(rows.tolist(), key=lambda row: (rank[row], key[row], row))[:width]
    assert take_first_by_code(code, rank, key, width).tolist() == expected
