"""A model is checked on rows that it could not have known, by time or by lot."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from models.params import params
from models.validation import splits


def examples(rows: int, *, waits: int) -> pa.Table:
    days = [date(2026, 1, 1) + timedelta(days=row // 10) for row in range(rows)]
    known = [day + timedelta(days=waits) for day in days]
    return pa.table({"business_date": days, "label_known_on": known})


@pytest.mark.parametrize("waits", [0, 1, 40])
def test_nothing_is_fitted_on_that_was_not_known_when_the_checked_rows_came(waits):
    table = examples(1000, waits=waits)
    known, day = table["label_known_on"].to_numpy(), table["business_date"].to_numpy()
    found = splits.in_time(table)
    assert len(found) == len(params().cuts)
    for split in found:
        assert split.fit.any()
        assert split.check.any()
        assert known[split.fit].max() < day[split.check].min()


def test_stretches_follow_each_other_to_the_last_row():
    checked = np.sum([split.check for split in splits.in_time(examples(1000, waits=1))], axis=0)
    assert checked.tolist() == [0] * 600 + [1] * 400


def test_no_rows_make_splits_without_rows():
    assert [split.fit.sum() for split in splits.in_time(examples(0, waits=1))] == [0]


def test_by_lot_each_row_is_checked_once_and_parts_are_alike():
    found = splits.at_random(1003, 5)
    assert np.sum([split.check for split in found], axis=0).tolist() == [1] * 1003
    assert {int(split.check.sum()) for split in found} <= {200, 201}
    assert not any((split.fit & split.check).any() for split in found)


def test_a_row_counts_half_as_much_for_each_half_life_of_its_age():
    half_life = timedelta(days=params().half_life_days)
    days = [date(2026, 11, 1) - half_life * age for age in (2, 0, 1)]
    assert splits.remembered(pa.table({"business_date": days})) == pytest.approx([0.25, 1, 0.5])
    none = pa.table({"business_date": pa.array([], pa.date32())})
    assert len(splits.remembered(none)) == 0
