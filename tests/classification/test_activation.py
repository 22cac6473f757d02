import copy

import pytest
import torch
from torch import nn

from hpa.classification.activation import activation_maps, find_layout
from hpa.classification.model import ModelConfig, build_model
from hpa.labels import ClassList

CLASSES = ClassList(names=("a", "b", "c"))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def noise(size=96, count=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, size, size), dtype=torch.uint8, generator=generator)


def network(name="test_resnet", pooling="default"):
    torch.manual_seed(0)
    model = build_model(ModelConfig(name=name, pooling=pooling, dropout=0.5), 4, CLASSES).eval()
    with torch.no_grad():
        model.head.weight.normal_()
        model.head.bias.normal_()
    return model


@pytest.mark.parametrize("pooling", ["default", "avg", "gem"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_nfnet", "resnetv2_18", "densenet121"])
@torch.no_grad()
def test_the_mean_of_a_map_and_the_bias_are_the_logit(name, pooling):
    model = network(name, pooling)
    logits, maps = model(noise(), with_activation=True)
    assert torch.equal(logits, model(noise()))
    assert maps.shape == (2, 3, 3, 3)
    assert maps.std(dim=(2, 3)).min() > 0
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + model.head.bias, logits, rtol=1e-4, atol=1e-4)


def test_generalised_mean_with_another_power():
    model = network(pooling="gem")
    power = next(parameter for name, parameter in model.named_parameters() if name.endswith("power"))
    with torch.no_grad():
        power.fill_(4.5)
        logits, maps = model(noise(), with_activation=True)
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + model.head.bias, logits, rtol=1e-4, atol=1e-4)


def test_maps_have_a_gradient_and_reduced_precision_works():
    model = network().train()
    with torch.autocast("cpu", torch.bfloat16):
        logits, maps = model(noise(), with_activation=True)
    (maps.float().square().sum() + logits.float().sum()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


class Mean(nn.Module):
    """Stands for a backbone with its features last."""

    def __init__(self, axes):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.axes = axes

    def forward_head(self, features, pre_logits):
        return features.mean(dim=self.axes)


@torch.no_grad()
def test_features_may_be_the_last_axis():
    head = nn.Linear(5, 3)
    features = torch.randn(2, 3, 4, 5)
    backbone = Mean((1, 2))
    assert find_layout(Mean((2, 3)), 5, "x") == "channels_first"
    assert find_layout(backbone, 5, "x") == "channels_last"
    maps = activation_maps(backbone, head, features, "channels_last")
    assert maps.shape == (2, 3, 3, 4)
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + head.bias, head(features.mean(dim=(1, 2))))


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        ("test_vit", "default"),
        ("test_convnext", "default"),
        ("mobilenetv3_small_050", "default"),
        ("mobilenetv3_small_050", "gem"),
        ("test_resnet", "max"),
        ("test_resnet", "avgmax"),
        ("test_resnet", "catavgmax"),
    ],
)
def test_other_networks_are_refused_with_a_remedy(name, pooling):
    model = network(name, pooling)
    with pytest.raises(ValueError, match="choose a convolutional backbone"):
        model(noise(160 if name == "test_vit" else 96), with_activation=True)


def test_the_question_changes_nothing():
    model = network("densenet121").train()
    before = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    find_layout(model.backbone, model.embedding_size, "densenet121")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
