"""Crops of cells: samples per second from the cache, cells per second of inference, and memory.

    python benchmarks/cell_crops.py [--parts samples inference memory] [--size 128] [--backbone tf_efficientnet_lite0]
                                    [--rounds 5] [--cells 1000 10000 100000] [--device auto]

- samples: the training loader on the cache of cells, against decoding the four PNGs and the label map of a cell's image
  and cutting the cell out, for every cell (random access), and against the same once per image for all its cells (which
  gives up random access). All sides augment alike and take turns in each round. Images of 2048² with 30 cells.
- inference: batches of cells over the cache, against a loop over single cells with the same network and one view.
- memory: peak resident memory of a process that writes a cache of so many cells, reads all as training samples, and
  predicts all, against one that reads the same cells through the memory map.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import default_collate

from hpa.cell_cache import CellCache, write_cell_cache
from hpa.classification import AugmentationConfig, ModelConfig, build_augmentation, build_model
from hpa.classification.cell_dataset import CellDataset
from hpa.crops import CropConfig, crop_cells
from hpa.images import CHANNELS
from hpa.labels import HPA2021
from hpa.stages.cell_level.cell_task import predict_cells
from hpa.training import MachineConfig, make_accelerator
from hpa.training.loader import BatchLoader

BATCH = 64
SIDE = 2048
CELLS_PER_IMAGE = 30
SMALL = 32  # pixels; memory is measured with small crops, so that 10^5 cells are half a gigabyte
MACHINE = MachineConfig(loaders=0)


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["samples", "inference", "memory"])
    parser.add_argument("--size", type=int, default=128, help="side of the crops, pixels")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", type=int, nargs="+", default=[1000, 10_000, 100_000], help="for memory")
    parser.add_argument("--count", type=int, default=512, help="cells per round of batch inference")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # one measurement of memory, in a process of its own
    arguments = parser.parse_args()
    cv2.setNumThreads(0)  # as in the loader's workers
    if arguments.measure is not None:
        kind, count = arguments.measure.split(":")
        print(json.dumps(_peak_memory(kind, int(count))))
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        if "samples" in arguments.parts:
            _samples(Path(folder), arguments.size, arguments.rounds)
        if "inference" in arguments.parts:
            _inference(Path(folder), arguments.size, arguments.backbone, arguments.rounds, arguments.count)
    if "memory" in arguments.parts:
        _memory(arguments.cells)


class FromPNG:
    """Samples as they are without a cache; images are generated, their PNGs about as large as those of real ones."""

    def __init__(self, folder: Path, size: int, images: int = 3) -> None:
        self.config = CropConfig(size=size, neighbours="masked")
        self.augment = build_augmentation(AugmentationConfig())
        self.paths = [_draw(folder / f"image{number}", number) for number in range(images)]

    def read(self, image: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and label map of an image."""
        planes = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in self.paths[image]]
        return np.stack([np.asarray(plane) for plane in planes[:4]]), np.asarray(planes[4])

    def per_cell(self, cells: int) -> None:
        """Random cells, each from its image's files."""
        for index, cell in enumerate(np.random.default_rng(0).integers(0, CELLS_PER_IMAGE, cells).tolist()):
            crops = crop_cells(*self.read(index % len(self.paths)), self.config, [cell + 1])
            self.augment(crops[0], np.random.default_rng(index))

    def per_image(self, cells: int) -> None:
        """All cells of an image at once."""
        for image in range(cells // CELLS_PER_IMAGE):
            crops = crop_cells(*self.read(image % len(self.paths)), self.config)
            for index, crop in enumerate(crops):
                self.augment(crop, np.random.default_rng(index))


def _samples(folder: Path, size: int, rounds: int) -> None:
    torch.set_num_threads(1)
    png = FromPNG(folder, size)
    shape = CropConfig(size=size, neighbours="separate")
    crops = [crop_cells(*png.read(image), shape) for image in range(len(png.paths))]
    cells = {f"{number:05}": list(range(1, CELLS_PER_IMAGE + 1)) for number in range(100)}
    cached = folder / "samples"
    cached.mkdir()
    write_cell_cache(cached, cells, range(100), lambda key: crops[key % len(crops)], CHANNELS, 1, size)
    data = CellDataset(CellCache.open(cached), augmentation=build_augmentation(AugmentationConfig()))
    loader = BatchLoader(data.sample, default_collate, make_accelerator("no"), MACHINE)

    def from_cache(count: int) -> None:
        order = np.random.default_rng(0).permutation(len(data))[:count]
        for _ in loader.batches(np.array_split(order, -(-count // BATCH)), 0):
            pass

    found = _turns(
        {"cache": (from_cache, 1024), "PNG per cell": (png.per_cell, 9), "PNG per image": (png.per_image, 90)}, rounds
    )
    print(f"samples of {size}² from images of {SIDE}² with {CELLS_PER_IMAGE} cells, one process, {rounds} rounds")
    _show(found, "cache", "samples/s")
    bare = CellDataset(CellCache.open(cached))
    rows = np.random.default_rng(0).permutation(len(bare))[:1024].tolist()
    seconds = _seconds(lambda: [bare.sample(row) for row in rows])
    print(f"  without augmentation {1024 / seconds:.0f} samples/s")


def _inference(folder: Path, size: int, backbone: str, rounds: int, count: int) -> None:
    accelerator = make_accelerator("no")
    cached = folder / "inference"
    cached.mkdir()
    cells = {str(number): list(range(64)) for number in range(-(-count // 64))}
    draws = np.random.default_rng(0).integers(0, 256, (64, 5, size, size)).astype(np.uint8)
    write_cell_cache(cached, cells, list(cells), lambda key: draws, CHANNELS, 1, size)
    data = CellDataset(CellCache.open(cached), np.arange(count))
    model = build_model(ModelConfig(name=backbone), 4, HPA2021, size).eval()
    model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def in_batches(number: int) -> None:
        for _ in predict_cells(model, data, 1, accelerator, BATCH, MACHINE, "cells"):
            pass

    def one_by_one(number: int) -> None:
        with torch.no_grad():
            for index in range(number):
                image = torch.from_numpy(data.sample(index)["images"])[None].to(accelerator.device)
                model.probabilities(model(image.contiguous(memory_format=torch.channels_last))).cpu()

    found = _turns({"batches": (in_batches, count), "one by one": (one_by_one, max(16, count // 8))}, rounds)
    where = torch.cuda.get_device_name() if accelerator.device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"inference with {backbone} on cells of {size}², batches of {BATCH}, {where}, {rounds} rounds")
    _show(found, "batches", "cells/s")


def _memory(counts: Sequence[int]) -> None:
    print(f"peak resident memory in MB, crops of {SMALL}², without / with what the kind of work adds to the start")
    for kind in ("write", "samples", "predict", "map"):
        line = []
        for count in counts:
            command = [sys.executable, __file__, "--measure", f"{kind}:{count}"]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(answer.splitlines()[-1])
            line.append(f"{count} cells: {found['peak']:.0f} (+{found['peak'] - found['before']:.0f})")
        print(f"  {kind:8} {'; '.join(line)}")


def _peak_memory(kind: str, count: int) -> dict[str, float]:
    """Megabytes before the work, with everything imported and a first batch done, and at its peak."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as text:
        folder = Path(text)
        if kind != "write":  # another process writes, so that its memory is not counted
            subprocess.run([sys.executable, "-c", _WRITE, str(folder), str(count)], check=True)
            data = CellDataset(CellCache.open(folder))
        model = build_model(ModelConfig(name="test_resnet"), 4, HPA2021, SMALL).eval()
        accelerator = make_accelerator("no")
        if kind == "predict":
            some = CellDataset(data.source, np.arange(256))
            list(predict_cells(model, some, 1, accelerator, 256, MACHINE, "cells"))
        before = _resident()
        match kind:
            case "write":
                write_small(folder, count)
            case "samples":
                for index in np.random.default_rng(0).permutation(count).tolist():
                    data.sample(index)
            case "predict":
                for _ in predict_cells(model, data, 1, accelerator, 256, MACHINE, "cells"):
                    pass
            case "map":
                for start in range(0, count, 64):
                    np.array(data.source.pixels[start : start + 64])
        return {"before": before, "peak": _resident()}


_WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, "benchmarks")
from cell_crops import write_small
write_small(Path(sys.argv[1]), int(sys.argv[2]))
"""


def write_small(folder: Path, count: int) -> None:
    """A cache of so many small cells, 50 of an image."""
    cells = {f"{number:06}": list(range(50)) for number in range(count // 50)}
    crops = np.random.default_rng(0).integers(0, 256, (50, 5, SMALL, SMALL)).astype(np.uint8)
    write_cell_cache(folder, cells, list(cells), lambda key: crops, CHANNELS, 1, SMALL)


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _draw(folder: Path, number: int) -> list[Path]:
    folder.mkdir()
    draws = np.random.default_rng(number)
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for cell in range(CELLS_PER_IMAGE):
        centre = (180 + 338 * (cell % 6), 220 + 400 * (cell // 6))
        cv2.ellipse(labels, centre, (165, 130), float(draws.integers(180)), 0, 360, cell + 1, -1)
    paths = [folder / f"{name}.png" for name in (*CHANNELS, "cells")]
    for path in paths[:4]:
        rough = cv2.GaussianBlur(draws.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 8)
        fine = draws.normal(0, 1, (SIDE, SIDE)) * (rough > 0)
        cv2.imwrite(str(path), np.clip(np.maximum(rough, 0) * 900 + fine, 0, 255).astype(np.uint8))
    cv2.imwrite(str(paths[4]), labels)
    return paths


def _turns(sides: dict[str, tuple[Callable[[int], None], int]], rounds: int) -> dict[str, list[float]]:
    """Cells per second of every side; they take turns, and the first round, which warms up, is left out."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, (work, count) in sides.items():
            seconds = _seconds(lambda work=work, count=count: work(count))  # type: ignore[misc]
            if turn:
                found[name].append(count / seconds)
    return found


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _show(found: dict[str, list[float]], ours: str, unit: str) -> None:
    for name, values in found.items():
        line = f"  {name:14} {_spread(values)} {unit}"
        if name != ours:
            ratios = [a / b for a, b in zip(found[ours], values, strict=True)]
            line += f"; {ours} is {_spread(ratios)} times as fast"
        print(line)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
