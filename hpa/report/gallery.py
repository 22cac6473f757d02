"""Examples for a person to look at: four-colour composites with what was labelled and what was predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np

from hpa.arrays import Pixels, Plane, UInt8
from hpa.images import CHANNELS, composite
from hpa.report.page import Tile

Picture: TypeAlias = UInt8[np.ndarray, "_ _ 3"]
"""An RGB picture of any size: fitting to the page changes it."""

TILE = 256
"""Longest side of an example on a page, in pixels; smaller images are enlarged without smoothing."""

QUALITY = 88
"""Of the JPEG files: they are for looking at, nothing is measured on them."""

PROTEIN = "green"
"""The channel that shows the protein of interest."""


@dataclass(frozen=True, eq=False)
class Example:
    """One image with its truth and what the model said.

    Attributes:
        image_id: shown below the picture.
        picture: RGB.
        true: names of the classes it is labelled with.
        predicted: names of the classes decided for.
        probabilities: of the classes by name, as many as are known; those named are shown.
        protein: the protein of interest alone, as a grey picture; None where the image has no such channel.
    """

    image_id: str
    picture: Picture
    true: tuple[str, ...]
    predicted: tuple[str, ...] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)
    protein: Picture | None = None

    @property
    def right(self) -> bool:
        """Whether exactly the labelled classes were predicted."""
        return set(self.true) == set(self.predicted)


def protein_channel(channels: Sequence[str]) -> int | None:
    """Number of the channel that shows the protein of interest; None where these are not the atlas's four.

    The green of a photograph in red, green and blue is no protein.
    """
    return list(channels).index(PROTEIN) if set(channels) == set(CHANNELS) else None


def make_example(
    image_id: str,
    pixels: Pixels,
    channels: Sequence[str],
    true: Sequence[str],
    predicted: Sequence[str] = (),
    probabilities: Mapping[str, float] | None = None,
) -> Example:
    """An example from an image's pixels: the composite is made, at page size."""
    picture = _fit(composite(pixels, tuple(channels)), TILE)
    known = dict(probabilities or {})
    number = protein_channel(channels)
    protein = None if number is None else _alone(pixels[number])
    return Example(image_id, picture, tuple(true), tuple(predicted), known, protein)


def decision_tile(example: Example) -> Tile:
    """A tile that says right or wrong, what is labelled, what was predicted, and how likely each was held to be."""
    missed = [name for name in example.true if name not in example.predicted]
    added = [name for name in example.predicted if name not in example.true]
    lines = [("labelled", ", ".join(example.true) or "nothing"), ("predicted", _likely(example.predicted, example))]
    if not example.right:
        lines += [("missed", _likely(missed, example))] if missed else []
        lines += [("not labelled", ", ".join(added))] if added and set(added) != set(example.predicted) else []
    return Tile(
        encode(example.picture),
        name=example.image_id,
        lines=lines,
        mark="✓ right" if example.right else "✗ wrong",
        state="right" if example.right else "wrong",
        second=None if example.protein is None else encode(example.protein),
    )


def plain_tile(example: Example) -> Tile:
    """A tile with the labels alone, for data that nobody has trained on."""
    return Tile(encode(example.picture), name=example.image_id, lines=[("", ", ".join(example.true) or "no label")])


def colours(channels: Sequence[str]) -> str:
    """A sentence on what the colours of a composite show.

    >>> colours(("grey",))
    'Pictures are shown as they are.'
    """
    if set(channels) == set(CHANNELS):
        return "Microtubules are red, the protein of interest green, nuclei blue, the endoplasmic reticulum yellow."
    if set(channels) <= set(CHANNELS):
        return f"Colours show the channels {', '.join(channels)}."
    return "Pictures are shown as they are."


def encode(picture: Picture, longest: int = TILE) -> bytes:
    """An RGB picture as JPEG bytes, at most `longest` pixels on a side."""
    done, content = cv2.imencode(
        ".jpg", np.ascontiguousarray(_fit(picture, longest)[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    assert done, picture.shape
    return content.tobytes()


def _alone(plane: Plane) -> Picture:
    """One channel as a grey picture, brightened so that its brightest pixels (1 in 500) are white."""
    small = _fit(np.repeat(plane[..., None], 3, axis=2), TILE)
    white = max(float(np.quantile(small, 0.998)), 1.0)
    return np.minimum(small * (255 / white), 255).astype(np.uint8)


def _fit(picture: Picture, longest: int) -> Picture:
    height, width = picture.shape[:2]
    factor = longest / max(height, width)
    if factor > 1:
        factor = max(int(factor), 1)  # whole steps keep the pixels square
    if factor == 1:
        return picture
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    fitted: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
    return fitted


def _likely(names: Sequence[str], example: Example) -> str:
    texts = []
    for name in names:
        known = example.probabilities.get(name)
        texts.append(name if known is None else f"{name} ({known:.2f})")
    return ", ".join(texts) or "nothing"
