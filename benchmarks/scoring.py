"""Seconds to score 50 images × 40 cells × 2 detections, against plain IoU of boolean masks, pair by pair.

    python benchmarks/scoring.py [--images 50] [--cells 40] [--size 2048] [--baseline 2] [--rounds 5]

Every cell is one object and is predicted with two classes, one of them right, by a mask whose outline is off by a few
pixels; no two masks are alike. Both sides start from the texts of the masks as a submission holds them, with the table
around them already parsed, and end with the IoU of every pair that shares image and class (the baseline) or with the
whole score (this project). The baseline decodes each different mask once and compares full-size boolean masks; it gets
fewer images, and both sides take turns within each round. The two sides' IoUs are compared before the first round.
"""

import argparse
import statistics
import time

import cv2
import numpy as np
import pandas as pd

from hpa.arrays import LabelMap
from hpa.evaluation import bootstrap, counts_from_texts, score
from hpa.labels import HPA2021
from hpa.masks import decode, encode_cells


def main() -> None:
    """Time both sides and print seconds, and the ratio of their rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--cells", type=int, default=40, help="per image")
    parser.add_argument("--size", type=int, default=2048, help="side of the images, pixels")
    parser.add_argument("--baseline", type=int, default=2, help="images per round for the baseline")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    truth, predictions = _generate(arguments.images, arguments.cells, arguments.size)
    few = [f"image{number:03d}" for number in range(arguments.baseline)]
    few_truth, few_predictions = (table[table["image_id"].isin(few)] for table in (truth, predictions))
    _check(few_truth, few_predictions)

    reading, scoring, ours, plain = [], [], [], []
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        tables = counts_from_texts(truth), counts_from_texts(predictions)
        read = time.perf_counter()
        found = score(*tables, HPA2021)
        end = time.perf_counter()
        reading.append(read - start)
        scoring.append(end - read)
        ours.append((end - start) / arguments.images)
        start = time.perf_counter()
        _plain_ious(few_truth, few_predictions)
        plain.append((time.perf_counter() - start) / arguments.baseline)
    start = time.perf_counter()
    low, high = bootstrap(found)
    resampled = time.perf_counter() - start

    print(
        f"{arguments.images} images of {arguments.size}², {len(truth)} objects, {len(predictions)} detections, "
        f"{arguments.rounds} rounds; baseline on {arguments.baseline} images a round"
    )
    print(f"whole score         {_spread([value * arguments.images for value in ours])} s")
    print(f"  reading the texts {_spread(reading)} s")
    print(f"  scoring           {_spread(scoring)} s")
    print(f"one image           {_spread([value * 1e3 for value in ours])} ms")
    print(f"one image, baseline {_spread([value * 1e3 for value in plain])} ms")
    print(f"ratio               {_spread([b / a for a, b in zip(ours, plain, strict=True)])}")
    print(f"mAP {found.map:.3f}, interval {low:.3f} to {high:.3f} from 1,000 rounds in {resampled:.2f} s")


def _generate(images: int, cells: int, size: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Truth and predictions with a column `mask` of texts."""
    generator = np.random.default_rng(0)
    truth, predictions = [], []
    for number in range(images):
        true = _cells(generator, cells, size)
        found = _wobble(generator, true, size / 128)
        key = (f"image{number:03d}", size, size)
        classes = {}
        for cell, text in encode_cells(true).items():
            classes[cell] = int(generator.integers(len(HPA2021)))
            truth.append((*key, classes[cell], text))
        for cell, text in encode_cells(found).items():
            for other in (0, int(generator.integers(1, len(HPA2021)))):
                predictions.append((*key, (classes[cell] + other) % len(HPA2021), text, generator.random()))
    columns = ["image_id", "height", "width", "class_number", "mask", "confidence"]
    return pd.DataFrame(truth, columns=columns[:-1]), pd.DataFrame(predictions, columns=columns)


def _cells(generator: np.random.Generator, cells: int, size: int) -> LabelMap:
    """Round cells with uneven outlines, touching where they are close."""
    seeds = np.ones((size, size), np.uint8)
    places = generator.permutation(144)[:cells]  # on a grid of 12 × 12, so that every cell has room
    rows, columns = (
        ((place + generator.uniform(0.3, 0.7, len(places))) * size / 12).astype(int) for place in divmod(places, 12)
    )
    seeds[rows, columns] = 0
    distance, nearest = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return np.where(distance < size / 16, _wobble(generator, nearest.astype(np.uint16), size / 64), 0).astype(np.uint16)


def _wobble(generator: np.random.Generator, label_map: LabelMap, pixels: float) -> LabelMap:
    """The same cells with every outline moved smoothly, by so many pixels or less."""
    size = len(label_map)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size))).astype(np.float32)
    rough = generator.uniform(-pixels, pixels, (2, 65, 65)).astype(np.float32)
    x, y = (grid[axis] + cv2.resize(rough[axis], (size, size), interpolation=cv2.INTER_CUBIC) for axis in (0, 1))
    return np.asarray(cv2.remap(label_map, x, y, cv2.INTER_NEAREST))


def _plain_ious(truth: pd.DataFrame, predictions: pd.DataFrame) -> dict[tuple[int, int], float]:
    """IoU of every pair of an object and a detection of one image and class, by row numbers."""
    found = {}
    for image_id, rows in predictions.groupby("image_id"):
        true = truth[truth["image_id"] == image_id]
        masks = [_decoded(table) for table in (rows, true)]
        for row, number, text in zip(rows.index, rows["class_number"], rows["mask"], strict=True):
            for other, label, other_text in zip(true.index, true["class_number"], true["mask"], strict=True):
                if number == label:
                    one, two = masks[0][text], masks[1][other_text]
                    found[row, other] = float((one & two).sum() / (one | two).sum())
    return found


def _decoded(table: pd.DataFrame) -> dict[str, np.ndarray]:
    sizes = zip(table["mask"], table["height"], table["width"], strict=True)
    return {text: decode(text, height, width) for text, height, width in sorted(set(sizes))}


def _check(truth: pd.DataFrame, predictions: pd.DataFrame) -> None:
    """Both sides must see the same best overlap of every detection."""
    best: dict[int, float] = {}
    for (row, _), value in _plain_ious(truth, predictions).items():
        best[row] = max(value, best.get(row, 0.0))
    scored = score(counts_from_texts(truth), counts_from_texts(predictions), HPA2021).detections
    ours = dict(zip(predictions.index[scored["row"]], scored["iou"], strict=True))
    assert best == {row: value for row, value in ours.items() if not np.isnan(value)}


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main()
