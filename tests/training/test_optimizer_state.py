import json

import pytest
import torch
from torch import nn

from hpa.training.checkpoints import CheckpointError
from hpa.training.config import LoopConfig
from hpa.training.optimizer import build_optimizer
from hpa.training.optimizer_state import fill_optimizer, flatten_optimizer


def build(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 1))
    model.to(memory_format=torch.channels_last)
    return model, build_optimizer(model, LoopConfig(optimizer=name))


def step(model, optimizer, seed):
    inputs = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    model(inputs).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


# lamb keeps a tensor in its groups, adafactor tensors of other shapes than the parameters', sgd a None.
@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "adafactor", "muon"])
def test_an_optimizer_goes_on_with_the_same_bits(name):
    model, optimizer = build(name)
    for seed in range(3):
        step(model, optimizer, seed)
    resumed, resumed_optimizer = build(name)
    resumed.load_state_dict(model.state_dict())
    tensors, plain = flatten_optimizer(optimizer)
    tensors = {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    fill_optimizer(resumed_optimizer, tensors, json.loads(json.dumps(plain)))
    for seed in range(3, 9):
        step(model, optimizer, seed)
        step(resumed, resumed_optimizer, seed)
    for one, other in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_state_over_other_parameters_is_refused():
    tensors, plain = flatten_optimizer(torch.optim.AdamW(nn.Linear(2, 2).parameters()))
    with pytest.raises(CheckpointError, match="another model or optimiser"):
        fill_optimizer(torch.optim.AdamW([nn.Parameter(torch.zeros(1))]), tensors, plain)


@pytest.mark.parametrize("plain", [None, [], {"eval": "1"}, {"dict": [["state", {"tensor": "none"}]]}, {"dict": 3}])
def test_a_damaged_state_is_refused(plain):
    with pytest.raises(CheckpointError, match="optimiser state"):
        fill_optimizer(torch.optim.AdamW(nn.Linear(2, 2).parameters()), {}, plain)


def test_an_optimizer_that_keeps_objects_is_refused():
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    optimizer.param_groups[0]["hook"] = object()
    with pytest.raises(ValueError, match="hook is a object, which no checkpoint can hold"):
        flatten_optimizer(optimizer)
