"""mAP of cells by every weak method, beside copying the image's label and beside training on true labels.

    python benchmarks/weak_methods.py [--seeds 0 1 2] [--images 600] [--test 200] [--true-cells] [--real DIR]
        [--keep DIR] [key=value ...]

Each seed is one `run_pipeline` with two rounds of pseudo-labels and the supervised upper bound: its own simulated
training images, its own networks, the same test images for all. The project's watershed finds the cells; with
--true-cells the first seed is run once more on the true label maps, and the difference is what segmentation costs. All
trainings on cells see as many cells per epoch and as many epochs as the configuration says; overrides go to every run.
How well the pseudo-labels match the true labels of the cells is printed for each round.

--real takes a folder with images in `train/`, `cell_ratings.csv` and the graded cells in `masks/`: the first seed's
networks, trained on simulated cells alone, score its images; its report shows them, and the rank correlation of the
ratings with each method's scores is printed.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hpa import cli
from hpa.evaluation import match_instances
from hpa.labels import HPA2021
from hpa.pseudolabels import carry_ratings, rank_agreement, read_ratings
from hpa.segmentation import find_label_map, read_label_map
from hpa.stages.cells.cells_config import CELLS, label_map_path
from hpa.stages.pipeline.pipeline_report import read_scores
from hpa.tables import CELL_KEY, class_values

TEST_SEED = 1000
METHODS = ("copy", "cam", "bag", "pseudo1", "pseudo2", "supervised", "fused")
"""Folders of the scores of test cells, without `_test`."""
ON_CELLS = ("bag", "supervised", "pseudo1_labels", "pseudo1", "pseudo2_labels", "pseudo2")
TRAINED = ("train", "image_level", "copy_train", "train_cells", "train_crops", "cam_train", "true_labels", *ON_CELLS)
"""Folders that hold nothing of the test images."""


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=600, help="to learn from, per seed")
    parser.add_argument("--test", type=int, default=200, help="images to predict")
    parser.add_argument("--true-cells", action="store_true", help="the first seed on true label maps, too")
    parser.add_argument("--real", type=Path, help="folder of real images with graded cells")
    parser.add_argument("--keep", type=Path, help="folder that keeps the runs, to go on after a kill")
    parser.add_argument("overrides", nargs="*", help="for every pipeline")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.keep or Path(temporary)
        found = {seed: run(work / f"seed{seed}", seed, arguments) for seed in arguments.seeds}
        print_methods([metrics["map"] for metrics in found.values()])
        print_labels([work / f"seed{seed}" for seed in arguments.seeds])
        if arguments.real:
            out = work / f"seed{arguments.seeds[0]}-real"
            share_training(work / f"seed{arguments.seeds[0]}", out, TRAINED)
            run(out, arguments.seeds[0], arguments, real=arguments.real)
            print_ratings(out, arguments.real)
        if arguments.true_cells:
            seed = arguments.seeds[0]
            maps = collect_true_maps(work / f"seed{seed}", work / "true_maps")
            share_training(work / f"seed{seed}", work / f"seed{seed}-true-cells", ("train", "image_level"))
            settings = ["segmenter.kind=labels", f"segmenter.cells={maps}/cells", f"segmenter.nuclei={maps}/nuclei"]
            exact = run(work / f"seed{seed}-true-cells", seed, arguments, settings)
            print(f"\nSeed {seed}: mAP with true label maps, and what the project's segmentation loses")
            table = pd.DataFrame({"true maps": exact["map"], "watershed": found[seed]["map"]})
            print(table.assign(loss=table["true maps"] - table["watershed"]).to_string(float_format="%.3f"))


def run(
    out: Path, seed: int, arguments: argparse.Namespace, more: Sequence[str] = (), real: Path | None = None
) -> dict[str, Mapping[str, float]]:
    """One pipeline; its metrics."""
    simulated = [f"test.source.simulation.images={arguments.test}", f"test.source.simulation.seed={TEST_SEED}"]
    settings = [
        *(f"out={out}", "rounds=2", "supervised=true", "examples=4"),
        *(f"data.source.simulation.images={arguments.images}", f"data.source.simulation.seed={seed}"),
        *(simulated if real is None else ("test.source.kind=kaggle2021", f"test.source.folder={real / 'train'}")),
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


def print_labels(outs: Sequence[Path]) -> None:
    """Agreement of the pseudo-labels of every round with the true labels of the cells, mean over the seeds."""
    for name in ("pseudo1_labels", "pseudo2_labels"):
        found = [json.loads((out / name / "metrics.json").read_text())["agreement"] for out in outs]
        for kind in ("image_labels", "evidence", "labels"):
            macro = pd.DataFrame([agreement[kind]["macro"] for agreement in found]).mean()
            print(f"\n{name}, {kind}: " + ", ".join(f"{key} {value:.3f}" for key, value in macro.items()))
        tables = [pd.DataFrame(agreement["labels"]["per_class"]).set_index("class") for agreement in found]
        columns = ["true_cells", "precision", "recall", "auc", "ap"]
        print(pd.concat(tables)[columns].groupby(level=0, sort=False).mean().to_string(float_format="%.3f"))


def share_training(source: Path, target: Path, names: Sequence[str]) -> None:
    """Give a second pipeline what a first one made for its training images, as hard links."""
    for name in names:
        if (source / name).exists() and not (target / name).exists():
            shutil.copytree(source / name, target / name, copy_function=os.link)


def print_ratings(out: Path, real: Path) -> None:
    """Rank correlation of the ratings of real cells with every method's scores of the cells that were found."""
    ratings = read_ratings(real / "cell_ratings.csv", HPA2021)
    numbers = {}
    for image_id in ratings["image_id"].unique():
        found = read_label_map(label_map_path(out / "test_cells", CELLS, image_id))
        pairs = match_instances(read_label_map(find_label_map(real / "masks", "{image_id}", image_id)), found, 0.5)
        numbers[image_id] = dict(zip(pairs.true_ids.tolist(), pairs.predicted_ids.tolist(), strict=True))
    carried = carry_ratings(ratings, numbers)
    tables = {}
    for method in METHODS:
        scores = read_scores(out / f"{method}_test")
        table = rank_agreement(carried, scores[list(CELL_KEY)], class_values(scores, HPA2021), HPA2021)
        tables[method] = table.set_index(["class", "cells"])["spearman"]
    print(f"\nReal cells: {len(carried)} of {len(ratings)} ratings have a found cell; rank correlation with the scores")
    print(pd.DataFrame(tables).to_string(float_format="%.2f"))


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
