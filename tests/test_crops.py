import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.config import ConfigError, load_config
from hpa.crops import TWO_SCALES, CellScale, CropConfig, FixedScale, Square, crop_cell, crop_cells, place_square

HEIGHT, WIDTH = 40, 60
CELLS = np.zeros((HEIGHT, WIDTH), np.uint16)
CELLS[5:25, 10:20] = 3
CELLS[5:25, 20:34] = 7  # touches 3
CELLS[30:, 50:] = 9  # in the corner
NUCLEI = np.zeros_like(CELLS)
NUCLEI[20:24, 12:16] = 3
NUCLEI[36:, 54:] = 9
PIXELS = np.random.default_rng(0).integers(1, 256, (4, HEIGHT, WIDTH)).astype(np.uint8)


def config(size, *scales, neighbours="kept"):
    return CropConfig(scales=scales, size=size, neighbours=neighbours)


def fixed(side, centre="cell", unit="pixels"):
    return FixedScale(side=side, unit=unit, centre=centre)


def padded(planes, left, top, side):
    wide = np.pad(planes, ((0, 0), (100, 100), (100, 100)))
    return wide[:, top + 100 : top + 100 + side, left + 100 : left + 100 + side]


def test_a_square_of_the_image_is_cut_pixel_by_pixel():
    crops = crop_cells(PIXELS, CELLS, config(16, fixed(16.0)))
    assert crops.shape == (3, 4, 16, 16)
    np.testing.assert_array_equal(crops[0], PIXELS[:, 7:23, 7:23])  # the centre of 3 is at (15, 15)
    np.testing.assert_array_equal(crops[1], PIXELS[:, 7:23, 19:35])
    np.testing.assert_array_equal(crops[2], padded(PIXELS, 47, 27, 16))
    assert (crops[2][:, 13:] == 0).all()  # beyond the image


def test_whole_cells_with_a_margin():
    (crop,) = crop_cells(PIXELS, CELLS, config(30, CellScale(margin=0.25)), cell_ids=[3])
    np.testing.assert_array_equal(crop, padded(PIXELS, 0, 0, 30))  # 20 pixels high, 5 more on every side
    (crop,) = crop_cells(PIXELS, CELLS, config(10, CellScale(margin=0)), cell_ids=[9])
    np.testing.assert_array_equal(crop, PIXELS[:, 30:40, 50:60])


def test_cells_of_any_size_fill_the_crop():
    doubled = np.repeat(np.repeat(PIXELS, 2, axis=1), 2, axis=2)
    labels = np.repeat(np.repeat(CELLS, 2, axis=0), 2, axis=1)
    scale = config(12, CellScale(), neighbours="masked")
    one, two = crop_cells(PIXELS, CELLS, scale, [3]), crop_cells(doubled, labels, scale, [3])
    assert np.abs(one.astype(int) - two.astype(int)).mean() < 6
    (smaller,) = crop_cells(PIXELS, CELLS, config(20, fixed(40.0)), [3])
    expected = [cv2.resize(plane, (20, 20), interpolation=cv2.INTER_AREA) for plane in padded(PIXELS, -5, -5, 40)]
    np.testing.assert_array_equal(smaller, expected)


def test_neighbours_are_masked():
    (crop,) = crop_cells(PIXELS, CELLS, config(20, fixed(20.0), neighbours="masked"), [7])
    cell = padded(CELLS[None], 17, 5, 20)[0] == 7
    np.testing.assert_array_equal(crop > 0, np.broadcast_to(cell, crop.shape))
    np.testing.assert_array_equal(crop, PIXELS[:, 5:25, 17:37] * cell)


def test_masks_beside_kept_neighbours():
    separate = config(20, fixed(20.0), CellScale(margin=0), neighbours="separate")
    (crop,) = crop_cells(PIXELS, CELLS, separate, [7])
    assert crop.shape == (10, 20, 20)
    cell = padded(CELLS[None], 17, 5, 20)[0] == 7
    (kept,) = crop_cells(PIXELS, CELLS, config(20, fixed(20.0), CellScale(margin=0)), [7])
    np.testing.assert_array_equal(crop[[0, 1, 2, 3, 5, 6, 7, 8]], kept)
    for mask in crop[[4, 9]]:
        np.testing.assert_array_equal(mask, np.where(cell, 255, 0))  # both squares are the same


@pytest.mark.parametrize("size", [6, 31, 64])
def test_masks_of_another_size_hold_what_is_half_in_the_cell(size):
    (crop,) = crop_cells(PIXELS, CELLS, config(size, fixed(36.0), neighbours="separate"), [7])
    assert set(np.unique(crop[4])) == {0, 255}
    assert (crop[4] == 255).mean() == pytest.approx(20 * 14 / 36**2, rel=0.35 if size == 6 else 0.1)
    (masked,) = crop_cells(PIXELS, CELLS, config(size, fixed(36.0), neighbours="masked"), [7])
    inside = crop[4] == 255
    assert (masked[:, inside] > 0).all()


def test_the_mask_of_a_tiny_cell_is_not_empty():
    labels = np.zeros_like(CELLS)
    labels[20, 30] = 4
    (crop,) = crop_cells(PIXELS, labels, config(5, fixed(40.0), neighbours="separate"))
    assert (crop[4] == 255).sum() == 1
    away = np.zeros_like(CELLS)
    away[:2, :2] = 4
    away[38:, 58:] = 4  # the square around the middle shows neither end of the cell
    (crop,) = crop_cells(PIXELS, away, config(5, fixed(4.0), neighbours="separate"))
    assert (crop[4] == 0).all()


def test_around_the_nucleus():
    crops = crop_cells(PIXELS, CELLS, config(8, fixed(8.0, "nucleus")), [3, 7, 9], NUCLEI)
    np.testing.assert_array_equal(crops[0], PIXELS[:, 18:26, 10:18])
    np.testing.assert_array_equal(crops[1], PIXELS[:, 11:19, 23:31])  # it has none: around the cell
    np.testing.assert_array_equal(crops[2], padded(PIXELS, 53, 34, 8))


def test_two_scales_are_eight_channels():
    both = CropConfig(scales=TWO_SCALES, size=16)
    crops = crop_cells(PIXELS, CELLS, both, nucleus_map=NUCLEI, pixel_size=2.56)
    assert crops.shape == (3, 8, 16, 16)
    nucleus = CropConfig(scales=TWO_SCALES[:1], size=16)
    np.testing.assert_array_equal(crops[:, :4], crop_cells(PIXELS, CELLS, nucleus, None, NUCLEI, 2.56))
    np.testing.assert_array_equal(crops[:, 4:], crop_cells(PIXELS, CELLS, CropConfig(size=16)))


def test_micrometres():
    um = crop_cells(PIXELS, CELLS, config(16, fixed(1.6, unit="um")), pixel_size=0.1)
    np.testing.assert_array_equal(um, crop_cells(PIXELS, CELLS, config(16, fixed(16.0))))
    with pytest.raises(ValueError, match="needs the image's pixel size"):
        crop_cells(PIXELS, CELLS, config(16, fixed(1.6, unit="um")))
    with pytest.raises(ValueError, match="needs the image's pixel size"):
        crop_cells(PIXELS, CELLS, config(16, fixed(1.6, unit="um")), pixel_size=0.0)


def test_cells_come_in_the_order_asked_for():
    crops = crop_cells(PIXELS, CELLS, config(8, fixed(8.0)))
    np.testing.assert_array_equal(crop_cells(PIXELS, CELLS, config(8, fixed(8.0)), [9, 3, 3]), crops[[2, 0, 0]])
    assert crop_cells(PIXELS, CELLS, config(8, fixed(8.0)), []).shape == (0, 4, 8, 8)
    assert crop_cells(PIXELS, np.zeros_like(CELLS), CropConfig()).shape == (0, 4, 128, 128)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(0, 29), st.integers(0, 29), st.integers(1, 80), st.booleans()
)
def test_any_square_equals_the_padded_image(height, width, row, column, side, is_masked):
    pixels = PIXELS[:2, :height, :width]
    labels = np.zeros((height, width), np.uint16)
    labels[row % height, column % width] = 1
    labels[0, 0] = 1
    settings_ = config(side, fixed(float(side)), neighbours="masked" if is_masked else "kept")
    (crop,) = crop_cells(pixels, labels, settings_)
    box = (0, 0, column % width + 1, row % height + 1)
    left, top, _ = place_square(box, settings_.scales[0])
    expected = padded(pixels, left, top, side)
    if is_masked:
        expected = expected * (padded(labels[None], left, top, side) == 1)
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("margin", [0, 0.1, 2.0])
def test_the_square_holds_the_whole_cell(margin):
    for box in ((0, 0, 1, 1), (3, 5, 10, 30), (0, 7, 301, 8)):
        left, top, side = place_square(box, CellScale(margin=margin))
        assert left <= box[0]
        assert top <= box[1]
        assert box[2] <= left + side
        assert box[3] <= top + side


def test_a_square_has_a_pixel_at_least():
    assert place_square((0, 0, 1, 1), fixed(0.01)) == Square(0, 0, 1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"no \[1, 2\]"):
        crop_cells(PIXELS, CELLS, CropConfig(), [1, 3, 2])
    with pytest.raises(ValueError, match="need the label map of the nuclei"):
        crop_cells(PIXELS, CELLS, config(8, fixed(8.0, "nucleus")))
    with pytest.raises(ValueError, match="label map of the image's height and width"):
        crop_cells(PIXELS, CELLS[:-1], CropConfig())
    with pytest.raises(ValueError, match="label map of the image's height and width"):
        crop_cells(PIXELS, CELLS, config(8, fixed(8.0, "nucleus")), nucleus_map=NUCLEI[1:])
    with pytest.raises(ValueError, match="cell's box"):
        crop_cell(PIXELS, CELLS, 3, CropConfig(), (5, 5, 5, 9))
    with pytest.raises(ValueError, match="nucleus's box"):
        crop_cell(PIXELS, CELLS, 3, CropConfig(), (5, 5, 6, 9), (-1, 0, 3, 3))


def test_what_the_scales_need():
    assert not CropConfig().needs_nuclei
    assert not CropConfig().needs_pixel_size
    assert CropConfig(scales=TWO_SCALES).needs_nuclei
    assert CropConfig(scales=TWO_SCALES).needs_pixel_size
    assert not config(8, fixed(3.0, "nucleus")).needs_pixel_size


def test_configuration():
    loaded = load_config(CropConfig, overrides=["scales=[{kind: fixed, side: 64, unit: pixels}, {kind: cell}]"])
    assert loaded.scales == (FixedScale(side=64, unit="pixels"), CellScale())
    for override in (
        "size=0",
        "scales=[]",
        "scales=[{kind: other}]",
        "scales=[{kind: fixed, side: 0}]",
        "neighbours=no",
    ):
        with pytest.raises(ConfigError):
            load_config(CropConfig, overrides=[override])
