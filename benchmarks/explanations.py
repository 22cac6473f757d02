"""All methods of attribution beside each other, judged: on simulated images with known cells, and on real ones.

    python benchmarks/explanations.py [--images 40] [--train 480] [--size 96] [--epochs 8] [--backbone NAME]
        [--levels 2] [--cheap] [--methods KIND ...] [--real ../shared/data/hpa2018] [--real-images 20] [--keep DIR]
        [--threads 1]

Trains its own small network on the simulated atlas by `train_image_level`, half of the images held out, and explains
held out ones by `explain`. Tables: part of the positive evidence in the true cells, and in the part of them where the
class's structure is (in brackets what a map without information reaches); areas under the insertion and deletion
curves; likeness (rank correlation) to the map of the network with random weights; seconds per map. Means and standard
errors.

`--real` takes a folder in the layout of the 2018 competition (`train/`, `train.csv`). Its images are explained by the
network that learned from simulated ones, which has the same classes and channels: fifty images are too few to learn
from. What the table says there is whether maps follow that network's answers, right or wrong; their cells come from the
classical watershed, and where the class truly is nobody knows. `--keep` goes on after a kill.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
import yaml

from hpa.config import load_config
from hpa.report.explanation_wording import NAMES, cost, method_name
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cells_config import SegmentCellsConfig
from hpa.stages.explanation import explain
from hpa.stages.explanation.explain_config import ExplainConfig
from hpa.stages.image_level import train_image_level
from hpa.stages.image_level.train_image_level import TrainImageLevelConfig

CONFIG = Path(__file__).parents[1] / "configs" / "explain" / "methods.yaml"
DEAR = ("smooth_grad", "integrated_gradients", "gradient_shap", "partition_shap", "kernel_shap", "lime")
"""Kinds that need dozens of passes of the network or more; with `--cheap` they are left out."""

REGIONS = {"true_cells": "in true cells", "true_part": "in true part", "any_cell": "in cells"}


def main() -> None:
    """Train, explain, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40, help="simulated images explained")
    parser.add_argument("--train", type=int, default=480, help="simulated images, half of them held out")
    parser.add_argument("--size", type=int, default=96, help="side of the network's input, pixels")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0", help="with ImageNet weights of a pip package")
    parser.add_argument("--levels", type=int, default=2, help="of randomised weights; 0 leaves that out")
    parser.add_argument("--cheap", action="store_true", help="only methods that need few passes")
    parser.add_argument("--methods", nargs="+", choices=list(NAMES), metavar="KIND", help="only these kinds")
    parser.add_argument("--real", type=Path, help="folder of real images in the layout of the 2018 competition")
    parser.add_argument("--real-images", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="folder that keeps all")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.keep or Path(temporary)).resolve()
        data = simulated(work, options)
        start = time.perf_counter()
        run = train_image_level.run(load_config(TrainImageLevelConfig, overrides=[*data, *network(work, options)]))
        per_class = pd.read_csv(run / "per_class.csv")
        print(
            f"{options.backbone}, {options.size} px, {options.train // 2} simulated images learned from: macro AP "
            f"{per_class['ap'].mean():.3f} on the others; {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        explained(work / "simulated", [*data, f"images={options.images}"], run, options)
        if options.real is not None:
            explained(work / "real", real(work, options), run, options)


def simulated(work: Path, options: argparse.Namespace) -> list[str]:
    """Overrides of the simulated data set."""
    atlas = (f"images={options.train}", "size=256", "field=81.92")
    return [
        *(f"data.source.simulation.{one}" for one in atlas),
        *(f"data.out={work / 'work'}", "data.fold.folds=2", "data.workers.kind=none"),
    ]


def network(work: Path, options: argparse.Namespace) -> list[str]:
    """Overrides of the training."""
    return [
        *(f"out={work / 'run'}", f"data.cache.size={options.size}", f"model.name={options.backbone}"),
        *("folds=[0]", "tta=1", f"loop.epochs={options.epochs}", "machine.loaders=0"),
    ]


def real(work: Path, options: argparse.Namespace) -> list[str]:
    """Overrides of the real data set, whose cells are found first."""
    folder = options.real.resolve()
    data = [
        *("data.source.kind=kaggle2018", "data.source.classes=hpa2021", f"data.source.folder={folder / 'train'}"),
        *(f"data.source.csv={folder / 'train.csv'}", f"data.out={work / 'real_work'}", "data.workers.kind=none"),
    ]
    cells = segment_cells.run(
        load_config(SegmentCellsConfig, overrides=[*data, f"out={work / 'real_cells'}", "examples=0"])
    )
    return [*data, f"cells={cells}", "out_of_fold=false", f"images={options.real_images}"]


def explained(out: Path, overrides: list[str], run: Path, options: argparse.Namespace) -> None:
    """Explain some images by all methods, and print the table."""
    methods = yaml.safe_load(CONFIG.read_text())["methods"]
    if options.cheap:
        methods = [method for method in methods if method["kind"] not in DEAR]
    if options.methods:
        methods = [method for method in methods if method["kind"] in options.methods]
    config = load_config(
        ExplainConfig, overrides=[*overrides, f"run={run}", f"out={out}", f"judging.levels={options.levels}"]
    )
    config = ExplainConfig.model_validate(config.model_dump() | {"methods": methods})
    start = time.perf_counter()
    folder = explain.run(config)
    comparison = pd.read_csv(folder / "comparison.csv")
    questions = pd.read_parquet(folder / "questions.parquet")
    print(
        f"\n{out.name}: {questions['item'].nunique()} images, {len(questions)} explained classes "
        f"({', '.join(f'{count} {status}' for status, count in questions['status'].value_counts().items())}), "
        f"{time.perf_counter() - start:.0f} s"
    )
    print(shown(comparison).to_string(index=False), flush=True)


def shown(comparison: pd.DataFrame) -> pd.DataFrame:
    """The columns that count, with standard errors."""
    table = {"method": comparison["method"].map(method_name)}
    for region, words in REGIONS.items():
        if f"energy_{region}" in comparison and not (region == "any_cell" and "energy_true_cells" in comparison):
            area = comparison[f"area_{region}"].mean()
            table[f"{words} ({area:.2f})"] = with_error(comparison, f"energy_{region}")
    if "hit_true_cells" in comparison:
        table["points at them"] = with_error(comparison, "hit_true_cells")
    table |= {name: with_error(comparison, name) for name in ("insertion", "deletion")}
    levels = [name for name in comparison if name.startswith("randomized_") and not name.endswith("_error")]
    if levels:
        table["random weights"] = with_error(comparison, levels[-1])
    table["s/map"] = comparison["seconds"].map(cost)
    return pd.DataFrame(table)


def with_error(comparison: pd.DataFrame, column: str) -> list[str]:
    """Mean and standard error as text."""
    errors = comparison.get(f"{column}_error", pd.Series(float("nan"), comparison.index))
    return [
        "-" if pd.isna(value) else f"{value:.2f}" if pd.isna(error) else f"{value:.2f} ± {error:.2f}"
        for value, error in zip(comparison[column], errors, strict=True)
    ]


if __name__ == "__main__":
    main()
