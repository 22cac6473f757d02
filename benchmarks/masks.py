"""Seconds for all masks of a 2048² label map as submission text, against the competition page's encoder.

    python benchmarks/masks.py [--size 2048] [--cells 30 100] [--rounds 7]

The baseline is the encoder of the competition's evaluation page: a full-size boolean mask per cell, pycocotools, zlib
at level 9, base64. Both sides take turns within each round and must give the same text. Below it, checking the texts
as `check_submission` and `score_submission` do, against decoding each to a full-size mask with pycocotools. The maps
are generated: cells of wavy outline on a jittered grid, with gaps between them.
"""

import argparse
import base64
import statistics
import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from hpa.arrays import LabelMap
from hpa.masks import area_and_box, encode_cells, to_counts


def by_page(label_map: LabelMap) -> dict[int, str]:
    """Text of every cell as the evaluation page makes it."""
    texts = {}
    for cell_id in np.unique(label_map):
        if cell_id == 0:
            continue
        mask = np.asfortranarray((label_map == cell_id).reshape(*label_map.shape, 1).astype(np.uint8))
        counts = coco.encode(mask)[0]["counts"]
        texts[int(cell_id)] = base64.b64encode(zlib.compress(counts, zlib.Z_BEST_COMPRESSION)).decode()
    return texts


def area_by_pixels(text: str, size: int) -> int:
    """Area of a mask by way of its pixels."""
    counts = zlib.decompress(base64.b64decode(text))
    return int(coco.decode({"size": [size, size], "counts": counts}).sum())


def area_by_runs(text: str, size: int) -> int:
    """Area of a mask from its checked run lengths."""
    return area_and_box(to_counts(text, size, size), size, size)[0]


def each(area: Callable[[str, int], int], texts: Sequence[str], size: int) -> list[int]:
    """Area of every mask."""
    return [area(text, size) for text in texts]


def main() -> None:
    """Time both sides and print their seconds and ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="side of the label map, pixels")
    parser.add_argument("--cells", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    size = arguments.size
    for cells in arguments.cells:
        label_map = generate(size, cells)
        texts = encode_cells(label_map)
        assert texts == by_page(label_map)
        found = list(texts.values())
        assert each(area_by_runs, found, size) == each(area_by_pixels, found, size)
        covered = (label_map > 0).mean()
        print(f"{size}², {len(texts)} cells on {covered:.0%} of the image, {arguments.rounds} rounds")
        _compare(
            arguments.rounds,
            ("encode_cells", partial(encode_cells, label_map)),
            ("page's encoder", partial(by_page, label_map)),
        )
        _compare(
            arguments.rounds,
            ("check, area, box", partial(each, area_by_runs, found, size)),
            ("decode, area", partial(each, area_by_pixels, found, size)),
        )


def generate(size: int, cells: int, seed: int = 0) -> LabelMap:
    """A label map of so many cells: the nearest of jittered centres, bent by smooth noise, less a band between them."""
    draws = np.random.default_rng(seed)
    columns = round(cells**0.5)
    rows = -(-cells // columns)
    pitch = np.array([size / rows, size / columns])
    grid = np.stack(np.divmod(np.arange(cells), columns), axis=1)
    centres = (grid + 0.5 + draws.uniform(-0.2, 0.2, (cells, 2))) * pitch
    bend = draws.normal(0, 1, (2, size, size)).astype(np.float32)
    bend = np.stack([cv2.GaussianBlur(plane, (0, 0), size / 100) for plane in bend])
    y, x = np.mgrid[:size, :size] + bend / bend.std() * pitch.min() * 0.04
    nearest = np.full((2, size, size), np.inf, np.float32)
    label_map = np.zeros((size, size), np.uint16)
    for number, (row, column) in enumerate(centres, start=1):
        distance = np.hypot(y - row, x - column).astype(np.float32)
        closer = distance < nearest[0]
        label_map[closer] = number
        nearest[1] = np.where(closer, nearest[0], np.minimum(nearest[1], distance))
        nearest[0] = np.minimum(nearest[0], distance)
    label_map[(nearest[1] - nearest[0] < pitch.min() * 0.05) | (nearest[0] > pitch.max() * 0.6)] = 0
    return label_map


def _compare(rounds: int, ours: tuple[str, Callable[[], Any]], baseline: tuple[str, Callable[[], Any]]) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):  # the first round warms up
        for (_, work), seconds in zip((ours, baseline), times, strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    for (name, _), seconds in zip((ours, baseline), times, strict=True):
        print(f"  {name:18}{_spread([value * 1e3 for value in seconds[1:]])} ms")
    print(f"  {'ratio':18}{_spread([b / a for a, b in zip(times[0][1:], times[1][1:], strict=True)])}")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
