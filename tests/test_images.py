from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hpa.images import CHANNELS, GREY, RGB, ClaheConfig, ImageError, composite, equalize, load_image, read_image, resize

NOISE = np.random.default_rng(0).integers(0, 256, (40, 61, 4), np.uint8)


def write(path: Path, image: np.ndarray, **options) -> Path:
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, image)
    else:
        Image.fromarray(image).save(path, **options)
    return path


def write_channels(folder, planes, suffix=".png"):
    return [write(folder / f"x_{name}{suffix}", plane) for name, plane in zip(CHANNELS, planes, strict=True)]


def test_four_files_give_four_planes_in_order(tmp_path):
    paths = write_channels(tmp_path, np.moveaxis(NOISE, 2, 0))
    assert np.array_equal(read_image(paths, CHANNELS), np.moveaxis(NOISE, 2, 0))


def test_colour_pictures_of_one_signal_give_that_signal(tmp_path):
    signal = cv2.GaussianBlur(NOISE[:, :, 0], (9, 9), 3)
    colours = {"red": (0,), "green": (1,), "blue": (2,), "yellow": (0, 1)}
    paths = []
    for name, planes in colours.items():
        picture = np.zeros((*signal.shape, 3), np.uint8)
        picture[:, :, list(planes)] = signal[:, :, np.newaxis]
        paths.append(write(tmp_path / f"x_{name}.jpg", picture, quality=100, subsampling=0))
    pixels = read_image(paths, CHANNELS)
    assert np.abs(pixels.astype(int) - signal).max() <= 4


def test_one_file_as_grey_as_colour_and_as_four_channels(tmp_path):
    grey = write(tmp_path / "grey.png", NOISE[:, :, 0])
    colour = write(tmp_path / "colour.png", NOISE[:, :, :3])
    four = write(tmp_path / "four.png", NOISE)
    stack = write(tmp_path / "stack.tif", NOISE)
    planes = np.moveaxis(NOISE, 2, 0)
    assert np.array_equal(read_image([grey], GREY), planes[:1])
    assert np.array_equal(read_image([grey], RGB), planes[[0, 0, 0]])
    assert np.array_equal(read_image([colour], RGB), planes[:3])
    assert np.array_equal(read_image([four], RGB), planes[:3])
    assert np.array_equal(read_image([four], CHANNELS), planes)
    assert np.array_equal(read_image([stack], CHANNELS), planes)
    luminance = planes[:3].T @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(read_image([colour], GREY)[0] - luminance.T).max() <= 1
    assert np.array_equal(read_image([four], GREY), read_image([colour], GREY))


@pytest.mark.parametrize(("channels", "planes"), [(CHANNELS, 3), (CHANNELS, 1), (("a", "b"), 3)])
def test_a_file_without_the_wanted_channels(tmp_path, channels, planes):
    path = write(tmp_path / "x.png", NOISE[:, :, :planes].squeeze())
    with pytest.raises(ImageError, match="expected the channels") as caught:
        read_image([path], channels)
    assert caught.value.problem == "channel_count"


def test_channels_of_different_size(tmp_path):
    paths = write_channels(tmp_path, np.moveaxis(NOISE, 2, 0))
    write(paths[2], NOISE[:-1, :, 0])
    with pytest.raises(ImageError, match="blue 61 x 39") as caught:
        read_image(paths, CHANNELS)
    assert caught.value.problem == "size_mismatch"


def test_the_number_of_paths_must_fit():
    with pytest.raises(ValueError, match="one path"):
        read_image(["a", "b"], CHANNELS)


@pytest.mark.parametrize("factor", [256, 257])
def test_16_bits_come_back_as_the_8_they_were_made_from(tmp_path, factor):
    wide = NOISE[:, :, 0].astype(np.uint16) * factor
    pixels, bits = load_image([write(tmp_path / "x.tif", wide)], GREY)
    assert np.array_equal(pixels[0], NOISE[:, :, 0])
    assert bits == 16


def test_16_bit_files_that_hold_8_bits_are_recognised(tmp_path):
    planes = np.moveaxis(NOISE, 2, 0).astype(np.uint16)
    pixels, bits = load_image(write_channels(tmp_path, planes), CHANNELS)
    assert np.array_equal(pixels, planes)
    assert bits == 8


def test_the_depth_is_decided_over_all_channels(tmp_path):
    planes = np.moveaxis(NOISE, 2, 0).astype(np.uint16)
    planes[3] *= 200  # yellow alone shows that the image has 16 bits: the dark channels stay dark
    pixels, bits = load_image(write_channels(tmp_path, planes), CHANNELS)
    assert bits == 16
    assert pixels[:3].max() == 0
    assert np.array_equal(pixels[3], planes[3] // 256)


def test_the_depth_can_be_said(tmp_path):
    path = write(tmp_path / "x.tif", NOISE[:, :, 0].astype(np.uint16) * 16)
    assert np.array_equal(read_image([path], GREY, 12)[0], NOISE[:, :, 0])
    assert np.array_equal(read_image([path], GREY, 16)[0], NOISE[:, :, 0] // 16)
    with pytest.raises(ImageError, match="values of 8 bits") as caught:
        read_image([path], GREY, 8)
    assert caught.value.problem == "pixel_type"


def test_an_image_of_an_npz_file(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=np.stack([NOISE[:, :, :3]] * 2))
    pixels = read_image([f"{tmp_path}/x.npz::train_images/1"], RGB)
    assert np.array_equal(pixels, np.moveaxis(NOISE[:, :, :3], 2, 0))


@given(st.integers(28, 200), st.integers(28, 200), st.sampled_from([8, 16]))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_size_is_read_as_written(tmp_path, width, height, bits):
    image = np.random.default_rng(width).integers(0, 1 << bits, (height, width)).astype(np.uint8 if bits == 8 else "u2")
    image[0, 0] = (1 << bits) - 1
    path = write(tmp_path / "x.png", image)
    assert np.array_equal(read_image([path], GREY)[0], image >> (bits - 8))


def test_composite_adds_yellow_to_red_and_green():
    pixels = np.array([10, 20, 30, 240], np.uint8).reshape(4, 1, 1)
    assert composite(pixels, CHANNELS).ravel().tolist() == [250, 255, 30]


def test_composite_of_colour_and_of_grey():
    pixels = np.moveaxis(NOISE, 2, 0)
    assert np.array_equal(composite(pixels[:3], RGB), NOISE[:, :, :3])
    assert np.array_equal(composite(pixels[:1], GREY), NOISE[:, :, [0, 0, 0]])
    with pytest.raises(ValueError, match="2 planes"):
        composite(pixels[:2], RGB)


def test_shrinking_by_a_whole_factor_is_the_mean_of_the_blocks():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 96), np.uint8)
    expected = pixels.reshape(2, 16, 4, 16, 6).mean(axis=(2, 4))
    assert np.abs(resize(pixels, 16, "stretch") - expected).max() <= 0.5 + 1e-6


def test_a_side_that_grows_does_not_spoil_the_one_that_shrinks():
    pixels = np.zeros((1, 8, 640), np.uint8)
    pixels[0, :, ::2] = 200  # stripes that an interpolation without averages would keep or lose
    assert set(np.unique(resize(pixels, 64, "stretch"))) == {100}


def test_pad_keeps_the_aspect_and_fills_with_zero():
    result = resize(np.full((1, 20, 40), 255, np.uint8), 16, "pad")
    assert (result[0, 4:12] == 255).all()
    assert result.sum() == 8 * 16 * 255


def test_crop_takes_the_middle():
    pixels = np.zeros((1, 20, 60), np.uint8)
    pixels[0, :, 20:40] = 255
    assert (resize(pixels, 10, "crop") == 255).all()


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.sampled_from(["stretch", "pad", "crop"]))
@settings(max_examples=40, deadline=None)
def test_resize_always_gives_the_size_and_stays_in_range(height, width, size, fit):
    pixels = np.random.default_rng(height).integers(50, 100, (3, height, width)).astype(np.uint8)
    result = resize(pixels, size, fit)
    assert result.shape == (3, size, size)
    assert result.max() < 100
    if fit != "pad":
        assert result.min() >= 50


def test_resize_to_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        resize(np.zeros((1, 4, 4), np.uint8), 0)


def test_real_images(sample_data):
    train = sample_data / "hpa2021" / "train"
    paths = [train / f"000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0_{name}.png" for name in CHANNELS]
    pixels, bits = load_image(paths, CHANNELS)
    assert pixels.shape == (4, 2048, 2048)
    assert bits == 8
    for plane, path in zip(pixels, paths, strict=True):
        assert np.array_equal(plane, np.asarray(Image.open(path)))


def test_real_images_of_other_kinds(sample_data):
    shapes = set()
    for path in sorted((sample_data / "chest_xray3").rglob("*.*"))[::5]:
        shapes.add(read_image([path], GREY).shape[0])
        assert read_image([path], RGB).shape[0] == 3
    assert shapes == {1}


def test_equalising_raises_the_contrast_of_every_plane_by_itself():
    rng = np.random.default_rng(0)
    faint = rng.integers(0, 12, (64, 64), dtype=np.uint8)
    strong = rng.integers(0, 256, (64, 64), dtype=np.uint8)
    pixels = np.stack([faint, strong, np.zeros((64, 64), np.uint8)])
    before = pixels.copy()
    found = equalize(pixels, ClaheConfig(clip=40, tiles=2))
    assert (pixels == before).all()
    assert found[0].std() > 4 * faint.std()
    assert (equalize(pixels[:1], ClaheConfig(clip=40, tiles=2))[0] == found[0]).all(), "other planes play no part"
    assert np.ptp(found[2]) == 0
    assert equalize(pixels, ClaheConfig(clip=1, tiles=2))[0].std() < found[0].std(), "the clip limits the contrast"


@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 1, 1), (4, 17, 9)])
def test_small_images_can_be_equalised_too(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = equalize(pixels, ClaheConfig())
    assert found.shape == shape
    assert found.dtype == np.uint8
