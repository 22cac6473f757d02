import pytest
import torch
from torch import nn

from hpa.classification import ModelConfig, build_model
from hpa.classification.twin_model import build_twins
from hpa.explain import feature_maps as module
from hpa.labels import ClassList

IMAGES = torch.rand(2, 4, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
CLASSES = torch.tensor([[0, 2], [1, 0]])
ABC = ClassList(names=tuple("abc"))


def feature_maps(model, images, classes, layer=None):
    return module.feature_maps(model, images, classes, lambda features: features, layer)


class Steps(nn.Module):
    """Two convolutions, the activation after each in place; no `forward_features`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(4, 6, 3, stride=4)
        self.second = nn.Conv2d(6, 8, 3, stride=2)
        self.unused = nn.Conv2d(4, 6, 3, stride=4)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 3)

    def rest(self, first):
        return self.head(torch.relu(self.second(torch.relu(first))).mean(dim=(2, 3)))

    def forward(self, images):
        return self.head(self.act(self.second(self.act(self.first(images)))).mean(dim=(2, 3)))


def _expected(maps, rest):
    maps = maps.detach().requires_grad_()
    scores = rest(maps).gather(1, CLASSES)
    return maps.detach(), [torch.autograd.grad(column.sum(), maps, retain_graph=True)[0] for column in scores.unbind(1)]


def _assert_same(found, maps, gradients):
    assert len(found) == len(gradients) == 2
    for features, gradient in zip(found, gradients, strict=True):
        assert gradient.any()
        torch.testing.assert_close(features.maps, maps)
        torch.testing.assert_close(features.gradients, gradient)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def test_a_layer_that_others_change_in_place_keeps_its_output():
    model = Steps()
    maps, gradients = _expected(model.first(IMAGES), model.rest)
    assert maps.min() < 0
    _assert_same(feature_maps(model, IMAGES, CLASSES, "first"), maps, gradients)


def test_the_layers_before_are_not_kept():
    model = Steps()
    seen = []
    handle = model.first.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    feature_maps(model, IMAGES, CLASSES, "second")
    handle.remove()
    assert seen == [False]
    assert torch.is_grad_enabled()


def test_the_last_map_of_any_network_is_found():
    model = Steps()
    with pytest.raises(ValueError, match="the layer act to work once on an image, but it worked 2 times"):
        feature_maps(model, IMAGES, CLASSES)
    model = nn.Sequential(model.first, model.second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head)
    for default, named in zip(
        feature_maps(model, IMAGES, CLASSES), feature_maps(model, IMAGES, CLASSES, "2"), strict=True
    ):
        assert torch.equal(default.maps, named.maps)
        assert torch.equal(default.gradients, named.gradients)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_a_classifiers_last_features(name):
    torch.manual_seed(0)
    model = build_model(ModelConfig(name=name), 4, ABC).eval()
    maps, gradients = _expected(model.forward_features(IMAGES), lambda found: model.logits(model.pool(found)))
    _assert_same(feature_maps(model, IMAGES, CLASSES), maps, gradients)


def test_a_network_that_recomputes_activations():
    torch.manual_seed(0)
    model = build_model(ModelConfig(name="test_resnet", gradient_checkpointing=True), 4, ABC).train()
    plain = build_model(ModelConfig(name="test_resnet"), 4, ABC).eval()
    plain.load_state_dict(model.state_dict())
    for layer in (None, "backbone.layer3"):
        for ours, theirs in zip(
            feature_maps(model, IMAGES, CLASSES, layer), feature_maps(plain, IMAGES, CLASSES, layer), strict=True
        ):
            torch.testing.assert_close(ours.gradients, theirs.gradients)
    assert model.backbone.grad_checkpointing
    assert model.training


def test_two_networks_that_answer_as_one_stand_side_by_side():
    torch.manual_seed(0)
    twins = build_twins(ModelConfig(name="test_resnet"), 4, ABC).eval()
    found = feature_maps(twins, IMAGES, CLASSES)[0]
    ours, theirs = twins.first.forward_features(IMAGES), twins.second.forward_features(IMAGES)
    torch.testing.assert_close(found.maps, torch.cat([ours, theirs], dim=1).detach())
    assert found.gradients.shape == found.maps.shape


def test_maps_with_features_last():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(4, 6, 8, stride=8)
            self.turn = nn.Identity()
            self.head = nn.Linear(6, 3)

        def forward(self, images):
            return self.head(self.turn(torch.relu(self.convolution(images)).permute(0, 2, 3, 1)).mean(dim=(1, 2)))

    model = Last()
    last = feature_maps(model, IMAGES, CLASSES, "turn")[0]
    expected = torch.relu(model.convolution(IMAGES)).detach()
    torch.testing.assert_close(last.maps, expected)
    weight = model.head.weight.detach()[CLASSES[:, 0], :, None, None].expand_as(expected) / 64
    torch.testing.assert_close(last.gradients, weight)


def test_a_transformer_that_reads_its_class_token_needs_an_earlier_layer():
    torch.manual_seed(0)
    model = build_model(ModelConfig(name="test_vit"), 4, ABC, 160).eval()
    images = torch.rand(2, 4, 160, 160) * 255
    with pytest.raises(ValueError, match=r"reads another token alone.*layer=(backbone\.blocks\.\d+\.norm1)$") as caught:
        feature_maps(model, images, CLASSES)
    found = feature_maps(model, images, CLASSES, str(caught.value).rpartition("layer=")[2])[0]
    assert found.maps.shape == (2, 64, 10, 10)
    assert found.gradients.any()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("frist", "one of the network's modules, but got 'frist'; did you mean 'first'"),
        ("unused", "worked 0 times"),
        ("act", "worked 2 times"),
        ("head", r"expected a feature map from head for images of 64 × 64 pixels, but got an output of shape \(2, 3\)"),
    ],
)
def test_layers_that_cannot_be_mapped(layer, message):
    model = Steps()
    with pytest.raises(ValueError, match=message):
        feature_maps(model, IMAGES, CLASSES, layer)
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()


def test_a_layer_without_part_in_the_logits():
    class Aside(Steps):
        def forward(self, images):
            self.unused(images)
            return super().forward(images)

    with pytest.raises(ValueError, match="expected logits that depend on the layer's output"):
        feature_maps(Aside(), IMAGES, CLASSES, "unused")


def test_a_network_without_any_map():
    with pytest.raises(ValueError, match="no layer whose output is a feature map"):
        feature_maps(nn.Sequential(nn.Flatten(), nn.Linear(4 * 64 * 64, 3)), IMAGES, CLASSES)
