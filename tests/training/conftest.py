import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn
from torch.utils.data import default_collate

# A program that test_processes.py starts, not a module of tests.
collect_ignore = ["run_on_processes.py"]


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Accelerate keeps the device and precision of the process; each test starts without, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


class ToyTask:
    """Regression of a hidden linear map, with noise drawn per (epoch, index) and mixup drawn per batch."""

    def __init__(self, samples=21, mixing=True):
        self.samples, self.mixing = samples, mixing

    def order(self, epoch):
        return np.random.default_rng([5, epoch]).permutation(self.samples)

    def sample(self, index, epoch):
        pixels = np.random.default_rng(index).normal(size=6).astype(np.float32)
        noise = np.random.default_rng([epoch, index]).normal(size=6).astype(np.float32)
        return {"inputs": pixels + 0.1 * noise, "targets": np.float32([pixels.sum() > 0])}

    def collate(self, samples):
        return default_collate(samples)

    def loss(self, model, batch, step):
        inputs, targets = batch["inputs"], batch["targets"]
        if self.mixing:
            share = torch.rand((), generator=step.generator)
            partner = torch.randperm(len(inputs), generator=step.generator)
            inputs = share * inputs + (1 - share) * inputs[partner]
            targets = share * targets + (1 - share) * targets[partner]
        return nn.functional.binary_cross_entropy_with_logits(model(inputs), targets)

    def validate(self, model, accelerator):
        with torch.no_grad():
            batch = self.collate([self.sample(index, 0) for index in range(100, 132)])
            loss = nn.functional.binary_cross_entropy_with_logits(model(batch["inputs"]), batch["targets"])
        return {"loss": float(loss)}


@pytest.fixture
def toy_task():
    return ToyTask


@pytest.fixture
def toy_model():
    """A model with every kind of state: weights, biases, BatchNorm's statistics, dropout."""

    def build(width=8, dropout=0.3, norm=True):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, width),
            nn.BatchNorm1d(width) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, 1),
        )

    return build
