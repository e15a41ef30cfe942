"""Validation rows are later than the knowledge of the training rows, or random."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from models.params import params
from models.validation import splits


def make_examples(rows: int, *, waits: int) -> pa.Table:
    days = [date(2026, 1, 1) + timedelta(days=row // 10) for row in range(rows)]
    known = [day + timedelta(days=waits) for day in days]
    return pa.table({"business_date": days, "label_known_on": known})


@pytest.mark.parametrize("waits", [0, 1, 40])
def test_labels_of_training_rows_were_known_before_the_validation_rows(waits):
    table = make_examples(1000, waits=waits)
    known, day = table["label_known_on"].to_numpy(), table["business_date"].to_numpy()
    found = splits.split_by_time(table)
    assert len(found) == len(params().time_split_cuts)
    for split in found:
        assert split.train.any()
        assert split.validate.any()
        assert known[split.train].max() < day[split.validate].min()


def test_validation_windows_are_consecutive_up_to_the_last_row():
    checked = np.sum(
        [split.validate for split in splits.split_by_time(make_examples(1000, waits=1))], axis=0
    )
    assert checked.tolist() == [0] * 600 + [1] * 400


def test_empty_table_gives_empty_splits():
    assert [split.train.sum() for split in splits.split_by_time(make_examples(0, waits=1))] == [0]


def test_random_folds_validate_each_row_once():
    found = splits.split_at_random(1003, 5)
    assert np.sum([split.validate for split in found], axis=0).tolist() == [1] * 1003
    assert {int(split.validate.sum()) for split in found} <= {200, 201}
    assert not any((split.train & split.validate).any() for split in found)


def test_weight_halves_with_each_half_life():
    half_life = timedelta(days=params().half_life_days)
    days = [date(2026, 11, 1) - half_life * age for age in (2, 0, 1)]
    assert splits.recency_weights(pa.table({"business_date": days})) == pytest.approx(
        [0.25, 1, 0.5]
    )
    none = pa.table({"business_date": pa.array([], pa.date32())})
    assert len(splits.recency_weights(none)) == 0
