"""mAP of cells by every weak method, beside copying the image's label and beside training on true labels.

    python benchmarks/weak_methods.py [--seeds 0 1 2] [--images 600] [--test 200] [--keep DIR] [key=value ...]

Each seed is one `run_pipeline` with two rounds of pseudo-labels and the supervised upper bound: its own simulated
training images, its own networks, the same test images for all. The project's watershed finds the cells; with
--true-cells the first seed is run once more on the true label maps, and the difference is what segmentation costs. All
trainings on cells see as many cells per epoch and as many epochs as the configuration says; overrides go to every run.
How well the pseudo-labels match the true labels of the cells is printed for each round.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hpa import cli

TEST_SEED = 1000


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=600, help="to learn from, per seed")
    parser.add_argument("--test", type=int, default=200, help="images to predict")
    parser.add_argument("--true-cells", action="store_true", help="the first seed on true label maps, too")
    parser.add_argument("--keep", type=Path, help="folder that keeps the runs, to go on after a kill")
    parser.add_argument("overrides", nargs="*", help="for every pipeline")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.keep or Path(temporary)
        found = {seed: run(work / f"seed{seed}", seed, arguments) for seed in arguments.seeds}
        print_methods([metrics["map"] for metrics in found.values()])
        for seed in arguments.seeds:
            print_labels(work / f"seed{seed}", seed)
        if arguments.true_cells:
            seed = arguments.seeds[0]
            maps = collect_true_maps(work / f"seed{seed}", work / "true_maps")
            settings = ["segmenter.kind=labels", f"segmenter.cells={maps}/cells", f"segmenter.nuclei={maps}/nuclei"]
            exact = run(work / f"seed{seed}-true-cells", seed, arguments, settings)
            print(f"\nSeed {seed}: mAP with true label maps, and what the project's segmentation loses")
            table = pd.DataFrame({"true maps": exact["map"], "watershed": found[seed]["map"]})
            print(table.assign(loss=table["true maps"] - table["watershed"]).to_string(float_format="%.3f"))


def run(
    out: Path, seed: int, arguments: argparse.Namespace, more: Sequence[str] = ()
) -> dict[str, Mapping[str, float]]:
    """One pipeline; its metrics."""
    settings = [
        *(f"out={out}", "rounds=2", "supervised=true", "examples=4"),
        *(f"data.source.simulation.images={arguments.images}", f"data.source.simulation.seed={seed}"),
        *(f"test.source.simulation.images={arguments.test}", f"test.source.simulation.seed={TEST_SEED}"),
        *(f"{section}.loop.seed={seed}" for section in ("image_level", "bags", "cell_level")),
    ]
    try:
        cli.main(["run_pipeline", *settings, *arguments.overrides, *more])
    except SystemExit as ended:
        if ended.code:
            raise
    metrics: dict[str, Mapping[str, float]] = json.loads((out / "metrics.json").read_text())
    return metrics


def print_methods(seeds: Sequence[Mapping[str, float]]) -> None:
    """mAP of every method: mean and spread over the seeds, gain over copy, share of supervised."""
    names = list(dict.fromkeys(name for methods in seeds for name in methods))
    rows = []
    for name in names:
        having = [methods for methods in seeds if name in methods]
        values = [methods[name] for methods in having]
        rows.append(
            {
                "method": name,
                "seeds": len(values),
                "mAP": statistics.mean(values),
                "least": min(values),
                "most": max(values),
                "over copy": statistics.mean(methods[name] - methods["copy"] for methods in having),
                "of supervised": statistics.mean(methods[name] / methods["supervised"] for methods in having),
            }
        )
    print(f"\nmAP of cells over {len(seeds)} seeds")
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.3f"))


def print_labels(out: Path, seed: int) -> None:
    """Agreement of the pseudo-labels of every round with the true labels of the cells."""
    for path in sorted(out.glob("pseudo*_labels/metrics.json")):
        found = json.loads(path.read_text())
        print(f"\nSeed {seed}, {path.parent.name}")
        print(json.dumps(found.get("truth", found), indent=1)[:4000])


def collect_true_maps(out: Path, target: Path) -> Path:
    """True label maps of both parts in one folder; their names differ by seed."""
    for part in ("train", "test"):
        for kind, name in (("cell_maps", "cells"), ("nucleus_maps", "nuclei")):
            (target / name).mkdir(parents=True, exist_ok=True)
            for path in (out / part / "simulate" / "truth" / kind).glob("*.png"):
                shutil.copy(path, target / name)
    return target


if __name__ == "__main__":
    main()
