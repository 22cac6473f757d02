import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.classification.bag_dataset import BagDataset


class Cells:
    """A cell's pixels say its number, and how often the epoch and the repetition changed it."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def sample(self, index, epoch=0):
        repetition, cell = divmod(index, self.count)
        values = np.array([cell, repetition, epoch], np.uint8)
        return {"images": np.broadcast_to(values[:, None, None], (3, 2, 2)).copy()}


BAGS = [np.arange(0, 2), np.arange(2, 22), np.array([22, 24, 23])]
TARGETS = np.eye(3, dtype=np.float32)


def dataset(seed=None, places=3, **settings):
    return BagDataset(Cells(25), BAGS, TARGETS, places, seed=seed, **settings)


def cells_of(sample):
    return sample["images"][sample["present"], 0, 0, 0].tolist()


def test_a_bag_holds_its_images_cells_and_zeros():
    sample = dataset(seed=1).sample(0)
    assert sample["images"].shape == (3, 3, 2, 2)
    assert sample["images"].dtype == np.uint8
    assert cells_of(sample) == [0, 1]
    assert sample["present"].tolist() == [True, True, False]
    assert (sample["images"][2] == 0).all()
    np.testing.assert_array_equal(sample["targets"], TARGETS[0])
    assert (sample["weights"], sample["index"]) == (1, 0)
    assert sample["weights"].dtype == np.float32
    assert sorted(cells_of(dataset(seed=1).sample(2))) == [22, 23, 24]


def test_weights_are_those_of_the_images():
    assert dataset(weights=np.array([1, 0.5, 2], np.float32)).sample(1)["weights"] == 0.5


def test_a_large_image_gives_other_cells_in_every_epoch_and_repetition():
    data, again = dataset(seed=7), pickle.loads(pickle.dumps(dataset(seed=7)))
    seen = {}
    for epoch in range(4):
        for repetition in range(3):
            index = 1 + repetition * len(data)
            sample = data.sample(index, epoch)
            assert sample["index"] == 1
            chosen = cells_of(sample)
            assert len(set(chosen)) == 3
            assert set(chosen) <= set(range(2, 22))
            assert (sample["images"][:, 1] == repetition).all()  # augmented as a repetition of the cell
            assert (sample["images"][:, 2] == epoch).all()
            np.testing.assert_array_equal(again.sample(index, epoch)["images"], sample["images"])
            seen[epoch, repetition] = tuple(chosen)
    assert len(set(seen.values())) > 9
    assert any(cells_of(dataset(seed=8).sample(1, epoch)) != list(seen[epoch, 0]) for epoch in range(4))


def test_every_cell_comes_up_alike():
    data = dataset(seed=0)
    drawn = np.concatenate([data.chosen(1, epoch) for epoch in range(2000)])
    counts = np.bincount(drawn, minlength=25)[2:22]
    assert counts.sum() == 6000
    assert abs(counts - 300).max() < 5 * np.sqrt(300)


@given(count=st.integers(1, 40), places=st.integers(1, 16))
@settings(max_examples=60, deadline=None)
def test_validation_takes_cells_evenly_and_always_the_same(count, places):
    data = BagDataset(Cells(count), [np.arange(count)], np.ones((1, 2), np.float32), places)
    chosen = data.chosen(0, epoch=3)
    np.testing.assert_array_equal(chosen, data.chosen(0, epoch=5))
    assert len(chosen) == min(count, places)
    gaps = np.diff(chosen)
    assert (gaps >= 1).all()
    if len(gaps):
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(
    ("bags", "settings", "problem"),
    [
        (BAGS[:2], {}, "targets for 2 bags, but got 3"),
        (BAGS, {"weights": np.ones(2, np.float32)}, "weights for 3 bags, but got 2"),
        ([*BAGS[:2], np.arange(0)], {}, "bag 2 has none; leave such images out"),
        ([*BAGS[:2], np.array([25])], {}, "cells from 0 to 24, but got 0 to 25"),
        ([*BAGS[:2], np.array([-1])], {}, "but got -1 to 21"),
        (BAGS, {"places": 0}, "at least one cell in a bag, but got 0"),
    ],
)
def test_what_does_not_fit_together_is_an_error(bags, settings, problem):
    arguments = {"places": 3} | settings
    with pytest.raises(ValueError, match=problem):
        BagDataset(Cells(25), bags, TARGETS, **arguments)
