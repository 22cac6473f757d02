import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.segmentation.nuclei import NucleiConfig, estimate_radius, label_nuclei, otsu_threshold


def field(radius, number=20, size=300, brightness=(60, 200), noise=4.0, seed=0):
    """Disks apart from one another, each with its own brightness: plane and truth."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    plane, truth = np.full((size, size), 8.0), np.zeros((size, size), np.uint16)
    for _ in range(2000):
        row, column = draws.uniform(radius, size - radius, 2)
        near = (rows - row) ** 2 + (columns - column) ** 2
        if truth.max() == number:
            break
        if not truth[near < (1.6 * radius) ** 2].any():
            truth[near < radius**2] = truth.max() + 1
            plane[near < radius**2] += draws.uniform(*brightness)
    plane = cv2.GaussianBlur(plane, (0, 0), 1) + draws.normal(0, noise, plane.shape)
    return np.clip(plane, 0, 255).astype(np.uint8), truth


def f1(found, truth, least=0.5):
    """F1 at an IoU, by counting every pair."""
    hits = 0
    for number in np.unique(truth[truth > 0]):
        mask = truth == number
        other = found == np.bincount(found[mask]).argmax()
        hits += (mask & other).sum() / (mask | other).sum() > least
    return 2 * hits / (len(np.unique(truth[truth > 0])) + len(np.unique(found[found > 0])))


@pytest.mark.parametrize("radius", [4, 7, 12, 20])
def test_radius_at_any_magnification(radius):
    plane, _ = field(float(radius))
    assert 0.75 < estimate_radius(plane) / radius < 1.35


def test_radius_of_a_large_image_and_within_bounds():
    plane, _ = field(20.0)
    large = cv2.resize(plane, (1500, 1500), interpolation=cv2.INTER_LINEAR)
    assert 0.75 < estimate_radius(large) / 100 < 1.35
    assert 30 <= estimate_radius(plane, (30.0, 60.0)) <= 60
    assert estimate_radius(plane, (6.0, 9.0)) <= 9


@pytest.mark.parametrize("radius", [4, 7, 12, 20])
def test_nuclei_of_differing_brightness(radius):
    plane, truth = field(float(radius))
    found = label_nuclei(plane, estimate_radius(plane))
    assert found.dtype == np.uint16
    assert f1(found, truth) > 0.95


def test_large_nuclei_are_found_as_well_as_small_ones():
    plane, truth = field(20.0)
    large = cv2.resize(plane, (900, 750), interpolation=cv2.INTER_LINEAR)
    found = label_nuclei(large, 60.0)
    assert found.shape == (750, 900)
    assert f1(found, cv2.resize(truth, (900, 750), interpolation=cv2.INTER_NEAREST)) > 0.95


def ellipse(shape, row, column, down, right):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return ((rows - row) / down) ** 2 + ((columns - column) / right) ** 2 < 1


def test_touching_nuclei_are_parted_and_one_with_texture_is_not():
    shape = (120, 220)
    pair = ellipse(shape, 60, 40, 20, 20) | ellipse(shape, 60, 74, 20, 20)
    long = ellipse(shape, 60, 150, 20, 40)
    plane = np.where(pair | long, 120.0, 5.0)
    plane[ellipse(shape, 60, 150, 18, 6)] = 60  # a dark band across the long nucleus
    plane = cv2.GaussianBlur(plane, (0, 0), 2).astype(np.uint8)
    found = label_nuclei(plane, 20.0)
    assert found.max() == 3
    assert len(np.unique(found[long & (found > 0)])) == 1
    assert found[60, 40] != found[60, 74]
    parted = label_nuclei(plane, 20.0, NucleiConfig(convex=1.0))
    assert parted.max() == 4


def test_a_nucleus_cut_by_the_edge_and_a_speck():
    shape = (100, 100)
    plane = np.where(ellipse(shape, 0, 50, 20, 20), 150, 10) + np.where(ellipse(shape, 70, 50, 4, 4), 150, 0)
    found = label_nuclei(plane.astype(np.uint8), 20.0)
    assert found.max() == 1
    assert found[5, 50] == 1
    assert found[70, 50] == 0


@pytest.mark.parametrize("shape", [(1, 1), (2, 90), (33, 5), (64, 64)])
def test_nothing_to_find(shape):
    for plane in (np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)):
        radius = estimate_radius(plane)
        assert radius > 0
        assert not label_nuclei(plane, radius).any()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 1000), st.floats(1, 50))
def test_any_image_and_radius(height, width, seed, radius):
    plane = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    assert estimate_radius(plane) > 0
    found = label_nuclei(plane, radius)
    assert found.shape == plane.shape
    assert set(np.unique(found)) - {0} == set(range(1, found.max() + 1))


def test_otsu_is_that_of_scikit_image():
    from skimage.filters import threshold_otsu

    values = np.random.default_rng(0).normal(0, 1, (50, 60)).astype(np.float32)
    values[:20] += 8
    assert abs(otsu_threshold(values) - threshold_otsu(values)) < 2 * np.ptp(values) / 255
    assert otsu_threshold(np.full((3, 3), 7, np.float32)) == 7


def test_real_nuclei(sample_data):
    scores = []
    for path in sorted((sample_data / "dsb2018" / "images").glob("*.png"))[::3]:
        plane = cv2.imread(str(path))[..., 0]
        truth = cv2.imread(str(sample_data / "dsb2018" / "labels" / path.name), cv2.IMREAD_UNCHANGED)
        scores.append(f1(label_nuclei(plane, estimate_radius(plane)), truth))
    assert np.mean(scores) > 0.8
