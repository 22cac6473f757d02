import cv2
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

from hpa.segmentation.maps import BACKGROUND, BORDER, OBJECT
from hpa.segmentation.unet import build_unet
from hpa.segmentation.unet_config import UnetAugmentationConfig, UnetLossConfig, UnetModelConfig, UnetSamplesConfig
from hpa.segmentation.unet_dataset import IGNORED, Pair, PreparedPairs, SegmentationDataset
from hpa.segmentation.unet_task import SegmentationTask, label_objects, match_objects, segmentation_loss
from hpa.training import LoopConfig, MachineConfig, Step, Task, make_accelerator, train

CONFIG = UnetSamplesConfig(size=64, pixel_size=0.32, augmentation=UnetAugmentationConfig(warp=0.3, blur=0, noise=0))
HERE = MachineConfig(loaders=0)


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    """Accelerate keeps the device and precision of the process."""
    torch.set_num_threads(1)
    yield
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


class DrawnPairs:
    """Cells as touching discs, with nuclei; drawn from the index."""

    channels, pixel_size = ("red", "yellow", "blue"), 0.32

    def __init__(self, count, targets=("nuclei", "cells"), seed=0, width=64):
        self.count, self.targets, self.seed, self.width = count, targets, seed, width

    def __len__(self):
        return self.count

    def read(self, index):
        draws = np.random.default_rng([self.seed, index])
        cells, nuclei = np.zeros((2, 64, self.width), np.uint16)
        for number, (x, y) in enumerate([(16, 16), (44, 18), (20, 46), (48, 48)], start=1):
            x, y = x + int(draws.integers(-3, 4)), y + int(draws.integers(-3, 4))
            cv2.circle(cells, (x, y), 14, number, -1)
            cv2.circle(nuclei, (x, y), 6, number, -1)
        pixels = draws.poisson(np.stack([3 + 60 * (cells > 0), 3 + 50 * (cells > 0), 3 + 90 * (nuclei > 0)]))
        known = {"cells": cells, "nuclei": nuclei}
        found = {name: known[name] if name in self.targets else None for name in known}
        return Pair(np.minimum(pixels, 255).astype(np.uint8), **found)


def dataset(count=4, **settings):
    return SegmentationDataset(PreparedPairs(DrawnPairs(count, **settings), CONFIG), CONFIG)


def task(training=None, validation=None, loop=None, **settings):
    return SegmentationTask(
        training or dataset(),
        validation or dataset(3, seed=1),
        UnetLossConfig(),
        loop or LoopConfig(),
        HERE,
        **settings,
    )


def reference_loss(logits, targets, config):
    """The loss in numpy, target by target: weighted cross-entropy, and 1 - Tversky's index of the planes present."""
    losses = []
    for target in range(logits.shape[1]):
        values = np.moveaxis(logits[:, target].astype(np.float64), 1, -1).reshape(-1, 3)
        classes = targets[:, target].ravel()
        values, classes = values[classes != IGNORED], classes[classes != IGNORED]
        if len(classes) == 0:
            continue
        parts = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
        weights = np.array(config.plane_weights)[classes]
        loss = (-np.log(parts[np.arange(len(classes)), classes]) * weights).sum() / weights.sum()
        regions = []
        for plane in range(3):
            true = classes == plane
            hit = parts[true, plane].sum()
            over, under = parts[~true, plane].sum(), (1 - parts[true, plane]).sum()
            index = hit / max(hit + config.false_positives * over + config.false_negatives * under, 1e-7)
            regions.append((1 - index) * true.any())
        losses.append(loss + config.region * np.mean(regions))
    return np.mean(losses) if losses else 0.0


@pytest.mark.parametrize(
    "config",
    [UnetLossConfig(), UnetLossConfig(plane_weights=(1, 5, 2), region=0.5, false_positives=0.3, false_negatives=0.7)],
)
@pytest.mark.parametrize("known", ["all", "some", "one target", "none"])
def test_the_loss_is_that_of_its_formulas(config, known):
    draws = np.random.default_rng(0)
    logits = draws.normal(size=(2, 2, 3, 8, 12)).astype(np.float32)
    targets = draws.integers(0, 3, (2, 2, 8, 12)).astype(np.uint8)
    if known == "some":
        targets[draws.random(targets.shape) < 0.4] = IGNORED
    if known == "one target":
        targets[:, 0] = IGNORED
    if known == "none":
        targets[:] = IGNORED
    tensor = torch.tensor(logits, requires_grad=True)
    loss = segmentation_loss(tensor, torch.from_numpy(targets), config)
    assert float(loss.detach()) == pytest.approx(reference_loss(logits, targets, config), abs=1e-5)
    loss.backward()
    assert torch.isfinite(tensor.grad).all()
    assert (tensor.grad.movedim(2, -1)[torch.from_numpy(targets) == IGNORED] == 0).all()
    assert (tensor.grad != 0).any() == (known != "none")


def brute_force_match(predicted, instances):
    def objects(numbers):
        masks = [numbers == number for number in np.unique(numbers) if number > 0]
        return [mask for mask in masks if mask.sum() >= 16]

    ours, theirs = objects(predicted), objects(instances)
    matched = sum((one & other).sum() / (one | other).sum() > 0.5 for one in ours for other in theirs)
    return matched, len(theirs), len(ours)


@pytest.mark.parametrize("seed", range(6))
def test_objects_match_as_one_by_one(seed):
    draws = np.random.default_rng(seed)
    true, found = np.zeros((2, 60, 60), np.int64)
    for number in draws.choice(1000, 12, replace=False):
        top, left, height, width = *draws.integers(0, 50, 2), *draws.integers(2, 14, 2)
        true[top : top + height, left : left + width] = number
        down, right = draws.integers(0, 4, 2)
        found[top + down : top + height + down, left + right : left + width + right] = number + 7
    assert match_objects(found, true) == brute_force_match(found, true)


def test_nothing_matches_nothing():
    empty = np.zeros((20, 20), np.int64)
    some = np.zeros((20, 20), np.int64)
    some[2:8, 2:8], some[10:12, 10:12] = 900, 3
    assert match_objects(empty, empty) == (0, 0, 0)
    assert match_objects(some, empty) == (0, 0, 1)
    assert match_objects(empty, some) == (0, 1, 0)
    assert match_objects(some, some) == (1, 1, 1)


def test_cells_grow_from_nuclei_up_to_the_background():
    planes = np.zeros((2, 3, 20, 40), np.float32)
    planes[:, BACKGROUND] = 0.9
    for left in (2, 20):
        planes[0, :, 8:13, left + 6 : left + 12] = np.array([0, 0.1, 0.9])[:, None, None]
        planes[1, :, 4:17, left : left + 17] = np.array([0, 0.1, 0.9])[:, None, None]
    planes[1, :, 4:17, 18:21] = np.array([0, 0.8, 0.2])[:, None, None]
    nuclei, cells = label_objects(*planes)
    assert sorted(np.unique(nuclei)) == sorted(np.unique(cells)) == [0, 1, 2]
    assert (cells > 0).sum() == 13 * 35
    np.testing.assert_array_equal(np.unique(cells[4:17, 2:18]), [1])
    np.testing.assert_array_equal(np.unique(cells[4:17, 21:37]), [2])
    assert label_objects(planes[0], None)[1].max() == 0


class Oracle(nn.Module):
    """Knows the answer: a table from an image to the planes that its label maps say."""

    def __init__(self, data):
        super().__init__()
        self.answers = {}
        for index in range(len(data)):
            whole = data.whole(index)
            planes = np.stack([whole["targets"] == plane for plane in (BACKGROUND, BORDER, OBJECT)], axis=1)
            self.answers[whole["images"].tobytes()] = torch.from_numpy(planes * np.float32(20))

    def forward(self, images):
        return torch.stack([self.answers[image.contiguous().numpy().tobytes()] for image in images])


def test_validation_of_the_truth_is_perfect():
    job = task()
    found = job.validate(Oracle(job.validation), make_accelerator(cpu=True))
    planes = [f"{target}_{plane}_iou" for target in ("nuclei", "cells") for plane in ("background", "object")]
    assert all(found[name] == 1 for name in [*planes, "cells_border_iou", "nuclei_f1", "cells_f1", "f1", "iou"])
    assert found["loss"] < 1e-6
    assert np.isnan(found["nuclei_border_iou"])  # no nuclei touch


def test_validation_figures_are_sums_over_images():
    class Nothing(nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 2, 3, *images.shape[2:])
            logits[:, :, BACKGROUND] = 5
            return logits

    validation = dataset(3, seed=1, width=80)
    found = task(validation=validation).validate(Nothing(), make_accelerator(cpu=True))
    targets = np.stack([validation.whole(index)["targets"] for index in range(3)])
    for row, target in enumerate(("nuclei", "cells")):
        assert found[f"{target}_background_iou"] == pytest.approx((targets[:, row] == BACKGROUND).mean())
        assert found[f"{target}_object_iou"] == 0
        assert found[f"{target}_f1"] == 0
    known = [value for name, value in found.items() if name.endswith("_iou") and np.isfinite(value)]
    assert len(known) == 5
    assert found["iou"] == pytest.approx(np.mean(known))


def test_what_is_not_known_is_not_measured():
    validation = dataset(2, targets=("nuclei",))
    job = task(validation=validation)
    found = job.validate(build_model(), make_accelerator(cpu=True))
    assert np.isnan(found["cells_object_iou"])
    assert np.isnan(found["cells_f1"])
    assert found["f1"] == found["nuclei_f1"] or np.isnan(found["f1"])


def test_a_plane_that_does_not_occur_has_no_figure_whatever_is_predicted():
    class Borders(nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 2, 3, *images.shape[2:])
            logits[:, :, BORDER] = 5
            return logits

    found = task().validate(Borders(), make_accelerator(cpu=True))
    assert np.isnan(found["nuclei_border_iou"])
    assert 0 < found["cells_border_iou"] < 0.2


def build_model():
    torch.manual_seed(0)
    return build_unet(UnetModelConfig(encoder="test_efficientnet", decoder_channels=(32, 32, 16, 16, 16)), 3)


def test_every_image_comes_up_as_often_as_asked():
    job = task(loop=LoopConfig(seed=3), parts=3)
    assert isinstance(job, Task)
    assert sorted(job.order(0)) == list(range(12))
    np.testing.assert_array_equal(job.order(1), task(loop=LoopConfig(seed=3), parts=3).order(1))
    assert (job.order(0) != job.order(1)).any()
    batch = job.collate([job.sample(index, 0) for index in (0, 4)])
    assert (batch["images"][0] != batch["images"][1]).any()


def test_the_loss_of_a_batch_is_that_of_the_models_logits():
    job, model = task(), build_model().eval()
    batch = job.collate([job.sample(0, 0), job.sample(1, 0)])
    step = Step(epoch=0, step=0, steps=1, epochs=1, generator=torch.Generator())
    expected = segmentation_loss(model(batch["images"]), batch["targets"], UnetLossConfig())
    assert float(job.loss(model, batch, step).detach()) == pytest.approx(float(expected.detach()))


def test_targets_that_nobody_labelled_are_refused():
    with pytest.raises(ValueError, match="no training image has a label map of nuclei"):
        task(training=dataset(targets=("cells",)))
    alone = SegmentationDataset(PreparedPairs(DrawnPairs(2), CONFIG), CONFIG, ("nuclei",))
    with pytest.raises(ValueError, match="expected validation of"):
        task(training=alone)


def test_the_loop_trains_it_until_it_finds_nuclei_and_cells(tmp_path):
    loop = LoopConfig(epochs=6, batch_size=8, learning_rate=5e-3, monitor="iou", channels_last=True)
    job = task(training=dataset(24), validation=dataset(4, seed=9), loop=loop)
    history = train(build_model(), job, loop, tmp_path, HERE, make_accelerator(cpu=True))
    figures = [epoch.metrics for epoch in history.epochs]
    assert figures[-1]["loss"] < 0.6 * figures[0]["loss"]
    assert max(epoch["f1"] for epoch in figures) > 0.8
