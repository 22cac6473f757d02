"""How well segmentation finds cells and nuclei: on real images, on nuclei of many magnifications, on simulated cells.

    python benchmarks/segmentation.py [--pixel-size 0.08] [--simulated 8] [--unet RUN]

Real images: mean F1 at IoU 0.6 of cells against hpacellseg's masks of `hpa2021` (of networks, not of people). Nuclei:
mean F1 at IoU 0.5 on the images of `dsb2018`, whose magnification nobody tells. Simulated: cells at 0.6, nuclei at 0.5.
`--unet` puts a network that `hpa train_segmentation` trained beside the watershed, with post-processing at full size
and fast. What is absent of the real samples is left out.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from hpa.arrays import LabelMap, Pixels
from hpa.evaluation import f1_at_iou
from hpa.images import CHANNELS, read_image
from hpa.segmentation import (
    CellMaps,
    PostprocessingConfig,
    UnetConfig,
    WatershedConfig,
    label_cells,
    open_unet,
    read_label_map,
    watershed,
)
from hpa.simulation import SimulationConfig, simulate_image

DEFAULT = Path(__file__).parents[2] / "shared" / "data"
CELL_IOU, NUCLEUS_IOU = 0.6, 0.5

Segmenter: TypeAlias = Callable[[Pixels, Sequence[str]], CellMaps]


def report_cells(name: str, segment: Segmenter, data: Path) -> None:
    """Cells of the real four-channel images."""
    scores, seconds = [], []
    for image_id, pixels, truth in _cell_images(data):
        start = time.perf_counter()
        found = segment(pixels, CHANNELS).cells
        seconds.append(time.perf_counter() - start)
        scores.append(f1_at_iou(truth, found, CELL_IOU))
        print(f"  {image_id}: {found.max()} cells, {truth.max()} in the mask, F1 {scores[-1]:.3f}")
    if scores:
        print(f"{name}, hpa2021 cells: mean F1 at IoU {CELL_IOU} {_spread(scores)}, {_spread(seconds)} s an image")


def report_nuclei(name: str, segment: Segmenter, data: Path) -> None:
    """Nuclei in grey images of unknown magnification."""
    scores = []
    for path in sorted((data / "dsb2018" / "images").glob("*.png")):
        pixels = read_image([path], ("red", "green", "blue"))[:1]  # grey saved as colour
        truth = read_label_map(data / "dsb2018" / "labels" / path.name)
        scores.append(f1_at_iou(truth, segment(pixels, ("grey",)).nuclei, NUCLEUS_IOU))
    if scores:
        print(f"{name}, {len(scores)} dsb2018 images: mean F1 of nuclei at IoU {NUCLEUS_IOU} {_spread(scores)}")


def report_simulated(name: str, segment: Segmenter, images: int, size: int = 512) -> None:
    """Cells and nuclei of simulated images, whose truth is exact."""
    config = SimulationConfig(size=size, seed=1000)
    cells, nuclei = [], []
    for index in range(images):
        shown = simulate_image(config, index * config.images_per_antibody)
        found = segment(shown.pixels, CHANNELS)
        cells.append(f1_at_iou(shown.cell_map, found.cells, CELL_IOU))
        nuclei.append(f1_at_iou(shown.nucleus_map, found.nuclei, NUCLEUS_IOU))
    if images:
        print(f"{name}, {images} simulated images: mean F1 of cells {_spread(cells)}, of nuclei {_spread(nuclei)}")


def main() -> None:
    """Print every score of the watershed, with the magnification unknown and, for cells, with the one given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixel-size", type=float, default=0.08, help="µm per pixel of the hpa2021 images")
    parser.add_argument("--simulated", type=int, default=8, help="simulated images")
    parser.add_argument("--unet", type=Path, help="folder of a finished `hpa train_segmentation`")
    arguments = parser.parse_args()
    data = Path(os.environ.get("HPA_SAMPLE_DATA", DEFAULT))
    unknown = _watershed(WatershedConfig())
    report_cells("watershed", unknown, data)
    report_cells(
        f"watershed, {arguments.pixel_size} µm", _watershed(WatershedConfig(pixel_size=arguments.pixel_size)), data
    )
    report_nuclei("watershed", unknown, data)
    report_simulated("watershed", unknown, arguments.simulated)
    if arguments.unet is not None:
        for mode in ("full", "fast"):
            settings = PostprocessingConfig(mode=mode)
            network = _unet(arguments.unet, arguments.pixel_size, settings)
            report_cells(f"U-Net, {mode}", network, data)
            # Simulated images of 512 pixels show as much as real ones of 2048.
            pixel_size = SimulationConfig(size=512).field / 512
            report_simulated(f"U-Net, {mode}", _unet(arguments.unet, pixel_size, settings), arguments.simulated)


def _watershed(config: WatershedConfig) -> Segmenter:
    return lambda pixels, channels: watershed(pixels, channels, config)


def _unet(run: Path, pixel_size: float, settings: PostprocessingConfig) -> Segmenter:
    trained = open_unet(UnetConfig(run=run, pixel_size=pixel_size))

    def segment(pixels: Pixels, channels: Sequence[str]) -> CellMaps:
        return label_cells(trained.predict([pixels], channels)[0], settings, pixel_size)

    return segment


def _cell_images(data: Path) -> Iterator[tuple[str, Pixels, LabelMap]]:
    for path in sorted((data / "hpa2021" / "masks").glob("*.png")):
        files = [data / "hpa2021" / "train" / f"{path.stem}_{channel}.png" for channel in CHANNELS]
        yield path.stem, read_image(files, CHANNELS), read_label_map(path)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
