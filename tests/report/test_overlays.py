import numpy as np
import pytest

from hpa.report.overlays import CELL, FLAGGED, NUCLEUS, boundaries, draw_cells


def squares():
    """Two cells side by side with a nucleus each, on black."""
    cells = np.zeros((40, 60), np.uint16)
    cells[5:35, 5:30] = 1
    cells[5:35, 30:55] = 300  # above 255: uint8 would wrap
    nuclei = np.zeros_like(cells)
    nuclei[15:25, 12:22] = 1
    nuclei[15:25, 38:48] = 300
    return np.zeros((40, 60, 3), np.uint8), cells, nuclei


def test_boundaries_are_the_pixels_of_instances_that_have_another_neighbour():
    cells = squares()[1]
    expected = np.zeros(cells.shape, bool)
    for row, column in np.argwhere(cells > 0):
        around = (
            cells[max(0, row - 1) : row + 2, column].tolist() + cells[row, max(0, column - 1) : column + 2].tolist()
        )
        expected[row, column] = any(value != cells[row, column] for value in around)
    assert (boundaries(cells) == expected).all()


def test_every_outline_has_its_colour():
    picture, cells, nuclei = squares()
    drawn = draw_cells(picture, cells, nuclei, colours={300: FLAGGED})

    assert tuple(drawn[5, 10]) == CELL
    assert tuple(drawn[5, 40]) == FLAGGED
    assert tuple(drawn[15, 15]) == NUCLEUS
    assert tuple(drawn[10, 10]) == (0, 0, 0)
    assert (picture == 0).all()  # the caller's picture is not drawn on


def test_texts_stand_in_the_middle_of_their_cells():
    picture, cells, _ = squares()
    plain, written = draw_cells(picture, cells), draw_cells(picture, cells, texts={1: "7"}, longest=60)

    changed = np.argwhere((plain != written).any(axis=2))
    assert len(changed)
    assert np.abs(changed.mean(axis=0) - [19.5, 17]).max() < 5


def test_texts_of_cells_at_the_edge_stay_inside():
    cells = np.zeros((60, 200), np.uint16)
    cells[20:40, :4], cells[20:40, 196:] = 1, 2
    drawn = draw_cells(np.zeros((60, 200, 3), np.uint8), cells, texts={1: "Cytosol", 2: "Cytosol"})
    half = drawn.shape[1] // 2
    left, right = ((part > 200).all(axis=2).sum() for part in (drawn[:, 4:half], drawn[:, half:-4]))
    assert left > 50
    assert right > 50  # as much of the word is seen on either side


def test_a_text_for_a_cell_that_is_not_there_is_left_out():
    picture, cells, _ = squares()
    assert (draw_cells(picture, cells, texts={5: "x", 999: "y"}, longest=60) == draw_cells(picture, cells)).all()


def test_large_pictures_shrink_without_mixing_cell_numbers():
    _, cells, nuclei = squares()
    large = [np.kron(array, np.ones((20, 20), array.dtype)) for array in (cells, nuclei)]
    drawn = draw_cells(np.zeros((800, 1200, 3), np.uint8), *large, colours={300: FLAGGED}, longest=300)

    assert drawn.shape == (200, 300, 3)
    colours = {tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}
    assert colours == {(0, 0, 0), CELL, FLAGGED, NUCLEUS}


def test_a_label_map_of_another_size_is_refused():
    picture, cells, nuclei = squares()
    with pytest.raises(ValueError, match="expected nuclei of size"):
        draw_cells(picture, cells, nuclei[1:])


def test_an_image_without_cells_stays_as_it_is():
    picture = np.full((10, 10, 3), 7, np.uint8)
    assert (draw_cells(picture, np.zeros((10, 10), np.uint16)) == picture).all()


def test_a_small_picture_is_enlarged_for_words_alone():
    picture, cells, _ = squares()
    assert draw_cells(picture, cells, longest=120).shape == picture.shape
    assert draw_cells(picture, cells, texts={1: "7"}, longest=120).shape == (80, 120, 3)
