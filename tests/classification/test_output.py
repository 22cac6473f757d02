import numpy as np
import pytest
import torch

from hpa.classification import ModelConfig, build_model
from hpa.classification.bag_model import BagModelConfig
from hpa.classification.losses import AutomaticLoss, build_loss
from hpa.classification.output import LEAST, as_logits
from hpa.labels import ClassList

ACTIVATIONS = {"relu": np.vectorize(lambda z: max(z, 0.0)), "tanh": np.tanh}
MULTI, SINGLE = ClassList(names=("a", "b", "c")), ClassList(names=("a", "b", "c"), multi_label=False)


def raw(seed=0):
    return torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("output", ["relu", "tanh"])
def test_binary_cross_entropy_is_keras_on_the_clipped_activation(output):
    targets = (torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) < 0.4).double()
    p = np.clip(ACTIVATIONS[output](raw().numpy()), LEAST, 1 - LEAST)
    t = targets.numpy()
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    loss = build_loss(AutomaticLoss(), targets.float().numpy(), MULTI)
    assert loss(as_logits(raw(), output, True), targets).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("output", ["relu", "tanh"])
def test_cross_entropy_is_keras_on_the_activation_over_its_sum(output):
    targets = torch.eye(3).double()[[0, 1, 2, 2, 1, 0]]
    p = np.clip(ACTIVATIONS[output](raw().numpy()), LEAST, None)
    p = p / p.sum(axis=1, keepdims=True)
    expected = -(targets.numpy() * np.log(p)).sum(axis=1).mean()
    loss = build_loss(AutomaticLoss(), targets.float().numpy(), SINGLE)
    assert loss(as_logits(raw(), output, False), targets).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("output", "z"), [("relu", -0.5), ("relu", 1.5), ("tanh", -0.5)])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_nothing_is_learned_where_the_activation_is_clipped(output, z, target):
    value = torch.full((1, 1), z, dtype=torch.float64, requires_grad=True)
    logits = as_logits(value, output, True)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target)).backward()
    assert value.grad.item() == 0


@pytest.mark.parametrize(("output", "slope"), [("relu", 1.0), ("tanh", 1 - np.tanh(0.3) ** 2)])
def test_the_gradient_elsewhere(output, slope):
    value = torch.full((1, 1), 0.3, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.binary_cross_entropy_with_logits(
        as_logits(value, output, True), torch.ones(1, 1).double()
    ).backward()
    p = float(ACTIVATIONS[output](0.3))
    assert value.grad.item() == pytest.approx(-slope / p)


def test_the_usual_output_is_the_same_tensor():
    value = raw()
    assert as_logits(value, "usual", True) is value


def network(output, classes):
    torch.manual_seed(0)
    return build_model(ModelConfig(name="test_resnet", dropout=0, output=output), 3, classes, 32).eval()


@torch.no_grad()
@pytest.mark.parametrize("output", ["relu", "tanh"])
def test_a_network_answers_with_the_activation(output):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8))
    numbers = network("usual", MULTI)(images).numpy()
    expected = np.clip(ACTIVATIONS[output](numbers), 0, 1)
    multi, single = network(output, MULTI), network(output, SINGLE)
    np.testing.assert_allclose(multi.probabilities(multi(images)).numpy(), expected, atol=1e-5)
    some = np.clip(ACTIVATIONS[output](numbers), LEAST, None)
    np.testing.assert_allclose(
        single.probabilities(single(images)).numpy(), some / some.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_maps_that_would_not_add_up_are_refused():
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="model.output=usual"):
        network("relu", MULTI)(images, with_activation=True)
    with pytest.raises(ValueError, match="bags pool logits"):
        BagModelConfig(backbone=ModelConfig(output="tanh"))
