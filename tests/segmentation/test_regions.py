import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import closing, disk
from skimage.segmentation import find_boundaries

from hpa.segmentation import regions

masks = npst.arrays(bool, npst.array_shapes(min_dims=2, max_dims=2, max_side=12))
label_maps = npst.arrays(
    np.uint16, npst.array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.sampled_from([0, 1, 2, 7, 65535])
)


def checkerboard(side: int) -> np.ndarray:
    return np.indices((side, side)).sum(axis=0) % 2 == 0


@given(masks, st.floats(0, 5), st.sampled_from([4, 8]))
def test_components_are_those_of_scikit_image_without_the_small_ones(mask, min_area, connectivity):
    expected = label(mask, connectivity=connectivity // 4)
    areas = np.bincount(expected.ravel())
    expected[areas[expected] < min_area] = 0
    found = regions.components(mask, min_area, connectivity)
    assert found.dtype == np.uint16
    assert (found > 0).tolist() == (expected > 0).tolist()
    pairs = {(a, b) for a, b in zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True) if a}
    assert sorted(a for a, _ in pairs) == list(range(1, len(pairs) + 1))
    assert len({b for _, b in pairs}) == len(pairs)


def test_more_regions_than_a_label_map_holds():
    noise = checkerboard(400)
    assert regions.connected(noise).max() == 80000
    with pytest.raises(ValueError, match="at most 65535 instances in an image, but got 80000"):
        regions.components(noise)
    noise[100:120, 100:120] = True
    assert regions.components(noise, min_area=300.0).max() == 1


@given(label_maps)
def test_areas_are_counted_for_every_number(label_map):
    expected = np.bincount(label_map.ravel())
    assert regions.region_areas(label_map).tolist() == expected.tolist()
    assert regions.region_areas(label_map.astype(np.int32)).tolist() == expected.tolist()


@given(st.data())
def test_pairs_are_all_that_share_a_pixel(data):
    first = data.draw(label_maps)
    second = data.draw(npst.arrays(np.uint16, first.shape, elements=st.sampled_from([0, 3, 65535])))
    expected = sorted({(a, b) for a, b in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True) if a and b})
    assert [tuple(pair) for pair in regions.pairs(first, second).tolist()] == expected
    assert [tuple(pair) for pair in regions.pairs(first.astype(np.int32), second).tolist()] == expected


def test_regions_go_to_the_seed_inside_them():
    mask = np.zeros((20, 60), bool)
    mask[5:15, 5:15] = mask[5:15, 20:50] = mask[2:4, 52:58] = True
    seeds = np.zeros(mask.shape, np.uint16)
    seeds[8, 8], seeds[10, 24], seeds[10, 45] = 9, 300, 4
    seeds[0, 0] = 77  # outside the mask
    height = np.full(mask.shape, 200, np.uint8)
    height[:, 30] = 10  # a valley between the two seeds of one region
    shared = regions.share_out(mask, seeds, height)
    assert (shared[5:15, 5:15] == 9).all()
    assert (shared[5:15, 20:30] == 300).all()
    assert (shared[5:15, 31:50] == 4).all()
    assert not shared[~mask].any()
    assert not shared[2:4, 52:58].any()
    coarse = regions.share_out(mask, seeds * (seeds != 77), height, step=4)
    assert (coarse > 0).tolist() == (shared > 0).tolist()


def test_a_coarse_flood_differs_little_and_loses_no_seed():
    rows, columns = np.mgrid[:120, :200]
    mask = ((rows - 60) ** 2 + (columns - 70) ** 2 < 50**2) | ((rows - 60) ** 2 + (columns - 130) ** 2 < 50**2)
    height = np.maximum(0, 255 - 4 * np.minimum(np.abs(columns - 70), np.abs(columns - 130))).astype(np.uint8)
    seeds = np.zeros(mask.shape, np.uint16)
    seeds[50:70, 60:80], seeds[50:70, 120:140] = 1, 2
    fine, coarse = (regions.share_out(mask, seeds, height, step) for step in (1, 4))
    assert set(np.unique(coarse[mask])) == {1, 2}
    assert (coarse != fine).mean() < 0.02
    seeds[seeds == 2] = 0
    seeds[61, 131] = 2  # lies between every fourth pixel
    assert (regions.share_out(mask, seeds, height, 4) == regions.share_out(mask, seeds, height, 1)).all()


@settings(deadline=None)
@given(label_maps, st.booleans())
def test_nearest_agrees_with_the_exact_distance(label_map, apart):
    labels = regions.shrink(label_map) if apart else label_map
    found = regions.nearest(labels, apart)
    if not labels.any():
        assert not found.any()
        return
    assert (found[labels > 0] == labels[labels > 0]).all()
    distances = {value: ndimage.distance_transform_edt(labels != value) for value in np.unique(labels[labels > 0])}
    least = np.min(list(distances.values()), axis=0)
    chosen = np.choose(np.searchsorted(list(distances), found), list(distances.values()))
    assert (chosen <= least * 1.03 + 1e-6).all()  # OpenCV's 5x5 distances are 2 % off at most


@given(label_maps)
def test_shrink_takes_the_boundaries_of_scikit_image(label_map):
    assert regions.shrink(label_map).tolist() == np.where(find_boundaries(label_map), 0, label_map).tolist()


@given(masks)
def test_holes_are_those_of_scipy(mask):
    assert regions.fill_holes(mask).tolist() == ndimage.binary_fill_holes(mask).tolist()


@given(masks, st.sampled_from([0.0, 0.4, 1.0, 2.0, 3.0]))
def test_closing_is_that_of_scikit_image(mask, radius):
    framed = np.pad(mask, 8)  # the two treat the image's edge differently
    expected = closing(framed, disk(radius)) if radius >= 1 else framed
    assert regions.close(framed, radius).tolist() == expected.tolist()
    assert (regions.close(mask, radius) >= mask).all()


def test_enlarging_makes_no_new_numbers():
    labels = np.zeros((20, 30), np.uint16)
    labels[2:10, 2:15], labels[5:18, 15:28] = 500, 9
    larger = regions.enlarge(labels, 81, 119)
    assert larger.shape == (81, 119)
    assert set(np.unique(larger)) == {0, 9, 500}
    assert abs((larger == 500).mean() - (labels == 500).mean()) < 0.01
    assert regions.enlarge(labels, 20, 30) is labels
