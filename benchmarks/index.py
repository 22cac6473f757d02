"""Cost of indexing 1,000 four-channel images, against bare `cv2.imread` of the same files in as many processes.

    python benchmarks/index.py [--images 1000] [--size 512] [--folder DIR] [--workers 2] [--rounds 3]

The images are those of a Kaggle folder, or simulated ones of `--size` pixels; where there are fewer than wanted, each
is linked under several names. The parts of the work on one core say what limits it.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from hpa.datasets import Kaggle2021, list_images
from hpa.images import CHANNELS, read_image
from hpa.intensity import intensities
from hpa.parallel import WorkersConfig, available_cores, map_images, open_executor
from hpa.phash import perceptual_hash
from hpa.simulation import SimulationConfig
from hpa.stages.data import index, simulate
from hpa.stages.data.dataset_config import DatasetConfig

DISTINCT = 50


def main() -> None:
    """Time both and print seconds, their ratio and the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    workers = WorkersConfig(count=arguments.workers)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as text:
        work = Path(text)
        source = arguments.folder or _simulate(
            work / "simulate", min(arguments.images, DISTINCT), arguments.size, workers
        )
        images = _link(source, work / "images", arguments.images)
        ours, bare = [], []
        for turn in range(arguments.rounds):
            config = DatasetConfig(
                out=work / f"out{turn}", source=Kaggle2021(folder=work / "images", follow_links=True), workers=workers
            )
            ours.append(_seconds(lambda config=config: index.run(config)))  # type: ignore[misc]
            bare.append(_seconds(lambda: _read_all(images, workers)))
        ratios = [a / b for a, b in zip(ours, bare, strict=True)]
        height, width = read_image(images[0], CHANNELS).shape[1:]
        print(
            f"{len(images)} images of 4 x {width} x {height}, {arguments.workers} processes, {arguments.rounds} rounds"
        )
        print(f"index          {_spread(ours)} s")
        print(f"cv2.imread     {_spread(bare)} s")
        print(f"index / imread {_spread(ratios)}")
        _print_parts(images[:DISTINCT])


def _simulate(out: Path, images: int, size: int, workers: WorkersConfig) -> Path:
    config = simulate.SimulateConfig(out=out, simulation=SimulationConfig(images=images, size=size), workers=workers)
    return simulate.run(config) / "train"


def _link(source: Path, folder: Path, count: int) -> list[list[str]]:
    """As many images as wanted, each its own files by name; hard links where the file system allows."""
    folder.mkdir()
    found = list_images(Kaggle2021(folder=source, follow_links=True)).images["paths"].tolist()
    images = []
    for number in range(count):
        paths = []
        for channel, path in zip(CHANNELS, found[number % len(found)], strict=True):
            target = folder / f"i{number:05d}_{channel}{''.join(Path(path).suffixes)}"
            try:
                os.link(path, target)
            except OSError:
                shutil.copy(path, target) if number < len(found) else target.symlink_to(Path(path).resolve())
            paths.append(str(target))
        images.append(paths)
    return images


class _Imread:
    """The baseline's work per image."""

    def __call__(self, paths: tuple[str, ...]) -> int:
        cv2.setNumThreads(1)
        planes = [cv2.imread(path, cv2.IMREAD_UNCHANGED) for path in paths]
        return sum(len(plane) for plane in planes if plane is not None)


def _read_all(images: Sequence[Sequence[str]], workers: WorkersConfig) -> None:
    with open_executor(workers) as executor:
        for _ in map_images(_Imread(), [tuple(paths) for paths in images], executor):
            pass


def _print_parts(images: Sequence[Sequence[str]]) -> None:
    """Milliseconds per image of each step, on one core."""
    cv2.setNumThreads(1)
    pixels = [read_image(paths, CHANNELS) for paths in images]
    imread = _Imread()
    steps: dict[str, Callable[[], object]] = {
        "cv2.imread": lambda: [imread(tuple(paths)) for paths in images],
        "read_image (checks and decodes)": lambda: [read_image(paths, CHANNELS) for paths in images],
        "intensities": lambda: [intensities(image) for image in pixels],
        "perceptual_hash": lambda: [perceptual_hash(image) for image in pixels],
    }
    taken = {name: 1000 * min(_seconds(step) for _ in range(3)) / len(images) for name, step in steps.items()}
    for name, milliseconds in taken.items():
        print(f"{name:32} {milliseconds:7.2f} ms per image on one core")
    bare, *ours = taken.values()
    print(f"limit: decoding, {bare / sum(ours):.0%} of the work per image if it is the bare decoder's")


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):8.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
