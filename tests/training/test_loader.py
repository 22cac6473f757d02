import os

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from hpa.training import MachineConfig, make_accelerator
from hpa.training.loader import BatchLoader


def sample(index, epoch):
    return {"index": index, "epoch": epoch, "process": os.getpid(), "threads": torch.get_num_threads()}


@pytest.mark.parametrize("loaders", [0, 2])
def test_parts_come_in_order_in_every_epoch(loaders):
    loader = BatchLoader(sample, default_collate, make_accelerator(), MachineConfig(loaders=loaders))
    processes = []
    for epoch, length in enumerate((7, 0, 5)):
        parts = [np.arange(start, start + 1 + start % 3) for start in range(length)]
        batches = list(loader.batches(parts, epoch))
        assert [batch["index"].tolist() for batch in batches] == [part.tolist() for part in parts]
        assert all((batch["epoch"] == epoch).all() for batch in batches)
        processes.append({int(process) for batch in batches for process in batch["process"]})
        if loaders:
            assert all((batch["threads"] == 1).all() for batch in batches)
    if loaders:
        assert processes[0] == processes[2]  # the workers live on
        assert len(processes[0]) == loaders
        assert os.getpid() not in processes[0]
    else:
        assert processes[0] == {os.getpid()}


def test_it_leaves_torchs_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    loader = BatchLoader(sample, default_collate, make_accelerator(), MachineConfig(loaders=1))
    list(loader.batches([np.arange(3)], 0))
    assert torch.equal(before, torch.get_rng_state())
