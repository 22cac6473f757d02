import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpa.classification.cam import (
    CamConfig,
    LocalProbability,
    MaxPooling,
    MeanPooling,
    QuantilePooling,
    RectifiedMaximum,
    cell_evidence,
    class_activation,
    enlarge,
    pool_in_cells,
    view_back,
)
from hpa.classification.model import ModelConfig, build_model
from hpa.classification.tta import VIEWS, predict_batch, view
from hpa.config import ConfigError, validate
from hpa.labels import ClassList

IMAGES = torch.randint(0, 256, (2, 4, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
POOLINGS = {
    "mean": (MeanPooling(), lambda values: values.mean(axis=1)),
    "max": (MaxPooling(), lambda values: values.max(axis=1)),
    "median": (QuantilePooling(quantile=0.5), lambda values: np.quantile(values, 0.5, axis=1)),
    "most": (QuantilePooling(), lambda values: np.quantile(values, 0.99, axis=1)),
    "least": (QuantilePooling(quantile=0), lambda values: values.min(axis=1)),
    "greatest": (QuantilePooling(quantile=1), lambda values: values.max(axis=1)),
}


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build_model(ModelConfig(name="test_resnet"), 4, ClassList(names=tuple("abc"))).eval()


@pytest.mark.parametrize("number", range(8))
def test_an_orientation_is_taken_back(number):
    turned = view(IMAGES, number)
    assert torch.equal(view_back(turned.float(), number), IMAGES.float())


@pytest.mark.parametrize("views", VIEWS)
@torch.no_grad()
def test_maps_are_means_of_upright_ones_and_keep_the_logit(model, views):
    maps = class_activation(model, IMAGES, views)
    logits = torch.stack([model(view(IMAGES, number)) for number in range(views)]).mean(dim=0)
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + model.head.bias, logits)
    assert maps.shape == (2, 3, 3, 3)
    assert maps.dtype == torch.float32


@torch.no_grad()
def test_with_eight_views_the_map_turns_with_the_image(model):
    for number in range(8):
        turned = class_activation(model, view(IMAGES, number), 8)
        torch.testing.assert_close(view_back(turned, number), class_activation(model, IMAGES, 8))


def test_another_number_of_views_is_an_error(model):
    with pytest.raises(ValueError, match="1, 2, 4, 8 views, but got 3"):
        class_activation(model, IMAGES, 3)


def test_enlarged_images():
    assert enlarge(IMAGES, 1.0) is IMAGES
    larger = enlarge(IMAGES, 1.5)
    assert (larger.dtype, larger.shape) == (torch.uint8, (2, 4, 144, 144))
    assert abs(larger.float().mean() - IMAGES.float().mean()) < 1
    grey = torch.full((1, 1, 7, 7), 255, dtype=torch.uint8)
    assert (enlarge(grey, 2.0) == 255).all()


@given(st.integers(0, 2**32 - 1), st.integers(16, 33), st.sampled_from(sorted(POOLINGS)))
def test_pooling_is_that_of_each_cells_pixels(seed, size, name):
    pooling, oracle = POOLINGS[name]
    draws = np.random.default_rng(seed)
    # On the map's own grid nothing is interpolated, so that the oracle is the plain definition.
    activation = draws.normal(size=(3, size, size)).astype(np.float32)
    cell_map = (draws.integers(0, 12, (size, size)) * 3).astype(np.uint16)
    pooled = pool_in_cells(activation, cell_map, pooling, size)
    cell_ids = sorted(set(cell_map.ravel().tolist()) - {0})
    assert pooled.shape == (len(cell_ids), 3)
    assert pooled.dtype == np.float32
    for row, cell_id in enumerate(cell_ids):
        np.testing.assert_allclose(pooled[row], oracle(activation[:, cell_map == cell_id]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(POOLINGS))
def test_the_order_of_numbers_does_not_matter(name):
    draws = np.random.default_rng(0)
    activation = draws.normal(size=(2, 5, 5)).astype(np.float32)
    cell_map = np.kron(np.arange(1, 10).reshape(3, 3), np.ones((20, 20))).astype(np.uint16)
    turned = (10 - cell_map).astype(np.uint16)
    pooled, other = (pool_in_cells(activation, each, POOLINGS[name][0], 64) for each in (cell_map, turned))
    np.testing.assert_allclose(pooled, other[::-1], rtol=1e-6)


def test_coarse_maps_are_interpolated_between_their_places():
    """A map that rises from left to right: a cell's mean is the map's value at its middle."""
    activation = np.tile(np.arange(8, dtype=np.float32), (1, 8, 1))
    cell_map = np.zeros((800, 800), np.uint16)
    cell_map[100:300, 250:350] = 5
    cell_map[400:500, 500:700] = 9
    pooled = pool_in_cells(activation, cell_map, MeanPooling(), 200)
    np.testing.assert_allclose(pooled[:, 0], [300 / 100 - 0.5, 600 / 100 - 0.5], atol=0.02)


def test_a_tiny_cell_beside_a_large_one_keeps_its_own_value():
    activation = np.zeros((1, 16, 16), np.float32)
    activation[0, 8:] = 10
    cell_map = np.zeros((1600, 1600), np.uint16)
    cell_map[:800] = 1
    cell_map[1501, 703] = 2
    cell_map[1502, 704] = 3  # in the same place of the grid
    pooled = pool_in_cells(activation, cell_map, MeanPooling(), 16)
    np.testing.assert_allclose(pooled[:, 0], [0, 10, 10], atol=1e-6)


def test_images_without_cells():
    activation = np.zeros((4, 3, 3), np.float32)
    assert pool_in_cells(activation, np.zeros((9, 9), np.uint16), QuantilePooling()).shape == (0, 4)
    assert cell_evidence(activation, np.zeros(4, np.float32), np.zeros((9, 9), np.uint16), CamConfig()).shape == (0, 4)


def halves():
    cell_map = np.ones((64, 64), np.uint16)
    cell_map[:, 32:] = 2
    activation = np.empty((3, 64, 64), np.float32)
    activation[:, :, :32], activation[:, :, 32:] = (
        np.reshape(values, (3, 1, 1)) for values in ([2, -1, -5], [-4, 0.5, -7])
    )
    return activation, cell_map


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_evidence_is_the_local_probability(temperature):
    activation, cell_map = halves()
    bias = np.array([1, 0, 2], np.float32)
    config = CamConfig(normalisation=LocalProbability(temperature=temperature), resolution=64)
    logits = np.array([[3, -1, -3], [-3, 0.5, -5]]) / temperature
    np.testing.assert_allclose(cell_evidence(activation, bias, cell_map, config), 1 / (1 + np.exp(-logits)), rtol=1e-6)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(cell_evidence(activation, bias, cell_map, config, multi_label=False), shares, rtol=1e-6)


@pytest.mark.parametrize("pooling", [MeanPooling(), MaxPooling(), QuantilePooling()])
def test_evidence_relative_to_the_image(pooling):
    activation, cell_map = halves()
    config = CamConfig(pooling=pooling, normalisation=RectifiedMaximum(), resolution=64)
    evidence = cell_evidence(activation, np.full(3, 9, np.float32), cell_map, config)
    np.testing.assert_allclose(evidence, [[1, 0, 0], [0, 1, 0]], atol=1e-6)


@torch.no_grad()
def test_evidence_of_one_cell_that_fills_the_image_is_the_images_probability(model):
    images = IMAGES[:1]
    activation = class_activation(model, images)[0].numpy()
    config = CamConfig(normalisation=LocalProbability(temperature=1))
    # A grid of the map's own size: interpolation repeats the outer places, which shifts means.
    flat = np.broadcast_to(activation.mean(axis=(1, 2), keepdims=True), activation.shape)
    evidence = cell_evidence(flat, model.head.bias.numpy(), np.ones((96, 96), np.uint16), config)
    np.testing.assert_allclose(evidence, predict_batch(model, images)["probabilities"].numpy(), rtol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pooling": {"kind": "quantile", "quantile": 1.5}},
        {"pooling": {"kind": "median"}},
        {"normalisation": {"temperature": 0}},
        {"magnification": 0.5},
        {"resolution": 4},
    ],
)
def test_wrong_settings_are_told(wrong):
    with pytest.raises(ConfigError):
        validate(CamConfig, wrong)
