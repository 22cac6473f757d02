"""Perceptual hashes of images, and which images are nearly the same by them."""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Int64, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hpa.arrays import Pixels

BITS = 64
_SIDE, _LOW = 32, 8
_BLOCK = 1 << 22


def perceptual_hash(pixels: Pixels) -> UInt64[np.ndarray, " channels"]:
    """64 bits per channel that stay nearly the same under scaling, compression and changes of brightness.

    The plane is averaged down to 32 x 32, transformed by a discrete cosine transform, and each of the 8 x 8 lowest
    frequencies compared with their median (Zauner, "Implementation and benchmarking of perceptual image hash
    functions", 2010, 3.2.1). The frequency 0, the mean, tells nothing about the content and is left out: its bit is 0.
    """
    hashes = np.zeros(len(pixels), np.uint64)
    for index, plane in enumerate(pixels):
        small = cv2.resize(np.ascontiguousarray(plane), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        low = cv2.dct(small.astype(np.float32))[:_LOW, :_LOW].ravel()
        bits = low > np.median(low[1:])
        bits[0] = False
        hashes[index] = np.packbits(bits).view(">u8")[0]
    return hashes


def hash_text(hashes: UInt64[np.ndarray, " channels"]) -> str:
    """Hashes as 16 hexadecimal digits per channel, the form that tables hold."""
    return hashes.astype(">u8").tobytes().hex()


def parse_hashes(texts: Sequence[str]) -> UInt64[np.ndarray, "images channels"]:
    """The inverse of `hash_text`, for images with the same number of channels.

    >>> parse_hashes(["000000000000000f"]).tolist()
    [[15]]
    """
    joined = np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64)
    return joined.reshape(len(texts), -1)


def near_duplicates(hashes: UInt64[np.ndarray, "images channels"], distance: int) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs of images whose hashes differ in at most `distance` bits in every channel.

    Images with the same hashes are chained (n - 1 pairs for n images) instead of given as all their pairs; connected
    images are the same either way. Exact: two hashes within `distance` agree wholly on at least one of `distance` + 1
    bands of bits (pigeonhole), so only images that share a band are compared.

    Args:
        hashes: uint64, one row per image.
        distance: bits per channel, 0 to 31.

    Raises:
        ValueError: `distance` out of range.
    """
    if not 0 <= distance < BITS // 2:
        raise ValueError(f"expected a distance of 0 to {BITS // 2 - 1} bits, but got {distance}")
    if len(hashes) == 0:
        return np.zeros((0, 2), np.int64)
    unique, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    same = inverse.ravel()[order]
    repeats = np.flatnonzero(same[1:] == same[:-1])
    found = [np.stack([order[repeats], order[repeats + 1]], axis=1)]
    # The channel that tells most images apart leaves the fewest candidates.
    channel = int(np.argmax([len(np.unique(column)) for column in unique.T]))
    edges = np.linspace(0, BITS, distance + 2).astype(int) if distance else np.zeros(0, int)
    for low, high in itertools.pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        found.append(first[_close_in_band(unique, unique[:, channel] >> np.uint64(low) & mask, distance)])
    pairs = np.sort(np.concatenate(found).astype(np.int64), axis=1)
    return np.unique(pairs, axis=0)


def connected(count: int, pairs: Int64[np.ndarray, "pairs 2"]) -> Int64[np.ndarray, " items"]:
    """Number of each item's component, when every pair is joined; from 0, in order of first items."""
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    components: np.ndarray = connected_components(graph, directed=False)[1]
    return components.astype(np.int64)


def _close_in_band(hashes: np.ndarray, band: np.ndarray, distance: int) -> np.ndarray:
    """Pairs of rows with the same band value and at most `distance` different bits in every channel."""
    order = np.argsort(band, kind="stable")
    values, hashes = band[order], hashes[order]
    found = [np.zeros((0, 2), np.int64)]
    # Row i is compared with rows i+1, i+2, ... as long as their band is the same: fewer rows remain at each step.
    left = np.arange(len(values) - 1)
    step = 1
    while len(left):
        left = left[left + step < len(values)]
        left = left[values[left] == values[left + step]]
        for start in range(0, len(left), _BLOCK):
            rows = left[start : start + _BLOCK]
            differing = np.bitwise_count(hashes[rows] ^ hashes[rows + step])
            close = rows[(differing <= distance).all(axis=1)]
            found.append(np.stack([order[close], order[close + step]], axis=1))
        step += 1
    return np.concatenate(found)
