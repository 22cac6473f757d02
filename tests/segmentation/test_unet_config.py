import pytest

from hpa.config import Config, ConfigError, load_config, validate
from hpa.segmentation.unet_config import UnetAugmentationConfig, UnetConfig, UnetModelConfig, UnetSamplesConfig


class Sections(Config):
    model: UnetModelConfig = UnetModelConfig()
    samples: UnetSamplesConfig = UnetSamplesConfig()


def test_defaults_are_those_of_hpacellseg_where_it_has_them():
    samples = UnetSamplesConfig()
    assert samples.channels == ("red", "yellow", "blue")
    assert samples.pixel_size == pytest.approx(0.08 / 0.25)
    assert samples.border / samples.pixel_size == pytest.approx(4)


def test_the_prefix_of_segmentation_models_is_optional():
    assert UnetModelConfig(encoder="tu-resnet18") == UnetModelConfig(encoder="resnet18")


def test_sections_load_from_yaml(tmp_path):
    path = tmp_path / "unet.yaml"
    path.write_text("model: {encoder: resnet18, pretrained: {kind: pip}}\nsamples: {size: 128, channels: [grey]}\n")
    found = load_config(Sections, path, ["samples.augmentation.scale=[1, 2]"])
    assert found.model.pretrained.kind == "pip"
    assert found.samples == UnetSamplesConfig(
        size=128, channels=("grey",), augmentation=UnetAugmentationConfig(scale=(1, 2))
    )


def test_a_bare_no_is_a_precision(tmp_path):
    assert load_config(UnetConfig, overrides=["run=runs/unet", "precision=no"]).precision == "no"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"model": {"encoder": "resnet81"}}, "did you mean"),
        ({"model": {"depth": 4}}, "expected 4 widths"),
        ({"model": {"depth": 6}}, "model.depth"),
        ({"samples": {"size": 100}}, "multiple of 32"),
        ({"samples": {"size": 0}}, "samples.size"),
        ({"samples": {"channels": []}}, "samples.channels"),
        ({"samples": {"border": 0}}, "samples.border"),
        ({"samples": {"augmentation": {"gain": [2, 1]}}}, "least value first"),
        ({"samples": {"augmentation": {"warp": 1.5}}}, "samples.augmentation.warp"),
    ],
)
def test_what_cannot_be_used_is_refused(values, problem):
    with pytest.raises(ConfigError, match=problem):
        validate(Sections, values)
