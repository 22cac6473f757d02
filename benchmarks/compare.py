"""Overhead of `compare` against training the same variants one by one with `train_image_level`.

    python benchmarks/compare.py [--images 300] [--size 64] [--epochs 4] [--rounds 2] [--model tf_efficientnet_lite0]
        [--threads N] [key=value ...]

Two learning rates on a simulated atlas, two folds each; the data are prepared before. In each round, in turn: the two
trainings by themselves; `compare` of them with nothing measured but the figures (no robustness, costs as short as can
be); and then, on the runs that stand, `compare` with robustness, costs and 1,000 resamplings. Prints the seconds of
each and the ratios to plain training: what the comparison itself adds, and what its measurements add.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from hpa.config import load_config
from hpa.stages.comparison import compare
from hpa.stages.comparison.compare_config import CompareConfig
from hpa.stages.data.dataset import prepare
from hpa.stages.image_level import train_image_level

BARE = ("robustness=null", "costs.seconds=1e-9", "costs.batch_size=1", "bootstrap.rounds=1", "bootstrap.figures=[]")


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--size", type=int, default=64, help="pixels of the network's input")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0 for its own choice")
    parser.add_argument("overrides", nargs="*", help="of the comparison")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    plain: list[float] = []
    bare: list[float] = []
    whole: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        prepare(settings(work, options).base.data)
        for number in range(options.rounds):
            alone, together = settings(work / "alone", options), settings(work / "together", options, *BARE)
            measured = settings(work / "together", options)
            for is_plain in (True, False) if number % 2 == 0 else (False, True):
                if is_plain:
                    plain.append(seconds(partial(train_each, alone)))
                else:
                    bare.append(seconds(partial(compare.run, together)))
            shutil.rmtree(work / "together" / "compare" / "measures")
            whole.append(seconds(partial(compare.run, measured)))
            print(
                f"round {number + 1}: plain {plain[-1]:.1f} s, compare {bare[-1]:.1f} s, measurements {whole[-1]:.1f} s"
            )
            for folder in ("alone", "together"):
                shutil.rmtree(work / folder)
    print(f"compare / plain training: {statistics.median(b / p for b, p in zip(bare, plain, strict=True)):.3f}")
    print(f"measurements / plain training: {statistics.median(w / p for w, p in zip(whole, plain, strict=True)):.3f}")


def settings(work: Path, options: argparse.Namespace, *more: str) -> CompareConfig:
    """A comparison of two learning rates in a folder, on the data that all share."""
    data = work if work.name not in ("alone", "together") else work.parent
    given = [
        f"out={work / 'compare'}",
        f"base.data.out={data / 'data'}",
        f"base.data.source.simulation.images={options.images}",
        *("base.data.source.simulation.size=128", "base.data.source.simulation.field=81.92", "base.data.fold.folds=2"),
        f"base.data.cache.size={options.size}",
        *(f"base.model.name={options.model}", "base.model.pretrained.kind=none", "base.folds=all"),
        f"base.loop.epochs={options.epochs}",
        "grid={loop.learning_rate: [0.001, 0.002]}",
        *more,
        *options.overrides,
    ]
    return load_config(CompareConfig, overrides=given)


def train_each(config: CompareConfig) -> None:
    """What `compare` trains, without it."""
    for training in config.trainings().values():
        train_image_level.run(training)


def seconds(function: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
