"""Examples: composites at page size, and what their tiles say."""

import cv2
import numpy as np
import pytest

from hpa.images import CHANNELS, composite
from hpa.report import Example, make_example
from hpa.report.gallery import colours, decision_tile, encode, plain_tile, protein_channel


def decode(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_colours_survive() -> None:
    pixels = np.zeros((4, 64, 64), np.uint8)
    pixels[2] = 200  # nuclei are blue
    example = make_example("x", pixels, CHANNELS, ["Nucleoplasm"])
    np.testing.assert_array_equal(example.picture[0, 0], composite(pixels, CHANNELS)[0, 0])
    assert np.abs(decode(encode(example.picture))[100, 100].astype(int) - [0, 0, 200]).max() <= 4


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 28), (252, 252)),
        ((512, 256), (256, 128)),
        ((3, 900), (1, 256)),
        ((256, 100), (256, 100)),
        ((1, 1), (256, 256)),
    ],
)
def test_page_size(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    example = make_example("x", np.full((1, *shape), 9, np.uint8), ("grey",), [])
    assert example.picture.shape == (*expected, 3)
    assert decode(encode(example.picture)).shape == (*expected, 3)


def test_protein_alone_is_the_green_channel_brightened() -> None:
    pixels = np.zeros((4, 32, 32), np.uint8)
    pixels[0], pixels[1, :16] = 255, 10
    example = make_example("x", pixels, CHANNELS, [])
    assert example.protein is not None
    assert example.protein[0, 0].tolist() == [255] * 3
    assert example.protein[-1, -1].tolist() == [0] * 3
    assert make_example("x", pixels[:3], CHANNELS[:3], []).protein is None
    assert make_example("x", np.zeros_like(pixels), CHANNELS, []).protein.max() == 0


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(CHANNELS, 1), (("green", "yellow", "red", "blue"), 0), (("red", "green", "blue"), None), (("grey",), None)],
)
def test_only_the_atlas_has_a_protein_channel(channels: tuple[str, ...], expected: int | None) -> None:
    assert protein_channel(channels) == expected


def test_tiles_say_what_was_decided() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    known = {"a": 0.91, "b": 0.2, "c": 0.6}
    right = decision_tile(Example("id", picture, ("a",), ("a",), known))
    assert (right.state, right.mark) == ("right", "✓ right")
    assert right.lines == [("labelled", "a"), ("predicted", "a (0.91)")]
    wrong = decision_tile(Example("id", picture, ("a", "b"), ("a", "c"), known))
    assert wrong.state == "wrong"
    assert wrong.lines[2:] == [("missed", "b (0.20)"), ("not labelled", "c")]
    nothing = decision_tile(Example("id", picture, ("a",), ()))
    assert nothing.lines == [("labelled", "a"), ("predicted", "nothing"), ("missed", "a")]
    assert plain_tile(Example("id", picture, ())).lines == [("", "no label")]


def test_colours_are_explained_by_channels() -> None:
    assert "protein of interest green" in colours(CHANNELS)
    assert colours(("red", "green", "blue")) == "Colours show the channels red, green, blue."
