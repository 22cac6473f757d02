import numpy as np
import pytest
import torch

from hpa.stages.comparison.watched_task import WatchedTask
from hpa.training import StatefulTask, Step, make_accelerator


class Made:
    """A task that notes what it is asked."""

    def __init__(self):
        self.taken = None

    def order(self, epoch):
        return np.arange(4) + epoch

    def sample(self, index, epoch):
        return {"index": index, "epoch": epoch}

    def collate(self, samples):
        return {"samples": samples}

    def loss(self, model, batch, step):
        return torch.tensor(float(batch["x"]))

    def validate(self, model, accelerator):
        return {"macro_ap": 0.5}

    def state(self, accelerator):
        return {"memory": torch.ones(1)}

    def load_state(self, state):
        self.taken = state


def test_it_is_a_task_like_the_one_inside():
    inner = Made()
    task = WatchedTask(inner)
    assert isinstance(task, StatefulTask)
    assert task.sample(3, 1) == {"index": 3, "epoch": 1}
    assert task.collate([1]) == {"samples": [1]}
    assert task.order(2).tolist() == [2, 3, 4, 5]
    assert task.loss(torch.nn.Identity(), {"x": 2}, Step(0, 0, 1, 1, torch.Generator())).item() == 2
    assert task.state(make_accelerator())["memory"].tolist() == [1]
    task.load_state({"memory": torch.zeros(1)})
    assert inner.taken["memory"].tolist() == [0]


def test_the_epoch_is_known_in_a_training_that_goes_on():
    seen = []
    task = WatchedTask(Made(), lambda epoch, metrics: seen.append((epoch, metrics["macro_ap"])))
    task.order(4)
    task.validate(torch.nn.Identity(), make_accelerator())
    assert seen == [(5, 0.5)]


def test_who_watches_may_end_the_training():
    def stop(epoch, metrics):
        raise KeyError(epoch)

    task = WatchedTask(Made(), stop)
    task.order(0)
    with pytest.raises(KeyError):
        task.validate(torch.nn.Identity(), make_accelerator())


def test_another_order():
    assert WatchedTask(Made(), order=lambda epoch: np.arange(2)).order(7).tolist() == [0, 1]
