import copy

import captum.attr
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hpa.classification import ModelConfig, build_model
from hpa.explain.gradients import gradient
from hpa.explain.guided import guided_backpropagation
from hpa.labels import ClassList

IMAGES = torch.rand(2, 4, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
CLASSES = torch.tensor([[0, 2], [1, 0]])
ACTIVATIONS = {
    functional.relu: nn.ReLU,
    functional.relu6: nn.ReLU6,
    functional.silu: nn.SiLU,
    functional.gelu: nn.GELU,
    functional.hardswish: nn.Hardswish,
    functional.mish: nn.Mish,
    functional.leaky_relu: nn.LeakyReLU,
    functional.elu: nn.ELU,
    functional.celu: nn.CELU,
    functional.selu: nn.SELU,
}


class _Rule(torch.autograd.Function):
    """The definition, written down: f'(x) · g · 1[x > 0] · 1[g > 0]."""

    @staticmethod
    def forward(context, values, activation):
        context.save_for_backward(values)
        context.activation = activation
        return activation(values.detach())

    @staticmethod
    def backward(context, above):
        (values,) = context.saved_tensors
        with torch.enable_grad():
            leaf = values.detach().requires_grad_()
            (slope,) = torch.autograd.grad(context.activation(leaf).sum(), leaf)
        return slope * above * (values > 0) * (above > 0), None


class _RuleForFunctions(TorchFunctionMode):
    """Puts the rule in the place of torch's activation functions."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = {name: value for name, value in (kwargs or {}).items() if name != "inplace"}
        if function is functional.hardtanh and (kwargs["min_val"], kwargs["max_val"]) == (0, 6):  # what nn.ReLU6 calls
            function, kwargs = functional.relu6, {}
        if function in ACTIVATIONS:
            return _Rule.apply(args[0], lambda values: function(values, **kwargs))
        return function(*args, **kwargs)


def _by_rule(model, images, classes):
    images = images.clone().requires_grad_()
    with _RuleForFunctions():
        scores = model(images).gather(1, classes)
    columns = [torch.autograd.grad(column.sum(), images, retain_graph=True)[0] for column in scores.unbind(1)]
    return torch.stack(columns, dim=1)


class Net(nn.Module):
    """Convolutions with the activation in between, as a module, a function, in place, or fused to a norm."""

    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(4, 6, 3, stride=4)
        self.second = nn.Conv2d(6, 8, 3, stride=2)
        self.head = nn.Linear(8, 3)
        self.activation = activation

    def forward(self, images):
        features = self.activation(self.first(images / 128 - 1) * 5)
        return self.head(self.activation(self.second(features)).mean(dim=(2, 3)))


def _assert_close(found, expected):
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda function: function.__name__)
def test_every_activation_follows_the_definition(function):
    model = Net(function)
    expected = _by_rule(model, IMAGES, CLASSES)
    found = guided_backpropagation(model, IMAGES, CLASSES)
    _assert_close(found, expected)
    plain = gradient(model, IMAGES, CLASSES)
    assert (found - plain).abs().mean() > 0.1 * plain.abs().mean()


@pytest.mark.parametrize(
    "function", [function for function in ACTIVATIONS if function is not functional.gelu], ids=lambda f: f.__name__
)
def test_modules_functions_and_work_in_place_are_the_same(function):
    expected = guided_backpropagation(Net(function), IMAGES, CLASSES)
    inplace = Net(lambda values: function(values, inplace=True))
    torch.testing.assert_close(guided_backpropagation(inplace, IMAGES, CLASSES), expected)
    module = Net(ACTIVATIONS[function](inplace=True))
    torch.testing.assert_close(guided_backpropagation(module, IMAGES, CLASSES), expected)


@pytest.mark.parametrize(
    ("written_out", "function"),
    [
        (lambda values: values * torch.sigmoid(values), functional.silu),
        (lambda values: values.sigmoid().mul(values), functional.silu),
        (lambda values: values * functional.hardsigmoid(values), functional.hardswish),
    ],
)
def test_activations_that_are_written_out_are_seen(written_out, function):
    expected = guided_backpropagation(Net(function), IMAGES, CLASSES)
    _assert_close(guided_backpropagation(Net(written_out), IMAGES, CLASSES), expected)


def test_with_relu_it_is_that_of_captum():
    model = Net(nn.ReLU())
    model.activation = nn.ReLU()
    theirs = nn.Sequential(model.first, nn.ReLU(), model.second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    theirs = nn.Sequential(theirs, model.head)
    ours = guided_backpropagation(theirs, IMAGES, CLASSES)
    oracle = captum.attr.GuidedBackprop(copy.deepcopy(theirs))
    with pytest.warns(UserWarning, match="backward hooks"):
        expected = [oracle.attribute(IMAGES.clone().requires_grad_(), column) for column in CLASSES.unbind(1)]
    _assert_close(ours, torch.stack(expected, dim=1).detach())


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",  # ReLU as a module
        "test_efficientnet",  # SiLU fused into the batch norm, gates by sigmoid
        "mobilenetv3_small_050",  # Hardswish, ReLU, gates by hard sigmoid
        "test_convnext",  # GELU
        "tf_efficientnet_lite0",  # ReLU6
        "test_nfnet",  # SiLU with a factor
    ],
)
def test_the_activations_of_timms_networks_are_found(name):
    torch.manual_seed(0)
    model = build_model(ModelConfig(name=name), 4, ClassList(names=tuple("abc"))).eval()
    found = guided_backpropagation(model, IMAGES, CLASSES)
    _assert_close(found, _by_rule(model, IMAGES, CLASSES))
    assert not torch.allclose(found, gradient(model, IMAGES, CLASSES), rtol=1e-3, atol=0)


@pytest.mark.parametrize("activation", [torch.tanh, torch.sigmoid, lambda values: functional.hardtanh(values)])
def test_a_network_without_a_supported_activation_is_an_error(activation):
    with pytest.raises(ValueError, match="the result would be a plain gradient"):
        guided_backpropagation(Net(activation), IMAGES, CLASSES)


def test_a_sigmoid_that_gates_something_else_is_no_activation():
    with pytest.raises(ValueError, match="plain gradient"):
        gate = Net(lambda values: values * torch.sigmoid(values.mean(dim=1, keepdim=True)))
        guided_backpropagation(gate, IMAGES, CLASSES)


def test_an_activation_beside_the_way_to_the_pixels_does_not_count():
    class Beside(Net):
        def forward(self, images):
            return super().forward(images) + functional.relu(self.head.bias)

    with pytest.raises(ValueError, match="plain gradient"):
        guided_backpropagation(Beside(torch.tanh), IMAGES, CLASSES)


def test_what_cannot_be_seen_into_is_an_error():
    with pytest.raises(ValueError, match="cannot see into _RuleBackward"):
        guided_backpropagation(Net(lambda values: _Rule.apply(values, functional.relu)), IMAGES, CLASSES)


def test_afterwards_gradients_are_plain_again():
    model = Net(nn.SiLU()).train()
    before = gradient(model, IMAGES, CLASSES)
    guided_backpropagation(model, IMAGES, CLASSES)
    with pytest.raises(ValueError, match="class numbers"):
        guided_backpropagation(model, IMAGES, CLASSES + 2)
    assert torch.equal(gradient(model, IMAGES, CLASSES), before)
    assert model.training
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
