"""Images per second and core of the simulated atlas, drawing alone and with the writing of its files.

    python benchmarks/simulate.py [--images 40] [--sizes 256 512]

The yardstick is the demand of 2 images/s per core at 512 px; the ratio to it is printed at that size.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2

from hpa.parallel import WorkersConfig
from hpa.simulation import SimulationConfig, simulate_image
from hpa.stages.data.simulate import SimulateConfig, run

DEMANDED = 2.0
"""Images per second and core at 512 px."""


def main() -> None:
    """Time both and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for size in arguments.sizes:
        config = SimulationConfig(images=arguments.images, size=size)
        simulate_image(config, 0)
        times = []
        for index in range(config.images):
            start = time.perf_counter()
            simulate_image(config, index)
            times.append(time.perf_counter() - start)
        times.sort()
        rate = len(times) / sum(times)
        ratio = f", {rate / DEMANDED:.1f} x the demanded {DEMANDED:g}" if size == 512 else ""
        slow, fast = 1 / times[int(0.9 * len(times))], 1 / times[int(0.1 * len(times))]
        print(f"{size} px: {rate:.2f} images/s on one core (single images {slow:.1f} to {fast:.1f}){ratio}")
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            run(SimulateConfig(out=Path(folder) / "atlas", simulation=config, workers=WorkersConfig(kind="none")))
            print(f"{size} px: {config.images / (time.perf_counter() - start):.2f} images/s with all files written")


if __name__ == "__main__":
    main()
