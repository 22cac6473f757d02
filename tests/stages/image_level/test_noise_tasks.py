"""Trainings that resist wrong labels, as the loop sees them: what they minimise, and what they remember."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from hpa.cache import PixelCache, write_cache
from hpa.classification import ImageDataset
from hpa.classification.early_learning import early_answers, early_learning_penalty
from hpa.classification.margins import class_margins
from hpa.config import load_config
from hpa.labels import ClassList
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.image_task import ImageTask
from hpa.stages.image_level.noise_tasks import HistoryTask, build_network, build_task, loop_settings
from hpa.stages.image_level.training_labels import TrainingLabels
from hpa.training import LoopConfig, MachineConfig, Step, make_accelerator, train
from hpa.training.checkpoints import LAST, load_tensors

COUNT, TRAINING = 20, np.array([1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15])
VALIDATION = np.setdiff1d(np.arange(COUNT), TRAINING)
SMALL = (
    *("model.name=test_resnet", "model.dropout=0", "loop.epochs=3", "loop.batch_size=4", "machine.loaders=0"),
    *("loop.monitor=loss", "loop.mode=min", "model.pretrained.kind=none"),
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 1, 32, 32), np.uint8)
    ids = [f"image{number}" for number in range(COUNT)]
    write_cache(folder, ids, range(COUNT), lambda row: pixels[row], ("green",), 32)
    return Dataset(
        images=pd.DataFrame({"image_id": ids, "fold": np.isin(np.arange(COUNT), TRAINING).astype(int)}),
        targets=np.eye(3, dtype=np.float32)[np.arange(COUNT) % 3],
        classes=ClassList(names=("x", "y", "z")),
        channels=("green",),
        cache=PixelCache.open(folder),
        fingerprints={"index": ""},
        folder=folder,
    )


def single(data):
    return dataclasses.replace(data, classes=ClassList(names=("x", "y", "z"), multi_label=False))


def settings(*more):
    return load_config(TrainImageLevelConfig, overrides=[*SMALL, *more])


def batch_of(task, indices=(0, 1, 2, 3, 4, 5), epoch=0):
    return task.collate([task.sample(index, epoch) for index in indices])


def step_of(epoch=0, step=0):
    return Step(epoch=epoch, step=step, steps=3, epochs=3, generator=torch.Generator().manual_seed(0))


def open_task(data, *more, labels=None):
    config = settings(*more)
    return build_task(config, data, TRAINING, VALIDATION, labels), build_network(config, data), config


@pytest.mark.parametrize("is_single", [False, True])
def test_early_learning_adds_its_penalty(data, is_single):
    data = single(data) if is_single else data
    strength = 3.0 if is_single else 1.0
    task, model, _ = open_task(data, "noise.kind=early_learning", "noise.decay=0.6")
    plain = ImageTask(settings(), data, TRAINING, VALIDATION)
    batch = batch_of(task)
    model.eval()  # running statistics stay, so that each call gives the same logits
    remembered, mass = torch.zeros(6, 3), torch.zeros(6)
    for epoch in range(3):
        answers = early_answers(model(batch["images"]).detach(), not is_single)
        remembered, mass = 0.6 * remembered + 0.4 * answers, 0.6 * mass + 0.4
        expected = (
            plain.loss(model, batch, step_of(epoch))
            + strength * early_learning_penalty(answers, remembered, mass, not is_single).mean()
        )
        torch.testing.assert_close(task.loss(model, batch, step_of(epoch)), expected)


def test_early_learning_may_begin_later_and_remembers_from_the_start(data):
    task, model, _ = open_task(data, "noise.kind=early_learning", "noise.from_epoch=1")
    plain = ImageTask(settings(), data, TRAINING, VALIDATION)
    batch, model = batch_of(task), model.eval()
    assert torch.equal(task.loss(model, batch, step_of(0)), plain.loss(model, batch, step_of(0)))
    state = task.state(make_accelerator("no"))
    assert state["answers_reading"][:, -1].tolist() == [1] * 6 + [0] * 6
    assert task.loss(model, batch, step_of(1)) < plain.loss(model, batch, step_of(1))


def test_weights_count_in_the_penalty(data):
    weights = np.ones(COUNT, np.float32)
    weights[TRAINING[:5]] = 1e-6
    labels = TrainingLabels(data.targets, weights)
    task, model, _ = open_task(data, "noise.kind=early_learning", labels=labels)
    whole, model = batch_of(task), model.eval()
    alone = {name: tensor[5:6] for name, tensor in whole.items()}
    fresh, _, _ = open_task(data, "noise.kind=early_learning", labels=labels)
    torch.testing.assert_close(
        task.loss(model, whole, step_of()), fresh.loss(model, alone, step_of()) / 6, rtol=1e-3, atol=1e-5
    )


def test_each_network_learns_from_what_the_other_finds_easy(data):
    task, model, _ = open_task(data, "noise.kind=co_teaching", "noise.forget=0.5", "noise.ramp=0", "noise.allowance=0")
    batch, model = batch_of(task), model.eval()
    value = task.loss(model, batch, step_of())
    value.backward()
    with torch.no_grad():
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            model(batch["images"], apart=True), batch["targets"].expand(2, 6, 3), reduction="none"
        ).mean(dim=2)
    easiest = losses.argsort(dim=1)[:, :3]
    expected = (losses[0][easiest[1]].mean() + losses[1][easiest[0]].mean()) / 2
    torch.testing.assert_close(value.detach(), expected)
    # The gradient of each network is the one that it would have alone, not half of it.
    gradient = model.second.head.bias.grad.clone()
    model.zero_grad()
    chosen = {name: tensor[easiest[0]] for name, tensor in batch.items()}
    torch.nn.functional.binary_cross_entropy_with_logits(model.second(chosen["images"]), chosen["targets"]).backward()
    torch.testing.assert_close(gradient, model.second.head.bias.grad)


class Unsure(torch.nn.Module):
    """Two networks that answer 0 to everything."""

    def __init__(self):
        super().__init__()
        self.both = torch.nn.Parameter(torch.zeros(2, 6, 3))

    def forward(self, images, apart):
        return self.both


def test_single_labels_can_be_chosen(data):
    rates = [f"noise.forget={1 / 3}", "noise.ramp=0", "noise.unit=label"]
    task, _, _ = open_task(data, "noise.kind=co_teaching", *rates)
    logits, batch = Unsure(), batch_of(task)
    task.loss(logits, batch, step_of()).backward()
    for network in logits.both.grad:
        of_given, of_absent = network[batch["targets"] == 1], network[batch["targets"] == 0]
        assert (of_given == 0).sum() == 2
        assert (of_absent == 0).sum() == 2
    with pytest.raises(ValueError, match=r"set noise\.unit=image"):
        open_task(single(data), "noise.kind=co_teaching", "noise.unit=label")


def test_nothing_is_forgotten_at_the_beginning(data):
    task, model, _ = open_task(data, "noise.kind=co_teaching", "noise.forget=0.5", "noise.ramp=1")
    batch, model = batch_of(task), model.eval()
    at_first = task.loss(model, batch, step_of(0, 0))
    alone = ImageTask(settings(), data, TRAINING, VALIDATION)
    both = [alone.loss(one, batch, step_of()) for one in (model.first, model.second)]
    torch.testing.assert_close(at_first, sum(both) / 2)
    assert task.loss(model, batch, step_of(2, 2)) != at_first


def test_a_history_is_the_mean_probability_and_its_square(data):
    task = HistoryTask(settings(), data, TRAINING, VALIDATION, from_epoch=1)
    model = build_network(settings(), data).eval()
    batch, kept = batch_of(task), []
    for epoch in range(3):
        for parameter in model.parameters():
            parameter.data *= 1.1
        task.loss(model, batch, step_of(epoch))
        seen = model(batch["images"]).detach().sigmoid()
        kept += [seen] if epoch else []
    means, squares = task.history()
    np.testing.assert_allclose(means[:6], torch.stack(kept).mean(dim=0), atol=1e-6)
    np.testing.assert_allclose(squares[:6], (torch.stack(kept) ** 2).mean(dim=0), atol=1e-6)
    assert not means[6:].any()


def test_margins_are_those_of_the_training_steps(data):
    task, model, _ = open_task(single(data), "margins=true", "margins_from=1")
    model.eval()
    for epoch in range(3):
        task.loss(model, batch_of(task, (2, 4), epoch), step_of(epoch))
    sums, counts = task.margins()
    assert counts.tolist() == [0, 0, 2, 0, 2, *[0] * 7]
    both = [class_margins(model(batch_of(task, (2, 4), epoch)["images"]).detach(), False) for epoch in (1, 2)]
    np.testing.assert_allclose(sums[[2, 4]], (both[0] + both[1]).numpy(), atol=1e-5)
    assert open_task(data)[0].margins() is None


def test_decisions_replace_labels_and_leave_images_out(data):
    targets, weights = data.targets[:, ::-1].copy(), np.linspace(0.1, 2, COUNT, dtype=np.float32)
    weights[[2, 9]] = 0
    task, _, _ = open_task(data, labels=TrainingLabels(targets, weights))
    kept = [row for row in TRAINING if row not in (2, 9)]
    assert task.rows.tolist() == kept
    assert sorted(task.order(0)) == list(range(len(kept)))
    sample = task.sample(1, 0)
    assert sample["targets"].tolist() == targets[3].tolist()
    assert sample["weights"] == weights[3]
    assert isinstance(task.validation, ImageDataset)
    assert task.validation.sample(0)["targets"].tolist() == data.targets[VALIDATION[0]].tolist()


class KilledError(Exception):
    pass


def killed_at(task, step):
    """The task, ending the run at a step as a kill would."""
    calls, own = [], task.loss

    def loss(*arguments):
        calls.append(1)
        if len(calls) > step:
            raise KilledError
        return own(*arguments)

    task.loss = loss
    return task


KINDS = [
    ["noise.kind=early_learning", "margins=true"],
    ["noise.kind=co_teaching", "margins=true", "loop.ema_decay=0.9"],
    ["margins=true", "sampler.kind=balanced"],
]


@pytest.mark.parametrize("more", KINDS, ids=["early_learning", "co_teaching", "margins"])
def test_a_killed_training_goes_on_and_ends_with_the_same_bits(more, data, tmp_path):
    machine = MachineConfig(loaders=0, checkpoint_steps=1)
    found = {}
    for name, kills in (("whole", ()), ("broken", (2, 3))):
        for kill in (*kills, None):
            task, model, config = open_task(data, *more)
            task = task if kill is None else killed_at(task, kill)
            try:
                train(model, task, loop_settings(config), tmp_path / name, machine)
            except KilledError:
                continue
        tensors, _ = load_tensors(tmp_path / name / LAST)
        found[name] = tensors, task.margins()
    for name, tensor in found["whole"][0].items():
        assert torch.equal(tensor, found["broken"][0][name]), name
    for whole, broken in zip(found["whole"][1], found["broken"][1], strict=True):
        assert np.array_equal(whole, broken)
    assert found["whole"][1][1].sum() == 3 * len(TRAINING)


def test_a_checkpoint_of_other_settings_is_refused(data, tmp_path):
    task, model, config = open_task(data)
    with pytest.raises(KilledError):
        train(model, killed_at(task, 2), config.loop, tmp_path, MachineConfig(loaders=0, checkpoint_steps=1))
    task, model, config = open_task(data, "margins=true")
    with pytest.raises(ValueError, match="no memory 'margins'"):
        train(model, task, config.loop, tmp_path, MachineConfig(loaders=0))


def test_a_plain_task_remembers_nothing(data):
    task, _, _ = open_task(data)
    assert task.state(make_accelerator("no")) == {}


def test_learning_rate_factors_reach_both_networks(data):
    factors = "loop.learning_rate_factors={backbone: 0.1, head.bias: 2}"
    expected = {"first.backbone": 0.1, "second.backbone": 0.1, "first.head.bias": 2, "second.head.bias": 2}
    assert loop_settings(settings(factors, "noise.kind=co_teaching")).learning_rate_factors == expected
    assert loop_settings(settings(factors)) == settings(factors).loop
    assert isinstance(loop_settings(settings("noise.kind=co_teaching")), LoopConfig)
