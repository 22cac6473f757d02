import pytest
import torch
from torch import nn

from hpa.explain.unchanged import unchanged


def _network():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Sequential(nn.Dropout()))
    model[1].eval()
    model[2].grad_checkpointing = True
    return model


@pytest.mark.parametrize("fails", [False, True])
def test_every_module_gets_its_own_mode_back(fails):
    model = _network()
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    try:
        with unchanged(model):
            assert not any(module.training for module in model.modules())
            assert not model[2].grad_checkpointing
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert [module.training for module in model.modules()] == modes
    assert model[2].grad_checkpointing


def test_gradients_are_there_whatever_the_caller_set():
    model = _network()
    for outside in (torch.no_grad, torch.inference_mode):
        with outside(), unchanged(model):
            assert model(torch.zeros(1, 1, 2, 2)).requires_grad
    assert torch.is_grad_enabled()
