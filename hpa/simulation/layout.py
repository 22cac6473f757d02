"""From outlines to maps: which cell every pixel belongs to."""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.measure import label

from hpa.arrays import Float, Int, Mask
from hpa.simulation.outlines import ANGLES
from hpa.simulation.placement import Plan


@dataclass(frozen=True)
class Layout:
    """The cells of a field.

    Attributes:
        plans: of every cell whose stain is in the field, those without a visible nucleus included.
        owner: int32 (height, width), 1 + position in `plans` of the cell that a pixel belongs to, 0 outside cells.
        nucleus: bool (height, width), where nuclei (or chromosomes of dividing cells) are.
    """

    plans: tuple[Plan, ...]
    owner: Int[np.ndarray, "height width"]
    nucleus: Mask


def draw_layout(plans: list[Plan], size: int, pixel: float, wrinkles: Float[np.ndarray, "height width"]) -> Layout:
    """Give every pixel to the cell whose outline reaches it best; nuclei keep what is theirs.

    Args:
        plans: with outlines.
        size: side of the field, pixels.
        pixel: side of a pixel, µm.
        wrinkles: smooth noise that makes outlines uneven.
    """
    owner = np.zeros((size, size), np.int32)
    nucleus = np.zeros((size, size), bool)
    best = np.ones((size, size), np.float32)
    for number, plan in enumerate(plans, start=1):
        box = _box(plan, size)
        if box is None:
            continue
        y, x = np.ogrid[box]
        dx, dy = (x - plan.x).astype(np.float32), (y - plan.y).astype(np.float32)
        wide = np.zeros((dy.shape[0], dx.shape[1]), np.float32)
        polar = cv2.cartToPolar(wide + dx, wide + dy)
        distance, angle = np.asarray(polar[0]), np.asarray(polar[1])
        direction = np.minimum((angle * (ANGLES / (2 * np.pi))).astype(np.int32), ANGLES - 1)
        reach = distance / _fine(plan.outline)[direction]
        reach *= 1 + np.float32(0.01 if plan.mitotic else 0.035) * wrinkles[box]
        if plan.mitotic:
            inner = _chromosomes(plan, dx, dy, pixel) & (reach < 0.95)
        else:
            inner = distance < _fine(plan.nucleus_outline)[direction]
        reach[inner] = -1 + 0.5 * distance[inner] / max(plan.radius, 1e-6)
        won = reach < best[box]
        best[box][won] = reach[won]
        owner[box][won] = number
        nucleus[box][won] = inner[won]
    owner = _one_piece(owner)
    return Layout(tuple(plans), owner, nucleus & (owner > 0))


def _fine(outline: Float[np.ndarray, " angles"]) -> Float[np.ndarray, " angles"]:
    return outline.astype(np.float32)


def _box(plan: Plan, size: int) -> tuple[slice, slice] | None:
    reach = plan.outline.max() * 1.15 + 2
    left, right = max(0, int(plan.x - reach)), min(size, int(plan.x + reach) + 1)
    top, bottom = max(0, int(plan.y - reach)), min(size, int(plan.y + reach) + 1)
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _chromosomes(plan: Plan, dx: Float[np.ndarray, "1 w"], dy: Float[np.ndarray, "h 1"], pixel: float) -> Mask:
    """The metaphase plate, across the axis: about 11 by 3.2 µm (by eye, in the atlas's spindle images)."""
    along = dx * np.cos(plan.axis) + dy * np.sin(plan.axis)
    across = -dx * np.sin(plan.axis) + dy * np.cos(plan.axis)
    uneven = 1 + 0.25 * np.sin(across * pixel * 2.1 + plan.x) * np.cos(across * pixel * 0.9 + plan.y)
    plate: Mask = (along * pixel / (1.6 * uneven)) ** 2 + (across * pixel / 5.5) ** 4 < 1
    return plate


def _one_piece(owner: Int[np.ndarray, "height width"]) -> Int[np.ndarray, "height width"]:
    """Of every cell keep the largest connected piece."""
    pieces = np.asarray(label(owner, connectivity=1, background=0))  # type: ignore[no-untyped-call]
    if pieces.max() == np.count_nonzero(np.bincount(owner.ravel())[1:]):
        return owner
    area = np.bincount(pieces.ravel())
    area[0] = 0
    cell = np.zeros(len(area), np.int64)
    cell[pieces.ravel()] = owner.ravel()
    largest = np.zeros(owner.max() + 1, np.int64)
    by_area = np.argsort(area, kind="stable")
    largest[cell[by_area]] = by_area  # of equal keys the last assignment stays: the largest piece
    keep = np.zeros(len(area), bool)
    keep[largest[1:]] = True
    keep[0] = False
    return np.where(keep[pieces], owner, 0).astype(np.int32)
