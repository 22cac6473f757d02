"""Samples per second of the training loader from the cache, against reading four 2048² PNGs with `cv2.imread`.

    python benchmarks/loader.py [--size 512] [--samples 256] [--rounds 5] [--loaders 0] [--folder DIR]

Both sides use the same augmentation, batches and loader, and take turns within each round; the baseline decodes the
PNGs and resizes them by area. The images are those of a folder in the Kaggle layout (by default `hpa2021/train` of the
real samples, where they are), or generated ones; few images serve as many samples under several rows of the cache. The
parts of a sample's time say what limits the loader.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import default_collate

from hpa.cache import PixelCache, write_cache
from hpa.classification import AugmentationConfig, ImageDataset, build_augmentation
from hpa.images import CHANNELS
from hpa.training import MachineConfig, Sample, make_accelerator
from hpa.training.loader import BatchLoader

DEFAULT = Path(__file__).parents[2] / "shared" / "data"
BATCH = 16
SIDE = 2048


class FromPNG:
    """Samples as they are without a cache: decode, resize, augment."""

    def __init__(self, paths: Sequence[Sequence[Path]], size: int) -> None:
        self.paths = paths
        self.size = size
        self.augment = build_augmentation(AugmentationConfig())

    def read(self, index: int) -> np.ndarray:
        """One image, uint8 (channels, size, size)."""
        planes = _decode(self.paths[index % len(self.paths)])
        return np.stack([cv2.resize(plane, (self.size, self.size), interpolation=cv2.INTER_AREA) for plane in planes])

    def sample(self, index: int, epoch: int) -> Sample:
        """One augmented sample."""
        return {"images": self.augment(self.read(index), np.random.default_rng([0, epoch, index, 2])), "index": index}


def _decode(paths: Sequence[Path]) -> list[np.ndarray]:
    planes = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
    if any(plane is None for plane in planes):
        raise SystemExit(
            f"expected the four channels of an image, but one of {[str(path) for path in paths]} is missing"
        )
    return [np.asarray(plane) for plane in planes]


def main() -> None:
    """Time both sides and print samples per second, their ratio and the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the samples, pixels")
    parser.add_argument("--samples", type=int, default=256, help="samples per round from the cache")
    parser.add_argument("--baseline", type=int, default=16, help="samples per round from PNGs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loaders", type=int, default=0, help="worker processes; 0 is the main process alone")
    parser.add_argument("--folder", type=Path, help="images named {ID}_{color}.png")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)  # as in the loader's workers
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as text:
        paths = _find(arguments.folder) or _generate(Path(text))
        png = FromPNG(paths, arguments.size)
        cache = _cache(Path(text), png, arguments.samples)
        data = ImageDataset(cache, augmentation=build_augmentation(AugmentationConfig()))
        ours, bare = [], []
        from_cache = _loader(data.sample, arguments.loaders)
        from_png = _loader(png.sample, arguments.loaders)
        for turn in range(arguments.rounds + 1):  # the first round starts workers and fills the page cache
            ours.append(_rate(from_cache, arguments.samples, turn))
            bare.append(_rate(from_png, arguments.baseline, turn))
        ours, bare = ours[1:], bare[1:]
        height, width = _decode(paths[0])[0].shape
        megabytes = sum(path.stat().st_size for path in paths[0]) / 1e6
        print(
            f"{len(paths)} images of {len(CHANNELS)} x {width} x {height} ({megabytes:.1f} MB as PNG), samples of "
            f"{arguments.size}², {arguments.loaders} worker processes, {arguments.rounds} rounds"
        )
        print(f"cache      {_spread(ours)} samples/s")
        print(f"cv2.imread {_spread(bare)} samples/s")
        print(f"ratio      {_spread([a / b for a, b in zip(ours, bare, strict=True)])}")
        _print_parts(cache, data, png)


def _find(folder: Path | None) -> list[list[Path]]:
    folder = folder or Path(os.environ.get("HPA_SAMPLE_DATA", DEFAULT)) / "hpa2021" / "train"
    names = sorted(path.name.removesuffix("_green.png") for path in folder.glob("*_green.png"))
    return [[folder / f"{name}_{channel}.png" for channel in CHANNELS] for name in names]


def _generate(folder: Path, images: int = 4) -> list[list[Path]]:
    """Images of blurred noise, whose PNGs are about as large as those of real images."""
    draws = np.random.default_rng(0)
    paths = []
    for number in range(images):
        paths.append([folder / f"{number}_{channel}.png" for channel in CHANNELS])
        for path in paths[-1]:
            rough = cv2.GaussianBlur(draws.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 8)
            fine = draws.normal(0, 1, (SIDE, SIDE)) * (rough > 0)
            cv2.imwrite(str(path), np.clip(np.maximum(rough, 0) * 900 + fine, 0, 255).astype(np.uint8))
    return paths


def _cache(folder: Path, png: FromPNG, rows: int) -> PixelCache:
    images = [png.read(number) for number in range(len(png.paths))]
    names = [str(row) for row in range(rows)]
    write_cache(folder, names, range(rows), lambda row: images[row % len(images)], CHANNELS, png.size)
    return PixelCache.open(folder)


def _loader(sample: Callable[[int, int], Sample], loaders: int) -> BatchLoader:
    return BatchLoader(sample, default_collate, make_accelerator("no"), MachineConfig(loaders=loaders))


def _rate(loader: BatchLoader, samples: int, epoch: int) -> float:
    order = np.random.default_rng(epoch).permutation(samples)
    start = time.perf_counter()
    count = sum(len(batch["index"]) for batch in loader.batches(np.array_split(order, -(-samples // BATCH)), epoch))
    assert count == samples
    return samples / (time.perf_counter() - start)


def _print_parts(cache: PixelCache, data: ImageDataset, png: FromPNG) -> None:
    """Mean milliseconds of each part of a sample, in this process."""
    assert data.augmentation is not None
    augment, images = data.augmentation, np.array(cache.pixels[:BATCH])
    files = png.paths[0]
    planes = _decode(files)
    samples = [data.sample(row, 0) for row in range(BATCH)]
    parts = {
        "cache: copy from the memory map": _milliseconds(lambda turn: np.array(cache.pixels[turn % len(cache)])),
        "both: augment": _milliseconds(lambda turn: augment(images[turn % BATCH], np.random.default_rng(turn)), 200),
        "both: stack a batch, per sample": _milliseconds(lambda _: default_collate(samples)) / BATCH,
        "cv2.imread: decode": _milliseconds(
            lambda _: [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in files], 5
        ),
        "cv2.imread: resize": _milliseconds(
            lambda _: [cv2.resize(plane, (png.size, png.size), interpolation=cv2.INTER_AREA) for plane in planes], 5
        ),
    }
    for name, value in parts.items():
        print(f"  {name:34}{value:8.2f} ms")
    ours = {name: value for name, value in parts.items() if not name.startswith("cv2")}
    print(f"limit of the loader: {max(ours, key=lambda name: ours[name])}")


def _milliseconds(work: Callable[[int], object], rounds: int = 50) -> float:
    """Mean over rounds, since augmentation's work differs from sample to sample."""
    start = time.perf_counter()
    for turn in range(rounds):
        work(turn)
    return (time.perf_counter() - start) * 1e3 / rounds


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
