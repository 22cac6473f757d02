import cv2
import numpy as np
import pytest
import torch

from hpa.artifacts import ArtifactError, build, make_record, write_json
from hpa.segmentation.maps import ProbabilityMaps
from hpa.segmentation.unet import build_unet
from hpa.segmentation.unet_config import UnetConfig, UnetContent, UnetModelConfig
from hpa.segmentation.unet_input import prepare_pixels
from hpa.segmentation.unet_prediction import CONTENT, TRAIN_SEGMENTATION, UnetSegmenter, open_unet, predict_unet
from hpa.training import BEST, CheckpointError, save_weights

MODEL = UnetModelConfig(encoder="test_efficientnet", decoder_channels=(16, 16, 8, 8, 8))
CONTENT_OF_RUN = UnetContent(
    channels=("red", "yellow", "blue"), pixel_size=0.32, targets=("nuclei", "cells"), model=MODEL
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = build_unet(MODEL, 3)
    with torch.no_grad():
        # Statistics of real images, without which an untrained network's outputs are nearly constant.
        for _ in range(20):
            made(torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8))
        made.network.segmentation_head[0].weight.mul_(20)
    return made.eval()


def image(seed=0, height=70, width=90, channels=3):
    draws = np.random.default_rng(seed)
    small = draws.integers(0, 200, (channels, height // 8 + 1, width // 8 + 1), dtype=np.uint8)
    return np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in small])


def test_maps_are_the_networks_probabilities(model):
    pixels = image(height=64, width=96)
    (found,) = predict_unet(model, [pixels], 1.0)
    with torch.no_grad():
        logits = model(torch.from_numpy(prepare_pixels(pixels, 64, 96))[None])
    expected = logits[0].softmax(dim=1).numpy() * 255
    assert isinstance(found, ProbabilityMaps)
    assert (found.height, found.width) == (64, 96)
    for planes, values in zip((found.nuclei, found.cells), expected, strict=True):
        assert planes.dtype == np.uint8
        np.testing.assert_allclose(planes, values, atol=0.51)
        np.testing.assert_allclose(planes.sum(axis=0, dtype=int), 255, atol=2)
        assert planes.std() > 10


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [((1728, 96), 0.25, (432, 24)), ((70, 90), 1.0, (70, 90)), ((5, 7), 0.25, (1, 2)), ((1, 1), 1.0, (1, 1))],
)
def test_any_size(model, size, scale, expected):
    pixels = np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8)
    (found,) = predict_unet(model, [pixels], scale)
    assert found.nuclei.shape == found.cells.shape == (3, *expected)
    assert (found.height, found.width) == size
    (full,) = predict_unet(model, [pixels], scale, full_size=True)
    assert full.nuclei.shape == full.cells.shape == (3, *size)
    enlarged = cv2.resize(found.nuclei[1], size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(full.nuclei[1], enlarged)


def test_the_companions_in_a_batch_make_no_difference(model):
    images = [image(seed, height, width) for seed, (height, width) in enumerate([(64, 64)] * 3 + [(40, 64), (64, 64)])]
    together = predict_unet(model, images, 1.0, batch_size=2)
    for pixels, found in zip(images, together, strict=True):
        (alone,) = predict_unet(model, [pixels], 1.0)
        assert found.nuclei.shape[1:] == pixels.shape[1:]
        np.testing.assert_allclose(found.nuclei.astype(int), alone.nuclei, atol=1)
        np.testing.assert_allclose(found.cells.astype(int), alone.cells, atol=1)
    assert predict_unet(model, [], 1.0) == []


def test_exposure_makes_little_difference(model):
    pixels = image(height=64, width=64)
    bright, dim = predict_unet(model, [pixels, pixels // 3], 1.0)
    assert np.abs(bright.cells.astype(int) - dim.cells).mean() < 8


def test_half_precision_is_near(model):
    pixels = image()
    (full,), (half,) = (predict_unet(model, [pixels], 0.5, precision=precision) for precision in ("no", "bf16"))
    assert np.abs(full.cells.astype(int) - half.cells).mean() < 8


def test_a_network_for_nuclei_alone_gives_no_cells():
    (found,) = predict_unet(build_unet(MODEL, 3, ("nuclei",)), [image()], 1.0)
    assert found.cells is None


def test_a_model_in_training_is_not_changed_by_predicting():
    made = build_unet(MODEL, 3)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    predict_unet(made, [image()], 1.0)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_what_cannot_be_computed_is_refused(model):
    with pytest.raises(ValueError, match="scale: expected a number above 0"):
        predict_unet(model, [image()], 0.0)
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        predict_unet(model, [image()], 1.0, precision="fp16")
    with pytest.raises(ValueError, match="3 channels"):
        predict_unet(model, [image(channels=4)], 1.0)


def write_run(folder, model, content=CONTENT_OF_RUN, stage=TRAIN_SEGMENTATION):
    with build(folder, make_record(stage, {"model": MODEL})) as partial:
        save_weights(partial / BEST, model, {})
        write_json(partial / CONTENT, content.model_dump(mode="json"))


def test_a_finished_training_is_opened_and_reads_its_channels_by_name(model, tmp_path):
    write_run(tmp_path / "run", model)
    segmenter = open_unet(UnetConfig(run=tmp_path / "run", pixel_size=0.16), "cpu")
    assert isinstance(segmenter, UnetSegmenter)
    pixels = image(channels=4)
    (found,) = segmenter.predict([pixels], ("red", "green", "blue", "yellow"))
    (expected,) = predict_unet(model, [pixels[[0, 3, 2]]], 0.5)
    np.testing.assert_array_equal(found.nuclei, expected.nuclei)
    np.testing.assert_array_equal(found.cells, expected.cells)
    with pytest.raises(
        ValueError, match=r"reads the channels \['red', 'yellow', 'blue'\], but the images have \['grey"
    ):
        segmenter.predict([pixels[:1]], ("grey",))


def test_the_first_weights_are_not_sought_again(model, tmp_path):
    weights = {"kind": "file", "path": tmp_path / "gone.safetensors"}
    content = CONTENT_OF_RUN.model_copy(update={"model": UnetModelConfig(**{**dict(MODEL), "pretrained": weights})})
    write_run(tmp_path / "run", model, content)
    assert open_unet(UnetConfig(run=tmp_path / "run"), "cpu").content == content


def test_what_is_no_finished_training_is_refused(model, tmp_path):
    config = UnetConfig(run=tmp_path / "run")
    with pytest.raises(ArtifactError, match="`hpa train_segmentation` makes it"):
        open_unet(config)
    write_run(tmp_path / "other", model, stage="train_image_level")
    with pytest.raises(ArtifactError, match="train_image_level"):
        open_unet(UnetConfig(run=tmp_path / "other"))
    write_run(tmp_path / "run", model)
    (tmp_path / "run" / BEST).write_bytes(b"\x80\x04pickle")
    with pytest.raises(CheckpointError, match="pickle"):
        open_unet(config)
    write_json(tmp_path / "run" / CONTENT, {"channels": ["red"]})
    with pytest.raises(ValueError, match=r"run.json: does not describe a U-Net"):
        open_unet(config)
