import numpy as np
import pytest
import shap
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hpa.explain.gradient_shap import draw_ways, expected_gradients

DRAWS = torch.Generator().manual_seed(0)
IMAGE = torch.rand(2, 3, 4, generator=DRAWS)
BASELINES = torch.rand(5, 2, 3, 4, generator=DRAWS)
WEIGHTS = torch.randn(3, 2, 3, 4, generator=DRAWS)


def linear(images):
    return torch.einsum("bchw,kchw->bk", images, WEIGHTS)


def curved(images):
    """Every pixel on its own, so that its Shapley value is known: f(x) - f(baseline), pixel by pixel."""
    return torch.einsum("bchw,kchw->bk", images**3, WEIGHTS)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(24, 16), nn.Linear(16, 3)

    def forward(self, images):
        return self.second(torch.nn.functional.silu(4 * self.first(images.flatten(1))))


def net():
    torch.manual_seed(0)
    return Net()


def test_of_a_linear_network_they_are_weight_times_difference():
    # Any number of samples that is a multiple of the baselines' is exact.
    found = expected_gradients(linear, IMAGE, BASELINES, samples=10, seed=0, batch_size=4)
    torch.testing.assert_close(found.maps, WEIGHTS * (IMAGE - BASELINES.mean(0)))
    np.testing.assert_allclose(found.base, linear(BASELINES).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.output, linear(IMAGE[None])[0], rtol=1e-5)
    np.testing.assert_allclose(found.maps.sum(dim=(1, 2, 3)), found.output - found.base, rtol=1e-5)
    assert found.evaluations == 10 + 5 + 1


def test_of_separate_pixels_they_are_the_shapley_values():
    found = expected_gradients(curved, IMAGE, BASELINES, samples=2000, seed=0, batch_size=256)
    exact = WEIGHTS * (IMAGE**3 - (BASELINES**3).mean(0))
    torch.testing.assert_close(found.maps, exact, atol=2e-3, rtol=0)


@pytest.mark.parametrize("baselines", [1, 5])
def test_they_sum_to_output_minus_base_within_two_percent(baselines):
    model = net()
    found = expected_gradients(model, IMAGE, BASELINES[:baselines], samples=200, seed=0, batch_size=64)
    difference = found.output - found.base
    np.testing.assert_allclose(found.maps.sum(dim=(1, 2, 3)), difference, atol=0.02 * abs(difference).max())


def test_agrees_with_shaps_gradient_explainer_with_less_scatter():
    model = net()
    precise = expected_gradients(model, IMAGE, BASELINES, samples=5000, seed=99, batch_size=500).maps.numpy()
    explainer = shap.GradientExplainer(net(), BASELINES)
    theirs = np.stack([explainer.shap_values(IMAGE[None], nsamples=50, rseed=seed)[0] for seed in range(20)])
    theirs = np.moveaxis(theirs, -1, 1)
    ours = np.stack([expected_gradients(model, IMAGE, BASELINES, 50, seed, 50).maps.numpy() for seed in range(20)])
    scatter = theirs.std(axis=0, ddof=1)
    # The mean of 20 may lie some standard errors off, but no more.
    assert (abs(theirs.mean(axis=0) - precise) < 5 * scatter / np.sqrt(20) + 1e-4).all()
    assert abs(ours - precise).mean() < 0.5 * abs(theirs - precise).mean()


def test_nothing_depends_on_the_batch_size_and_all_on_the_seed():
    model = net()
    one = expected_gradients(model, IMAGE, BASELINES, samples=23, seed=1, batch_size=1)
    two = expected_gradients(model, IMAGE, BASELINES, samples=23, seed=1, batch_size=100)
    torch.testing.assert_close(one.maps, two.maps)
    np.testing.assert_allclose(one.base, two.base, rtol=1e-5)
    other = expected_gradients(model, IMAGE, BASELINES, samples=23, seed=2, batch_size=100)
    assert not torch.allclose(one.maps, other.maps)


def test_fewer_samples_than_baselines_count_only_those_used():
    found = expected_gradients(linear, IMAGE, BASELINES, samples=2, seed=0, batch_size=8)
    np.testing.assert_allclose(found.maps.sum(dim=(1, 2, 3)), found.output - found.base, rtol=1e-4)
    assert found.evaluations == 2 + 2 + 1


@given(st.integers(1, 9), st.integers(1, 60), st.integers(0, 5))
def test_every_baseline_serves_equally_often_and_places_cover_the_way(baselines, samples, seed):
    which, places = draw_ways(baselines, samples, seed)
    counts = np.bincount(which, minlength=baselines)
    assert counts.sum() == samples
    assert counts.max() - counts.min() <= 1
    assert (np.floor(places * samples).clip(max=samples - 1) == np.arange(samples)).all()
    for number in range(baselines):
        own = np.flatnonzero(which == number)
        assert (own // baselines == np.arange(len(own))).all()
