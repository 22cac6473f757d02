"""COCO's compressed run lengths: whole numbers to and from text, vectorised over the runs of many masks.

The form is that of pycocotools (`common/maskApi.c`, `rleToString`): every length from the fourth on as the difference
to the one before last, in digits of five bits, least significant first, as characters from "0".
"""

from itertools import pairwise
from typing import TypeAlias

import numpy as np

from hpa.arrays import Int64

_MAX_DIGITS = 7  # 35 bits: more than any difference of two lengths takes
_DIGIT_LIMITS = 16 * 32 ** np.arange(_MAX_DIGITS - 1)  # n digits hold values in [-limit, limit)

Lengths: TypeAlias = Int64[np.ndarray, " lengths"]
"""Lengths of runs in pixels."""
PerMask: TypeAlias = Int64[np.ndarray, " masks"]
"""One number for each mask."""


class MaskError(ValueError):
    """A mask's text or counts that are malformed or do not fit the image."""


def write_counts(lengths: Lengths, begin: PerMask) -> tuple[bytes, ...]:
    """Compressed counts of several masks, as pycocotools writes them.

    Args:
        lengths: of all masks, one after another, background first in each.
        begin: where each mask's lengths begin; at least one.
    """
    differences = _differences(lengths, begin)
    digits = _digits(differences)
    offsets = np.cumsum(digits) - digits
    characters = np.empty(int(digits.sum()), np.uint8)
    for digit in range(int(digits.max())):
        having = np.flatnonzero(digits > digit)
        more = digits[having] > digit + 1
        characters[offsets[having] + digit] = ((differences[having] >> 5 * digit) & 31) + 32 * more + 48
    text = characters.tobytes()
    edges = [*offsets[begin].tolist(), len(text)]
    return tuple(text[start:end] for start, end in pairwise(edges))


def read_lengths(counts: bytes, height: int, width: int) -> Lengths:
    """Lengths of the runs in compressed counts, background first; they sum to the image.

    Raises:
        MaskError: malformed, cut off, or of another number of pixels.
    """
    codes = np.frombuffer(counts, np.uint8) - 48  # characters below "0" wrap to large values
    if not len(codes):
        raise MaskError("expected COCO counts, but there are none")
    if codes.max() > 63:
        raise MaskError(f"expected COCO counts, but they hold the character {chr(counts[int(codes.argmax())])!r}")
    ends = np.flatnonzero(codes < 32)
    if not len(ends) or ends[-1] != len(codes) - 1:
        raise MaskError("the COCO counts are cut off inside a number")
    begin = np.append(0, ends[:-1] + 1)
    digits = ends - begin + 1
    most = int(digits.max())
    if most > _MAX_DIGITS:
        raise MaskError(f"the COCO counts hold a number of {most} digits")
    lengths: Lengths = (codes[begin] & 31).astype(np.int64)
    for digit in range(1, most):
        having = np.flatnonzero(digits > digit)
        lengths[having] += (codes[begin[having] + digit] & 31).astype(np.int64) << 5 * digit
    lengths -= (codes[ends] & 16).astype(np.int64) << 5 * digits - 4  # the sign is the last digit's highest bit
    for parity in (1, 2):  # every length from the fourth on was written as the difference to the one before last
        np.cumsum(lengths[parity::2], out=lengths[parity::2])
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < 0 or longest > height * width:
        wrong = shortest if shortest < 0 else longest
        raise MaskError(f"expected run lengths of 0 to {width} × {height} pixels, but one is {wrong}")
    total = int(lengths.sum())
    if total != height * width:
        raise MaskError(f"expected run lengths that sum to {width} × {height} pixels, but they sum to {total}")
    return lengths


def canonical(lengths: Lengths) -> Int64[np.ndarray, " merged"]:
    """The lengths of the same mask without empty runs, but for the first, which is there even if empty."""
    if lengths[1:].all():
        return lengths
    filled = lengths > 0
    values = (np.arange(len(lengths)) % 2)[filled]
    begin = np.flatnonzero(np.diff(values, prepend=-1))
    merged = np.add.reduceat(lengths[filled], begin)
    return np.append(0, merged) if values[0] else np.asarray(merged)


def written_size(lengths: Lengths) -> int:
    """Bytes that one mask's lengths take in compressed counts."""
    return int(_digits(_differences(lengths, np.zeros(1, np.int64))).sum())


def _differences(lengths: Lengths, begin: PerMask) -> Lengths:
    """Each length from a mask's fourth on less the one before last; `begin` is where each mask's lengths begin."""
    differences = lengths.copy()
    differences[2:] -= lengths[:-2]
    for place in range(3):
        whole = begin[begin + place < np.append(begin[1:], len(lengths))] + place
        differences[whole] = lengths[whole]
    return differences


def _digits(differences: Lengths) -> Lengths:
    """How many digits each takes, with its sign."""
    magnitudes = np.where(differences < 0, ~differences, differences)
    return np.asarray(1 + np.searchsorted(_DIGIT_LIMITS, magnitudes, side="right"))
