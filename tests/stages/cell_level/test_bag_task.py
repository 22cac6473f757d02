import pickle

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from hpa.cell_cache import CellCache, write_cell_cache
from hpa.classification import ModelConfig, build_loss, predict_batch
from hpa.classification.bag_model import BagModelConfig, bag_loss, build_bag_model
from hpa.classification.bag_pooling import AttentionPooling
from hpa.classification.cell_dataset import MaskingConfig
from hpa.evaluation import average_precision
from hpa.labels import ClassList
from hpa.stages.cell_level.bag_config import TrainBagsConfig
from hpa.stages.cell_level.bag_task import BagTask, Images, bag_model, predict_bags
from hpa.training import LoopConfig, MachineConfig, Step, Task, make_accelerator, train

CLASSES = ClassList(names=("a", "b"))
COUNTS = (1, 5, 3, 4)
CONFIG = TrainBagsConfig(
    model=BagModelConfig(backbone=ModelConfig(name="test_resnet"), pooling=AttentionPooling(hidden=8)),
    cells_per_bag=3,
    masking=MaskingConfig(neighbours="kept"),
    loop=LoopConfig(epochs=3, batch_size=4, learning_rate=5e-3, monitor="macro_ap"),
    machine=MachineConfig(loaders=0),
    tta=1,
)


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    """Accelerate keeps the device and precision of the process."""
    torch.set_num_threads(1)
    yield
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


def read_cells(key):
    number, count, label = key
    draws = np.random.default_rng(number)
    crops = draws.integers(0, 60, (count, 5, 32, 32)).astype(np.uint8)
    crops[:, 4] = 255
    crops[0, label, 4:28, 4:28] = 240  # one cell of the image shows its class
    return crops


def open_images(folder, counts=COUNTS):
    """A cache of some images whose label one cell of each shows."""
    folder.mkdir()
    keys = [(number, count, number % 2) for number, count in enumerate(counts)]
    cells = {f"image {number}": list(range(1, count + 1)) for number, count, _ in keys}
    write_cell_cache(folder, cells, keys, read_cells, ("r", "g", "b", "y"), 1, 32)
    cache = CellCache.open(folder)
    targets = np.eye(2, dtype=np.float32)[[label for _, _, label in keys]]
    return cache, Images([cache.rows_by_image[image_id] for image_id in cells], targets)


def build():
    torch.manual_seed(0)
    return build_bag_model(CONFIG.model, 4, CLASSES, 32)


def test_images_know_their_cells(tmp_path):
    _, images = open_images(tmp_path / "cells")
    some = Images([images.rows[2], images.rows[0]], images.targets[[2, 0]])
    assert some.counts == [3, 1]
    assert some.cells.tolist() == [6, 7, 8, 0]
    assert [bag.tolist() for bag in some.bags] == [[0, 1, 2], [3]]


def test_the_loss_is_that_of_the_bags(tmp_path):
    cache, images = open_images(tmp_path / "cells")
    task, model = BagTask(CONFIG, cache, CLASSES, images, images), build().eval()
    assert isinstance(task, Task)
    assert sorted(task.order(0)) == [0, 1, 2, 3]
    batch = task.collate([task.sample(index, 0) for index in range(4)])
    assert batch["images"].shape == (4, 3, 4, 32, 32)
    assert batch["present"].sum(dim=1).tolist() == [1, 3, 3, 3]
    step = Step(epoch=0, step=0, steps=1, epochs=1, generator=torch.Generator())
    expected = bag_loss(
        build_loss(CONFIG.loss, images.targets, CLASSES),
        model(batch["images"], batch["present"]),
        batch["targets"],
        None,
        batch["present"],
        CONFIG.model.cell_weight,
    )
    assert float(task.loss(model, batch, step).detach()) == pytest.approx(float(expected.detach()))


def test_workers_get_a_copy_that_reads_the_same_bags(tmp_path):
    cache, images = open_images(tmp_path / "cells")
    task = BagTask(CONFIG, cache, CLASSES, images, images)
    copy = pickle.loads(pickle.dumps(task))
    for index in range(8):
        np.testing.assert_array_equal(copy.sample(index, 1)["images"], task.sample(index, 1)["images"])
    assert (task.sample(1, 0)["images"] != task.sample(1, 1)["images"]).any()


def test_validation_measures_the_images(tmp_path):
    cache, images = open_images(tmp_path / "cells")
    task, model = BagTask(CONFIG, cache, CLASSES, images, images), build()
    found = task.validate(model, make_accelerator(cpu=True))
    with torch.no_grad():
        bags = [task.validation.sample(index) for index in range(4)]
        logits = torch.cat(
            [model.eval()(torch.tensor(bag["images"])[None], torch.tensor(bag["present"])[None]).image for bag in bags]
        )
    precision = average_precision(images.targets, torch.sigmoid(logits).numpy())
    assert found["macro_ap"] == pytest.approx(np.nanmean(precision), abs=1e-5)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(images.targets))
    assert found["loss"] == pytest.approx(float(loss), rel=1e-4)


@pytest.mark.parametrize("tta", [1, 4])
def test_images_are_predicted_as_one_bag_of_all_their_cells(tmp_path, tta):
    cache, images = open_images(tmp_path / "cells")
    model, config = build().eval(), CONFIG.model_copy(update={"tta": tta})
    found = predict_bags(model, cache, images, config, make_accelerator(cpu=True), "test")
    pixels = torch.tensor(cache.read(images.cells)[:, :4])
    with torch.no_grad():
        expected = predict_batch(model.cell_classifier(), pixels, tta)["probabilities"]
        np.testing.assert_allclose(found.cells, expected.numpy(), atol=1e-5)
        if tta > 1:
            return
        for image, bag in enumerate(images.bags):
            own = pixels[torch.tensor(bag)][None]
            logits = model(own, torch.ones(own.shape[:2], dtype=torch.bool)).image
            np.testing.assert_allclose(found.images[image], torch.sigmoid(logits)[0].numpy(), atol=1e-5)


def test_the_network_is_found_in_a_wrapper():
    model = build()
    wrapper = torch.nn.Module()
    wrapper.module = model
    assert bag_model(wrapper) is bag_model(model) is model


def test_the_loop_trains_it_until_it_knows_which_cell_shows_the_class(tmp_path):
    cache, images = open_images(tmp_path / "cells", counts=(3, 4) * 8)
    model = build()
    task = BagTask(CONFIG, cache, CLASSES, images, images)
    loop = CONFIG.loop.model_copy(update={"epochs": 6})
    history = train(model, task, loop, tmp_path / "run", CONFIG.machine, make_accelerator(cpu=True))
    assert history.best.metrics["macro_ap"] > 0.9
    found = predict_bags(model, cache, images, CONFIG, make_accelerator(cpu=True), "test")
    own = [found.cells[bag, label] for bag, label in zip(images.bags, images.targets.argmax(axis=1), strict=True)]
    assert np.mean([scores.argmax() == 0 for scores in own]) > 0.8
