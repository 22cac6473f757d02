"""Maps as pictures: colours by sign, outlines by truth."""

import numpy as np
import pytest

from hpa.report.attribution_maps import AGAINST, FOR, OTHER, SHOWS, enlarged, grey_below, map_picture, outline

BLACK = np.zeros((8, 8), np.float32)


def test_what_speaks_for_is_orange_and_what_speaks_against_blue() -> None:
    values = np.zeros((8, 8), np.float32)
    values[:, :3], values[:, 5:] = 2, -2
    picture = map_picture(values, BLACK, longest=8)
    assert picture[4, 0].tolist() == list(FOR)
    assert picture[4, 7].tolist() == list(AGAINST)
    assert picture[4, 4].max() == 0


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_scale_of_a_map_does_not_matter(scale: float) -> None:
    values = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    expected = map_picture(values, BLACK).astype(int)
    found = map_picture((values * np.float32(scale)).astype(np.float32), BLACK).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_a_map_of_nothing_is_the_picture_below() -> None:
    below = np.full((8, 8), 0.5, np.float32)
    picture = map_picture(np.zeros((8, 8), np.float32), below, longest=16)
    assert picture.shape == (16, 16, 3)
    assert len(np.unique(picture)) == 1


def test_one_bright_pixel_of_many_is_seen() -> None:
    values = np.zeros((64, 64), np.float32)
    values[10, 20] = 1
    assert map_picture(values, np.zeros((64, 64), np.float32), longest=64)[10, 20].tolist() == list(FOR)


def test_cells_that_show_the_class_are_outlined_green() -> None:
    cells = np.zeros((20, 20), np.uint16)
    cells[2:8, 2:8], cells[12:18, 12:18] = 300, 7
    drawn = outline(np.zeros((20, 20, 3), np.uint8), cells, [300])
    strength = {colour: (np.array(colour) * 0.75).astype(np.uint8).tolist() for colour in (SHOWS, OTHER)}
    found = {tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}
    assert found == {(0, 0, 0), tuple(strength[SHOWS]), tuple(strength[OTHER])}
    assert drawn[:10, :10].max() == strength[SHOWS][1]
    assert drawn[:10, :10].any()
    assert not drawn[9:11].any()


def test_below_is_the_protein_or_the_mean() -> None:
    pixels = np.zeros((4, 8, 8), np.uint8)
    pixels[1, :4] = 100
    below = grey_below(pixels, ("red", "green", "blue", "yellow"))
    assert below[0, 0] == 1
    assert below[7, 0] == 0
    grey = grey_below(np.full((1, 8, 8), 50, np.uint8), ("grey",))
    assert (grey == 1).all()


def test_pictures_that_are_not_square_keep_their_shape() -> None:
    assert enlarged(np.zeros((10, 20, 3), np.uint8), 100).shape == (50, 100, 3)
