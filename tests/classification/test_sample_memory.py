import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.classification.sample_memory import LARGEST, SampleMemory, taken
from hpa.training import make_accelerator

ALONE = make_accelerator("no")


class OneOfTwo(Accelerator):
    """What a process of two sees of an accelerator; sums are given."""

    num_processes = 2
    device = torch.device("cpu")

    def __init__(self, total):
        self.total = total

    def reduce(self, tensor, reduction="mean", scale=1.0):
        assert reduction == "sum"
        return self.total.clone()


def readings(seed, count=60, samples=9, width=3):
    rng = np.random.default_rng(seed)
    index = torch.from_numpy(rng.integers(0, samples - 1, count))  # the last one is never read
    values = torch.from_numpy(rng.normal(size=(count, width)).astype(np.float32) * 10.0 ** rng.integers(-3, 4))
    return index, values


def test_means_and_counts_are_those_of_numpy():
    index, values = readings(0)
    memory = SampleMemory(9, 3)
    for part in (slice(0, 7), slice(7, 20), slice(20, 60)):
        memory.add(index[part], values[part])
    sums, counts = memory.sums()
    assert counts.tolist() == np.bincount(index, minlength=9).tolist()
    for sample in range(8):
        mean = values[index == sample].double().mean(dim=0).numpy()
        np.testing.assert_allclose(sums[sample] / counts[sample], mean, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(memory.means[sample].numpy(), mean, rtol=1e-5, atol=1e-8)
    assert counts[8] == 0
    assert memory.means[8].tolist() == [0, 0, 0]


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), places=st.lists(st.integers(0, 60), max_size=4))
def test_order_and_checkpoints_change_no_bit(seed, places):
    index, values = readings(seed)
    whole = SampleMemory(9, 3)
    whole.add(index, values)
    shuffled = torch.from_numpy(np.random.default_rng(seed + 1).permutation(60))
    index, values = index[shuffled], values[shuffled]
    broken = SampleMemory(9, 3)
    start = 0
    for end in [*sorted(places), 60]:
        broken.add(index[start:end], values[start:end])
        state = broken.exchange(ALONE)
        broken = SampleMemory(9, 3)
        broken.restore(state)
        start = end
    assert torch.equal(whole.exchange(ALONE), broken.exchange(ALONE))
    assert torch.equal(whole.means, broken.means)


def test_processes_exchange_what_each_read_once():
    index, values = readings(3)
    alone, *pair = SampleMemory(9, 3), SampleMemory(9, 3), SampleMemory(9, 3)
    alone.add(index, values)
    for turn in range(2):  # the second exchange must not count the first's readings again
        half = slice(turn * 30, turn * 30 + 30)
        for rank, memory in enumerate(pair):
            memory.add(index[half][rank::2], values[half][rank::2])
        total = pair[0]._own + pair[1]._own
        states = [memory.exchange(OneOfTwo(total)) for memory in pair]
        assert torch.equal(*states)
    assert torch.equal(states[0], alone.exchange(ALONE))


def test_the_state_is_a_copy():
    memory = SampleMemory(2, 1)
    state = memory.exchange(ALONE)
    memory.add(torch.tensor([1]), torch.tensor([[2.0]]))
    assert not state.any()


def test_values_without_a_number_do_not_reach_the_others():
    memory = SampleMemory(3, 2)
    memory.add(torch.tensor([0, 1, 2]), torch.tensor([[np.nan, 1.0], [np.inf, -np.inf], [0.5, 0.25]]))
    assert memory.means.tolist() == [[0, 1], [LARGEST, -LARGEST], [0.5, 0.25]]
    memory.forget()
    assert not memory.counts.any()


def test_a_memory_of_other_samples_is_refused():
    with pytest.raises(ValueError, match="other images or settings"):
        SampleMemory(3, 2).restore(torch.zeros(4, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="other images or settings"):
        SampleMemory(3, 2).restore(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="no memory 'margins'"):
        taken({}, "margins")
