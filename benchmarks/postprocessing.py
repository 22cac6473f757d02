"""From probability maps to cells: seconds against scikit-image at full size, and agreement with the original's labels.

    python benchmarks/postprocessing.py [--sizes 2048 3072] [--rounds 3] [--no-agreement]

The baseline is the steps of hpacellseg's `label_cell` written with scikit-image and scipy in the obvious way, at the
image's size. Both sides read the same maps, made from simulated cells as a network would give them at full size, and
take turns within each round, on one core. Where the original's labels are at hand (`hpacellseg/predictions` beside the
real samples), number of cells and mean IoU of matched cells and nuclei are printed for both modes.
"""

# mypy: disallow-untyped-calls=False
# scikit-image ships types for some of its functions only.

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from scipy import ndimage
from skimage import filters, measure, morphology, segmentation

from hpa.arrays import LabelMap, UInt8
from hpa.evaluation import match_instances
from hpa.segmentation import BACKGROUND, BORDER, OBJECT, CellMaps, PostprocessingConfig, ProbabilityMaps, label_cells
from hpa.simulation import SimulationConfig, simulate_image

DEFAULT = Path(__file__).parents[2] / "shared" / "data"
MODES: tuple[Literal["full", "fast"], ...] = ("full", "fast")


def scikit_image(maps: ProbabilityMaps) -> CellMaps:
    """The same rules at full size, step by step; sizes are those of 0.08 µm per pixel."""
    assert maps.cells is not None
    nuclei, cells = maps.nuclei / 255, maps.cells / 255
    low_borders = 1 - (nuclei[BORDER] + cells[BORDER]) > 0.05
    seeds = morphology.remove_small_objects(nuclei[OBJECT] * low_borders > 0.15, max_size=499)
    mask = morphology.remove_small_objects(nuclei[OBJECT] > 0.4, max_size=999)
    nucleus = segmentation.watershed(mask, ndimage.label(seeds)[0], mask=mask, watershed_line=True)
    nucleus = measure.label(morphology.remove_small_objects(nucleus, max_size=2499))
    threshold = max(0.22, filters.threshold_otsu(cells[OBJECT]) * 0.5)
    border = cells[BORDER] > 0.05
    elevation = -np.maximum(cells[OBJECT], threshold)
    cell = segmentation.watershed(elevation, nucleus, mask=(cells[OBJECT] > threshold) & ~border)
    cell = morphology.remove_small_objects(cell, max_size=5499)
    cell = _fill(morphology.closing(cell, morphology.disk(6)))
    cell = _fill(segmentation.watershed(elevation, cell, mask=(cell > 0) | border))
    cell = measure.label(morphology.remove_small_objects(cell, max_size=5499))
    nucleus = morphology.remove_small_objects(measure.label((cell > 0) & (nucleus > 0)), max_size=2499)
    return CellMaps(cell.astype(np.uint16), (cell * (nucleus > 0)).astype(np.uint16))


def _fill(labels: np.ndarray) -> np.ndarray:
    apart = np.where(segmentation.find_boundaries(labels), 0, labels)
    filled: np.ndarray = ndimage.label(ndimage.binary_fill_holes(apart > 0))[0]
    return filled


def probability_maps(size: int) -> tuple[ProbabilityMaps, int]:
    """Maps of simulated cells in a field of `size` pixels of 0.08 µm, and the number of cells."""
    shown = simulate_image(SimulationConfig(size=size, field=size * 0.08, seed=1), 0)
    nuclei, cells = (_planes(labels) for labels in (shown.nucleus_map, shown.cell_map))
    return ProbabilityMaps(nuclei, cells, size, size), int(shown.cell_map.max())


def _planes(labels: LabelMap) -> UInt8[np.ndarray, "3 height width"]:
    """What a trained network gives: borders where two instances meet, all of it a little soft."""
    reach = np.ones((7, 7), np.uint8)
    low = cv2.erode(np.where(labels > 0, labels, np.uint16(65535)), reach)
    border = (low != cv2.dilate(labels, reach)) & (low < 65535)
    planes = np.zeros((3, *labels.shape), np.float32)
    planes[BORDER], planes[OBJECT] = border, (labels > 0) & ~border
    planes[BACKGROUND] = 1 - planes[BORDER] - planes[OBJECT]
    return np.stack([np.round(cv2.GaussianBlur(plane, (0, 0), 3) * 255).astype(np.uint8) for plane in planes])


def main() -> None:
    """Time the three in turns, then compare with the original's labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 3072], help="sides of the images, pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--agreement", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for size in arguments.sizes:
        maps, cells = probability_maps(size)
        sides: dict[str, Callable[[ProbabilityMaps], CellMaps]] = {"scikit-image": scikit_image}
        sides |= {mode: partial(label_cells, config=PostprocessingConfig(mode=mode)) for mode in MODES}
        times: dict[str, list[float]] = {name: [] for name in sides}
        found = {}
        for _ in range(arguments.rounds):
            for name, work in sides.items():
                start = time.perf_counter()
                found[name] = work(maps)
                times[name].append(time.perf_counter() - start)
        print(f"{size}², {cells} simulated cells, {arguments.rounds} rounds")
        for name, seconds in times.items():
            ratios = [base / own for base, own in zip(times["scikit-image"], seconds, strict=True)]
            print(f"  {name:13}{_spread(seconds)} s, ratio {_spread(ratios)}, {found[name].cells.max()} cells")
    if arguments.agreement:
        _print_agreement(Path(os.environ.get("HPA_SAMPLE_DATA", DEFAULT)).parent / "hpacellseg" / "predictions")


def _print_agreement(folder: Path) -> None:
    for path in sorted(folder.glob("*.labels.npz")):
        with np.load(path) as labels, np.load(path.with_name(path.name.replace(".labels", ""))) as given:
            truth = CellMaps(labels["cell_label"], labels["nuclei_label"])
            nuclei, cells = (
                np.ascontiguousarray(given[key].transpose(2, 0, 1)) for key in ("nuclei_pred", "cell_pred")
            )
        maps = ProbabilityMaps(nuclei, cells, *truth.cells.shape)
        for mode in MODES:
            found = label_cells(maps, PostprocessingConfig(mode=mode))
            by_cell, by_nucleus = match_instances(truth.cells, found.cells), match_instances(truth.nuclei, found.nuclei)
            print(
                f"{path.name.split('.')[0]} {mode}: {by_cell.predicted_count} cells (original {by_cell.true_count}), "
                f"IoU of {len(by_cell.ious)} matched cells {by_cell.mean_iou:.4f} (least {by_cell.ious.min():.4f}), "
                f"of {len(by_nucleus.ious)} nuclei {by_nucleus.mean_iou:.4f} (least {by_nucleus.ious.min():.4f})"
            )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main()
