"""What cannot be projected is refused, with the rows named."""

import numpy as np
import pytest

from hpa.anomaly import projection_rows
from hpa.anomaly.projection_rows import check_values, chunks_of, sample_rows


def test_chunks_hold_all_rows_once(monkeypatch):
    monkeypatch.setattr(projection_rows, "CHUNK_BYTES", 3 * 2 * 4)
    values = np.arange(14, dtype=np.float32).reshape(7, 2)
    chunks = list(chunks_of(values))
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(chunks), values)


def test_samples_are_rising_distinct_and_fixed_by_the_seed():
    rows = sample_rows(1000, 100, 3)
    assert len(rows) == 100
    assert (np.diff(rows) > 0).all()
    assert rows.max() > 900  # from everywhere
    np.testing.assert_array_equal(rows, sample_rows(1000, 100, 3))
    assert (rows != sample_rows(1000, 100, 4)).any()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_named(monkeypatch, wrong):
    monkeypatch.setattr(projection_rows, "CHUNK_BYTES", 4 * 2 * 4)
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    values[[6, 9], 1] = wrong
    with pytest.raises(ValueError, match="6"):
        check_values(values)


def test_rows_that_are_all_the_same_show_nothing():
    with pytest.raises(ValueError, match="all 3 rows of the embedding are the same"):
        check_values(np.ones((3, 2), np.float32), to_learn=True)
    check_values(np.ones((3, 2), np.float32))  # to be placed they may be
    check_values(np.ones((1, 2), np.float32), to_learn=True)


def test_empty_and_other_features():
    with pytest.raises(ValueError, match="at least one row"):
        check_values(np.zeros((0, 3), np.float32), to_learn=True)
    with pytest.raises(ValueError, match="expected 4 features"):
        check_values(np.zeros((2, 3), np.float32), features=4)
