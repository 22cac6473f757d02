import os
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.classification import augmentation
from hpa.classification.augmentation import (
    AugmentationConfig,
    build_augmentation,
    build_movement,
    normal_numbers,
    warp_matrix,
)
from hpa.config import ConfigError, validate

OFF = {"dihedral": "none", "warp": 0, "intensity": 0, "blur": 0, "noise": 0, "cutout": 0, "downscale": 0}
ALL = {"warp": 1, "intensity": 1, "blur": 1, "noise": 1, "cutout": 1, "downscale": 1}


def only(**settings):
    return build_augmentation(validate(AugmentationConfig, OFF | settings))


def cells(channels=4, height=64, width=64, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (channels, height, width), dtype=np.uint8)
    return np.stack([cv2.GaussianBlur(plane, (0, 0), 2) for plane in pixels])


def generator(seed=0):
    return np.random.default_rng(seed)


@given(channels=st.integers(1, 7), height=st.integers(28, 70), width=st.integers(28, 70), seed=st.integers(0, 2**32))
def test_shape_and_type_stay_and_the_input_too(channels, height, width, seed):
    pixels = cells(channels, height, width)
    before = pixels.copy()
    changed = build_augmentation(validate(AugmentationConfig, ALL))(pixels, generator(seed))
    assert (changed.shape, changed.dtype) == (pixels.shape, np.uint8)
    assert changed.flags.c_contiguous
    assert not np.shares_memory(changed, pixels)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("settings", [{}, ALL])
def test_the_seed_alone_decides(settings):
    config = validate(AugmentationConfig, settings)
    first, second = build_augmentation(config), pickle.loads(pickle.dumps(build_augmentation(config)))
    pixels = cells()
    for seed in (5, 3, 4):  # what came before has no influence
        second(pixels, generator(seed))
    results = [first(pixels, generator(seed)) for seed in range(12)]
    np.random.seed(0)  # noqa: NPY002 - global random state has no influence either
    for seed in (11, 2, 7):
        np.testing.assert_array_equal(second(pixels, generator(seed)), results[seed])
    assert len({result.tobytes() for result in results}) > 10


def test_everything_off_is_a_copy():
    pixels = cells()
    changed = only()(pixels, generator())
    np.testing.assert_array_equal(changed, pixels)
    assert not np.shares_memory(changed, pixels)


def test_read_only_pixels_are_taken():
    pixels = cells()
    pixels.flags.writeable = False
    for augment in (only(), build_augmentation(validate(AugmentationConfig, ALL))):
        assert augment(pixels, generator()).flags.writeable


def symmetries(pixels):
    turned = [np.rot90(pixels, turns, axes=(1, 2)) for turns in range(4)]
    return [image for turn in turned for image in (turn, turn[:, :, ::-1])]


def test_all_eight_symmetries_occur_equally_often_and_nothing_else():
    pixels, augment = cells(height=32, width=32), only(dihedral="all")
    known = [image.tobytes() for image in map(np.ascontiguousarray, symmetries(pixels))]
    drawn = [known.index(augment(pixels, generator(seed)).tobytes()) for seed in range(400)]
    assert (np.bincount(drawn, minlength=8) > 25).all()


def test_horizontal_flips_only_and_images_that_are_not_square():
    pixels = cells(3, 30, 40)
    kept = {pixels.tobytes(), np.ascontiguousarray(pixels[:, :, ::-1]).tobytes()}
    assert {only(dihedral="horizontal")(pixels, generator(seed)).tobytes() for seed in range(30)} == kept
    assert len({only(dihedral="all")(pixels, generator(seed)).tobytes() for seed in range(60)}) == 4


def test_a_warp_matrix_turns_about_the_point_and_brings_it_to_the_middle():
    matrix = warp_matrix(100, 60, angle=90.0, zoom=2.0, centre=np.array([20.0, 70.0]))
    # In coordinates of cv2, the middle of the first pixel is 0.
    np.testing.assert_allclose(matrix @ [19.5, 69.5, 1], [29.5, 49.5], atol=1e-9)
    # A point one pixel to the right goes two up: counter-clockwise with y downwards.
    np.testing.assert_allclose(matrix @ [20.5, 69.5, 1], [29.5, 47.5], atol=1e-9)
    np.testing.assert_allclose(warp_matrix(100, 60, 0.0, 1.0, np.array([30.0, 50.0])), np.eye(2, 3), atol=1e-9)


def test_rotation_scale_and_crop_move_all_channels_alike():
    plane = cells(1)[0]
    changed = only(warp=1)(np.stack([plane] * 3), generator(1))
    np.testing.assert_array_equal(changed[0], changed[1])
    np.testing.assert_array_equal(changed[0], changed[2])
    assert (changed[0] != plane).mean() > 0.5


def test_a_crop_is_a_part_of_the_image():
    ramp = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (1, 128, 1))
    spans = []
    for seed in range(40):
        changed = only(warp=1, rotation=0, scale=(1, 1), crop=0.5)(ramp, generator(seed))[0].astype(int)
        assert (changed == changed[0]).all()
        assert (np.diff(changed[0]) >= 0).all(), "the border is not mirrored into a crop"
        spans.append((changed[0, -1] - changed[0, 0]) / 255)
    assert 0.48 < min(spans) < 0.6
    assert 0.9 < max(spans) <= 1


def test_shrinking_mirrors_the_border():
    changed = only(warp=1, rotation=0, scale=(0.5, 0.5), crop=1)(np.full((1, 64, 64), 90, np.uint8), generator())
    assert (changed == 90).all()


def test_intensity_is_linear_per_channel_and_within_its_limits():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (6, 4, 1))
    gains = []
    for seed in range(40):
        changed = only(intensity=1, brightness=0.1, contrast=0.25)(ramp, generator(seed))[:, 0].astype(float)
        gains += list((changed[:, 160] - changed[:, 60]) / 100)
        assert (np.abs(changed[:, 0]) <= 26).all()
        np.testing.assert_allclose(changed[:, 110], (changed[:, 160] + changed[:, 60]) / 2, atol=1)
    assert 0.74 < min(gains) < 0.8 < 1.2 < max(gains) < 1.26
    assert len(set(gains)) > 20, "each channel has its own"


def test_noise_has_the_strength_asked_for_and_is_independent_between_channels():
    grey = np.full((3, 200, 200), 120, np.uint8)
    strengths = []
    for seed in range(60):
        noise = only(noise=1, noise_sigma=0.05)(grey, generator(seed)).astype(float) - 120
        strengths.append(noise.std())
        if noise.std() > 2:
            assert np.abs(np.corrcoef(noise.reshape(3, -1)) - np.eye(3)).max() < 0.05
            assert np.abs(noise.mean()) < 0.2
    assert max(strengths) == pytest.approx(0.05 * 255, rel=0.1)
    assert min(strengths) < 2


def test_the_table_of_normal_numbers_is_normal():
    numbers = normal_numbers(1 << 21) / 25
    assert numbers.mean() == pytest.approx(0, abs=0.003)
    assert numbers.std() == pytest.approx(1, rel=0.003)
    assert (np.abs(numbers) > 2).mean() == pytest.approx(0.0455, rel=0.1)


def sharpness(pixels):
    return float(np.abs(np.diff(pixels.astype(float), axis=2)).mean())


@pytest.mark.parametrize("settings", [{"blur": 1, "blur_sigma": (1, 2)}, {"downscale": 1, "downscale_factor": 0.4}])
def test_blur_and_downscaling_take_sharpness_and_keep_the_mean(settings):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 96, 96), dtype=np.uint8)
    for seed in range(10):
        changed = only(**settings)(pixels, generator(seed))
        assert sharpness(changed) < 0.9 * sharpness(pixels)
        np.testing.assert_allclose(changed.mean(axis=(1, 2)), pixels.mean(axis=(1, 2)), atol=2)


def test_cutout_blackens_the_same_rectangles_in_all_channels():
    pixels = np.full((4, 100, 100), 200, np.uint8)
    areas = []
    for seed in range(40):
        changed = only(cutout=1, cutout_holes=2, cutout_side=0.3)(pixels, generator(seed))
        assert (changed == changed[:1]).all()
        assert set(np.unique(changed)) == {0, 200}
        areas.append((changed[0] == 0).mean())
    assert 0 < min(areas) < max(areas) <= 2 * 0.3**2


def test_transforms_are_independent_of_one_another():
    """Albumentations seeds all transforms of a chain alike, so that rare ones would come together."""
    augment = only(cutout=0.5, noise=0.5, noise_sigma=0.05)
    grey = np.full((1, 64, 64), 100, np.uint8)
    results = [augment(grey, generator(seed)) for seed in range(200)]
    holes = np.array([(result == 0).sum() > 5 for result in results])
    noise = np.array([len(np.unique(result)) > 3 for result in results])
    assert abs(np.corrcoef(holes, noise)[0, 1]) < 0.25
    assert 0.3 < holes.mean() < 0.7


@pytest.mark.parametrize("settings", [{"scale": (1.2, 0.8)}, {"crop": 0.0}, {"warp": 1.5}, {"dihedral": "some"}])
def test_settings_outside_their_range_are_errors(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        validate(AugmentationConfig, settings)


def test_importing_does_not_ask_the_network():
    program = (
        "import importlib.util, socket, sys\n"
        "def refuse(*a, **k): print('asked'); raise OSError\n"
        "socket.getaddrinfo = refuse\n"
        "spec = importlib.util.spec_from_file_location('augmentation', sys.argv[1])\n"  # without the package: faster
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    command = [sys.executable, "-c", program, augmentation.__file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")


@pytest.mark.parametrize("settings", [ALL, OFF, {}, {"dihedral": "horizontal", "warp": 0.5, "crop": 0.5}])
def test_label_maps_are_moved_by_what_moves_the_image(settings, monkeypatch):
    config = validate(AugmentationConfig, settings)
    drawn = []
    draw = augmentation.Warp.get_params_dependent_on_data

    def recorded(self, params, data):
        drawn.append(draw(self, params, data))
        return drawn[-1]

    monkeypatch.setattr(augmentation.Warp, "get_params_dependent_on_data", recorded)
    numbers = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((16, 16))).astype(np.uint8)[None]
    moves = 0
    for seed in range(20):
        build_augmentation(config)(cells(seed=seed), generator(seed))
        moved = build_movement(config)(numbers, generator(seed))
        of_image, of_map = drawn[-2:]
        assert of_image["symmetry"] == of_map["symmetry"]
        assert np.array_equal(of_image["matrix"], of_map["matrix"])
        assert moved.shape == numbers.shape
        assert set(np.unique(moved)) <= set(range(1, 17))  # never a mixture, and nothing comes in from outside
        moves += not np.array_equal(moved, numbers)
    assert moves == 0 if settings is OFF else moves > 5
