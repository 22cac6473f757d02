"""Which samples each optimiser step reads, and who reads them: pure functions, so that a run resumes exactly.

A batch is split into parts, one per process and micro-batch. What a part computes depends on (seed, epoch, step, part)
and never on who computes it: two processes with one micro-batch each do the same as one process with two.
"""

import numpy as np

from hpa.arrays import Integer

Indices = Integer[np.ndarray, " _"]  # any length


def split_epoch(order: Indices, batch_size: int) -> list[Indices]:
    """The global batches of an epoch, each sample of the order in one of them.

    Their sizes differ by one at most and are at most `batch_size`: no small last batch, which would have a noisy
    gradient and could be too small for BatchNorm, and no sample left out.

    Raises:
        ValueError: the order is empty.

    >>> [len(batch) for batch in split_epoch(np.arange(65), 32)]
    [22, 22, 21]
    """
    if len(order) == 0:
        raise ValueError("expected at least one sample to train on, but the task's order is empty")
    return np.array_split(order, -(-len(order) // batch_size))


def split_batch(batch: Indices, processes: int, accumulate: int) -> list[list[Indices]]:
    """A global batch as [process][micro-batch] parts, in order, their sizes differing by one at most.

    Parts of a batch with fewer samples than parts are empty; see `filled`.

    >>> split_batch(np.arange(5), processes=2, accumulate=2)
    [[array([0, 1]), array([2])], [array([3]), array([4])]]
    """
    parts = np.array_split(batch, processes * accumulate)
    return [parts[process * accumulate : (process + 1) * accumulate] for process in range(processes)]


def filled(part: Indices, batch: Indices) -> Indices:
    """The part, or where it is empty the batch's first sample, to be used with weight 0.

    Every process must do a forward and a backward pass per step, for the processes average gradients together.
    """
    return part if len(part) else batch[:1]


def random_seeds(seed: int, epoch: int, step: int, part: int) -> tuple[int, int]:
    """Two independent 63-bit seeds of a part: for torch's own randomness (dropout) and for the batch generator.

    >>> random_seeds(0, 1, 2, 3) == random_seeds(0, 1, 2, 3) != random_seeds(0, 1, 2, 4)
    True
    """
    state = np.random.SeedSequence([seed, epoch, step, part]).generate_state(2, np.uint64)
    return int(state[0] >> np.uint64(1)), int(state[1] >> np.uint64(1))
