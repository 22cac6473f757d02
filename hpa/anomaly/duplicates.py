"""Duplicates and near duplicates: images that show the same scene, brighter or darker, turned or mirrored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
import pandas as pd
import pydantic
from sklearn.neighbors import NearestNeighbors

from hpa.anomaly.findings import Finding
from hpa.arrays import Float32, Int64, PixelBatch
from hpa.config import Config
from hpa.phash import connected

SIDE = 16
"""Side of the thumbnails that are compared, pixels."""

ORIENTATIONS = (
    "as it is",
    "turned by 90°",
    "turned by 180°",
    "turned by 270°",
    "mirrored left to right",
    "mirrored along the diagonal",
    "mirrored top to bottom",
    "mirrored along the other diagonal",
)
"""The eight ways in which a square can lie, in the order of `_turned`: how the original lies in the duplicate."""

_FLOOR = np.float32(0.3)
"""Contrast of a channel, in square roots of grey levels, that weighs half: below it lies mostly noise."""

_BLOCK = 4096

Thumbnails: TypeAlias = Float32[np.ndarray, "images channels side side"]


class DuplicateConfig(Config):
    """Images that show the same scene.

    Attributes:
        similarity: correlation of two thumbnails from which one image counts as a duplicate of the other.
        orientations: `all` finds turned and mirrored copies too; `one` is right where all images lie the same way, such
            as X-rays.
        candidates: images that are compared with each closely.
    """

    kind: Literal["duplicates"] = "duplicates"
    similarity: float = pydantic.Field(default=0.95, gt=0, le=1)
    orientations: Literal["all", "one"] = "all"
    candidates: int = pydantic.Field(default=6, ge=1)


@dataclass(frozen=True)
class Pairs:
    """Pairs of images that were compared closely.

    Attributes:
        later: row of the image that comes later in the data set.
        earlier: row of the other one.
        similarity: correlation of their thumbnails in the orientation that fits best, -1 to 1.
        orientation: number of that orientation in ORIENTATIONS.
    """

    later: Int64[np.ndarray, " pairs"]
    earlier: Int64[np.ndarray, " pairs"]
    similarity: Float32[np.ndarray, " pairs"]
    orientation: Int64[np.ndarray, " pairs"]


def thumbnails(pixels: PixelBatch) -> Thumbnails:
    """Small copies in which brightness and contrast of the channels no longer differ.

    Square roots make the noise of photon counts even. A channel without contrast is all zeros, and one with little
    counts little, for that is noise, which no two images share.

    Args:
        pixels: uint8 (images, channels, height, width).

    Returns:
        Float32 (images, channels, SIDE, SIDE): mean 0 in every channel, standard deviation below 1.
    """
    images, channels = pixels.shape[:2]
    small = np.empty((images, channels, SIDE, SIDE), np.float32)
    for row in range(images):
        for channel in range(channels):
            plane = np.ascontiguousarray(pixels[row, channel]).astype(np.float32)
            small[row, channel] = cv2.resize(plane, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small = np.sqrt(small)
    small -= small.mean(axis=(2, 3), keepdims=True)
    contrast = small.std(axis=(2, 3), keepdims=True)
    return np.asarray(small / (contrast + _FLOOR), np.float32)


def similar_pairs(small: Thumbnails, config: DuplicateConfig) -> Pairs:
    """Compare every image with those most like it.

    What all images have in common (their part of the mean thumbnail, over the orientations too where they are tried)
    is taken away first, so that images of one anatomy are not alike for that alone. Candidates are the nearest by a
    descriptor that no orientation changes: the values of each set of pixels that turning and mirroring exchange,
    sorted. Sorting never moves two vectors apart, so the descriptor's distance is at most that of the images in their
    best orientation.

    Args:
        small: of all images, by `thumbnails`.
        config: the settings.

    Returns:
        Each pair once; none where there are fewer than two images.
    """
    images = len(small)
    nearest = min(config.candidates, images - 1)
    if nearest < 1:
        nothing = np.zeros(0, np.int64)
        return Pairs(nothing, nothing, np.zeros(0, np.float32), nothing)
    turns = range(8 if config.orientations == "all" else 1)
    mean = np.mean([_turned(small.mean(axis=0, keepdims=True), turn) for turn in turns], axis=0, dtype=np.float32)
    # Each image's own part of it: taking the mean itself away would leave its negative in every empty image.
    parts = (small * mean).sum(axis=(1, 2, 3), keepdims=True) / max(float((mean**2).sum()), 1e-12)
    centred = small - parts.astype(np.float32) * mean
    lengths = np.sqrt((centred**2).sum(axis=(1, 2, 3), keepdims=True))
    centred = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 1e-3)
    descriptors = _descriptors(centred) if config.orientations == "all" else centred.reshape(images, -1)
    search = NearestNeighbors(n_neighbors=nearest, algorithm="brute").fit(descriptors)
    pairs = np.stack([np.repeat(np.arange(images), nearest), search.kneighbors(return_distance=False).ravel()], axis=1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    similarity, orientation = np.empty(len(pairs), np.float32), np.empty(len(pairs), np.int64)
    for start in range(0, len(pairs), _BLOCK):
        block = slice(start, start + _BLOCK)
        earlier, later = centred[pairs[block, 0]], centred[pairs[block, 1]]
        found = np.stack([np.einsum("nchw,nchw->n", _turned(earlier, turn), later) for turn in turns])
        similarity[block], orientation[block] = np.minimum(found.max(axis=0), 1), found.argmax(axis=0)
    return Pairs(pairs[:, 1], pairs[:, 0], similarity, orientation)


def duplicates(image_ids: Sequence[str], pairs: Pairs, config: DuplicateConfig) -> Finding:
    """Images that show what an earlier one shows; the first image of a set is its original and no duplicate.

    Args:
        image_ids: of all images.
        pairs: by `similar_pairs`.
        config: the settings.

    Returns:
        Scores: the highest similarity to an earlier image, at least 0. Details: `duplicates_of`, the first image of the
        set, and `duplicates_orientation` towards the earlier image most like it; empty texts where it is in no set.
    """
    images = len(image_ids)
    scores = np.zeros(images, np.float32)
    np.maximum.at(scores, pairs.later, pairs.similarity)
    close = pairs.similarity >= config.similarity
    sets = connected(images, np.stack([pairs.earlier, pairs.later], axis=1)[close])
    first = np.unique(sets, return_index=True)[1][sets]
    orientation = np.full(images, "", object)
    for row in np.flatnonzero(close)[np.argsort(pairs.similarity[close], kind="stable")].tolist():
        orientation[pairs.later[row]] = ORIENTATIONS[pairs.orientation[row]]
    flags = scores >= np.float32(config.similarity)
    originals = np.where(flags, np.asarray(image_ids, object)[first], "")
    details = pd.DataFrame({"duplicates_of": originals, "duplicates_orientation": orientation}, dtype="str")
    return Finding("duplicates", scores, flags, details)


def _turned(images: Thumbnails, turn: int) -> Thumbnails:
    """Orientation `turn`: turned by 90° so many times, from 4 on mirrored left to right before."""
    source = images[..., ::-1] if turn >= 4 else images
    return np.rot90(source, turn % 4, axes=(-2, -1))


def _descriptors(images: Thumbnails) -> Float32[np.ndarray, "images values"]:
    """What no orientation changes, of copies half as large, for speed; averaging brings vectors no further apart."""
    count, channels, side = images.shape[:3]
    half = images.reshape(count, channels, side // 2, 2, side // 2, 2).sum(axis=(3, 5)) / 2
    flat = half.reshape(count, channels, -1)
    parts = [np.sort(flat[..., orbit], axis=-1) for orbit in _orbits(side // 2)]
    return np.concatenate(parts, axis=-1).reshape(count, -1)


def _orbits(side: int) -> Iterator[Int64[np.ndarray, " pixels"]]:
    """Sets of pixels, by their flat index, that turning and mirroring exchange."""
    numbers = np.arange(side * side).reshape(1, 1, side, side).astype(np.float32)
    smallest = np.min([_turned(numbers, turn) for turn in range(8)], axis=0).ravel()
    for number in np.unique(smallest):
        yield np.flatnonzero(smallest == number)
