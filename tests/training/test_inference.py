import numpy as np
import pytest
import torch
from torch import nn

from hpa.training import MachineConfig, infer, make_accelerator

HERE = MachineConfig(loaders=0)


def sample(index, epoch):
    assert epoch == 0
    return {"inputs": np.full(3, index, np.float32)}


def predict(model, batch):
    return {"sum": model(batch["inputs"])[:, 0], "inputs": batch["inputs"], "number": batch["inputs"][:, 0].long()}


@pytest.fixture
def summing():
    model = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Dropout(0.9))
    nn.init.ones_(model[0].weight)
    return model


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("loaders", [0, 1])
def test_rows_come_in_the_order_of_the_indices(summing, batch_size, loaders):
    indices = np.array([5, 2, 9, 2, 0, 7, 1])
    machine = MachineConfig(loaders=loaders)
    found = infer(summing, predict, sample, indices, make_accelerator(), batch_size, machine=machine)
    assert found["sum"].tolist() == (3.0 * indices).tolist()
    assert found["inputs"].shape == (7, 3)
    assert found["inputs"].dtype == np.float32
    assert found["number"].tolist() == indices.tolist()


def test_modes_and_gradients_are_as_before_also_after_an_error(summing):
    summing.train()
    summing[0].eval()

    def failing(model, batch):
        assert not model[1].training
        assert not torch.is_grad_enabled()
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        infer(summing, failing, sample, np.arange(3), make_accelerator(), machine=HERE)
    assert [module.training for module in summing.modules()] == [True, False, True]
    assert torch.is_grad_enabled()


def test_it_runs_in_the_accelerators_precision_and_gives_float32(summing):
    def watching(model, batch):
        output = model(batch["inputs"])
        assert output.dtype == torch.bfloat16
        return {"sum": output}

    found = infer(summing, watching, sample, np.arange(3), make_accelerator("bf16"), machine=HERE)
    assert found["sum"].dtype == np.float32


def test_no_indices_are_refused(summing):
    with pytest.raises(ValueError, match="at least one index"):
        infer(summing, predict, sample, np.zeros(0, np.int64), make_accelerator(), machine=HERE)


def test_an_output_that_is_not_per_sample_is_refused(summing):
    def mean(model, batch):
        return {"mean": model(batch["inputs"]).mean()}

    with pytest.raises(ValueError, match=r"'mean' to have 3 rows.*shape \(\)"):
        infer(summing, mean, sample, np.arange(3), make_accelerator(), machine=HERE)
