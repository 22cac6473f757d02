import pytest
import torch
from torch import nn

from hpa.training.config import LoopConfig
from hpa.training.optimizer import build_optimizer, parameter_groups, set_learning_rate


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.head = nn.Linear(4, 2)
        self.unused = nn.Linear(2, 2).requires_grad_(False)

    def no_weight_decay(self):
        return {"token"}


def groups_by_name(model, **settings):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["weight_decay"], group["lr_scale"])
        for group in parameter_groups(model, **settings)
        for parameter in group["params"]
    }


def test_only_matrices_decay_and_only_what_trains_is_there():
    found = groups_by_name(Net(), weight_decay=0.1, learning_rate_factors={})
    assert found == {
        "backbone.0.weight": (0.1, 1.0),
        "backbone.0.bias": (0.0, 1.0),
        "backbone.1.weight": (0.0, 1.0),
        "backbone.1.bias": (0.0, 1.0),
        "token": (0.0, 1.0),
        "head.weight": (0.1, 1.0),
        "head.bias": (0.0, 1.0),
    }


def test_the_longest_prefix_gives_the_factor():
    found = groups_by_name(Net(), weight_decay=0.0, learning_rate_factors={"backbone": 0.1, "backbone.1": 0.5})
    assert found["backbone.0.weight"] == (0.0, 0.1)
    assert found["backbone.1.weight"] == (0.0, 0.5)
    assert found["head.weight"] == (0.0, 1.0)


def test_a_prefix_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"'bakbone'; they start with \['backbone', 'head', 'token'\]"):
        parameter_groups(Net(), 0.0, {"bakbone": 0.1})


def test_a_frozen_model_is_refused():
    with pytest.raises(ValueError, match="requires_grad=False"):
        parameter_groups(Net().requires_grad_(False), 0.0, {})


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "adafactor"])
def test_timm_builds_it_and_the_factors_hold(name):
    model = Net()
    optimizer = build_optimizer(model, LoopConfig(optimizer=name, learning_rate_factors={"backbone": 0.1}))
    set_learning_rate(optimizer, 0.2)
    assert sorted({round(group["lr"], 6) for group in optimizer.param_groups}) == [0.02, 0.2]
    before = model.head.weight.detach().clone()
    model.head(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.head.weight)
