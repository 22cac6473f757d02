import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.training.batches import filled, random_seeds, split_batch, split_epoch


@given(st.integers(1, 200), st.integers(1, 50))
def test_every_sample_is_in_one_batch_and_no_batch_is_small(samples, batch_size):
    order = np.random.default_rng(samples).permutation(samples)
    batches = split_epoch(order, batch_size)
    sizes = [len(batch) for batch in batches]
    assert np.array_equal(np.concatenate(batches), order)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == -(-samples // batch_size)


def test_an_empty_order_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        split_epoch(np.zeros(0, np.int64), 4)


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 4))
def test_parts_are_the_same_however_processes_and_micro_batches_share_them(samples, processes, accumulate):
    batch = np.arange(samples)
    shared = [part for own in split_batch(batch, processes, accumulate) for part in own]
    alone = split_batch(batch, 1, processes * accumulate)[0]
    assert all(np.array_equal(one, other) for one, other in zip(shared, alone, strict=True))
    assert np.array_equal(np.concatenate(shared), batch)
    sizes = [len(part) for part in shared]
    assert max(sizes) - min(sizes) <= 1


def test_an_empty_part_reads_a_sample_that_will_not_count():
    batch = np.array([7])
    (first,), (second,) = split_batch(batch, 2, 1)
    assert filled(first, batch).tolist() == [7]
    assert len(second) == 0
    assert filled(second, batch).tolist() == [7]


@given(st.lists(st.tuples(*[st.integers(0, 100)] * 4), min_size=2, max_size=20, unique=True))
def test_seeds_differ_between_places_and_fit_torch(places):
    seeds = [seed for place in places for seed in random_seeds(*place)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
