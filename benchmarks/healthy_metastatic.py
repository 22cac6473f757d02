"""Single cells of two kinds: folds by dish against random folds, answers to class imbalance, and CLAHE.

    python benchmarks/healthy_metastatic.py [--data ../shared/data/healthy_metastatic] [--epochs 10] [--rare 0.3]
        [--only dishes imbalance clahe] [--keep DIR] [--rounds 1000] [key=value ...]

dishes: every dish whose class has another dish is held out once, and its cells are predicted by a network that has
never seen it; beside it the same cells out of random folds, where cells of the same dish were learned. The figure is
the share of these cells that are decided right (each dish has one class, so that accuracy, not AUC, is defined on a
dish). Cells of a class with one dish only cannot be measured so, and are not. imbalance: a share `--rare` of the
healthy cells is kept, random folds; weights, samplers, copies of rare images (whose epochs are longer for that) and
moved thresholds. clahe: random folds, all cells. Intervals and differences: 95 %, cells (or dishes, where there are
more than four) drawn with replacement. Overrides go to every training.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Targets
from hpa.config import load_config, validate
from hpa.evaluation import decide
from hpa.evaluation.paired import Predictor, compare, intervals, resample
from hpa.evaluation.weighted_rounds import Statistic
from hpa.labels import ClassList
from hpa.stages.comparison import ensemble
from hpa.stages.comparison.ensemble_config import EnsembleConfig
from hpa.stages.data import fold
from hpa.stages.image_level import train_image_level
from hpa.stages.image_level.train_image_level import TrainImageLevelConfig
from hpa.tables import align, class_values, read_table

CONFIG = Path(__file__).parents[1] / "configs" / "image_level" / "healthy_metastatic.yaml"
CLASSES = ClassList(names=("healthy", "metastatic"), multi_label=False)
STRATEGIES: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "weights": ("loss.class_weights.kind=inverse_frequency",),
    "balanced sampler": ("sampler.kind=balanced",),
    "augmented copies of rare images": ("sampler.kind=oversampled",),
}


def main() -> None:
    """Run the parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).parents[2] / "shared" / "data"
    samples = Path(os.environ.get("HPA_SAMPLE_DATA", shared)) / "healthy_metastatic"
    parser.add_argument("--data", type=Path, default=samples)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rare", type=float, default=0.3, help="part of the healthy cells that `imbalance` keeps")
    parser.add_argument("--only", nargs="+", default=["dishes", "imbalance", "clahe"])
    parser.add_argument("--keep", type=Path, help="folder that keeps all, to go on after a kill")
    parser.add_argument("--rounds", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("overrides", nargs="*", help="for every training")
    options = parser.parse_args()
    parts: Mapping[str, Callable[[Path, argparse.Namespace], None]] = {
        "dishes": dishes,
        "imbalance": imbalance,
        "clahe": clahe,
    }
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        for name in options.only:
            parts[name](work / name, options)


def dishes(work: Path, options: argparse.Namespace) -> None:
    """Folds by dish and random folds, on the same cells."""
    files = sorted(path for path in options.data.rglob("*") if path.is_file())
    of_class = {(path.parent.name, path.name.partition("_")[0]) for path in files}
    count = len(of_class)
    source = f"data.source.folder={options.data.resolve()}"
    near = ("data.index.duplicate_distance=null", f"data.fold.folds={count}")
    config = settings(work / "by_dish", options, source, *near)
    folder = fold.run(config.data)
    folds = read_table(folder / fold.FOLDS)
    images = read_table(config.data.index_folder / "images.parquet")
    images["class"] = images["image_id"].str.partition("_")[0]
    merged = images.merge(folds, on="image_id")
    usable = [
        int(number)
        for number in sorted(merged["fold"].unique())
        if merged.loc[merged["fold"] != number, "class"].nunique() == len(CLASSES)
    ]
    if not usable:
        print("dishes: no class has two dishes, so that nothing can be measured by dish")
        return
    by_dish = train_image_level.run(settings(work / "by_dish", options, source, *near, f"folds={usable}"))
    random = train_image_level.run(
        settings(work / "random", options, source, *near, "data.source.group_pattern=null", "folds=all")
    )
    tables = {"by dish": by_dish, "random": random}
    predictors, targets, kept = predictions(tables, config.data.index_folder)
    dish = merged.set_index("image_id").loc[kept, "group"].to_numpy()
    held = ", ".join(sorted(set(dish.tolist())))
    print(f"\ndishes: {len(kept)} cells of the dishes held out ({held}); {count} dishes in all")
    show(targets, predictors, options, ("accuracy",), "random", dish if len(set(dish.tolist())) > 4 else None)


def imbalance(work: Path, options: argparse.Namespace) -> None:
    """Answers to a rare class, on the same cells."""
    folder = work / "cells"
    for kind in CLASSES.names:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        files = sorted((options.data / kind).iterdir())
        kept = max(5, round(options.rare * len(files))) if kind == "healthy" else len(files)
        for number in np.random.default_rng(0).permutation(len(files))[:kept]:
            shutil.copy(files[number], folder / kind)
    random = (f"data.source.folder={folder}", "data.source.group_pattern=null", "data.fold.folds=5", "folds=all")
    runs = {
        name: train_image_level.run(settings(work / name.replace(" ", "_"), options, *random, *own, data=work / "data"))
        for name, own in STRATEGIES.items()
    }
    member = {"name": "plain", "paths": [runs["nothing"]]}
    moved = {"members": [member], "compared": [], "data": {"out": work / "data"}, "moving": "macro_recall"}
    moved_run = ensemble.run(validate(EnsembleConfig, moved | {"rounds": 10, "out": work / "moved"}))
    index = work / "data" / "index"
    predictors, targets, kept_ids = predictions(runs, index)
    decided = read_table(moved_run / "decided.parquet").set_index("image_id").loc[kept_ids].reset_index()
    plain = predictors["nothing"]
    predictors["moved thresholds"] = Predictor(plain.probabilities, class_values(decided, CLASSES) > 0)
    counts = dict(zip(CLASSES.names, targets.sum(axis=0).astype(int).tolist(), strict=True))
    print(f"\nimbalance: {counts}, random folds")
    show(targets, predictors, options, ("accuracy", "macro_f1", "macro_auc"), "nothing")


def clahe(work: Path, options: argparse.Namespace) -> None:
    """With and without CLAHE, on the same cells."""
    random = (f"data.source.folder={options.data.resolve()}", "data.source.group_pattern=null", "data.fold.folds=5")
    runs = {
        name: train_image_level.run(settings(work / name, options, *random, "folds=all", *own, data=work / "data"))
        for name, own in {"plain": (), "CLAHE": ("data.cache.clahe={clip: 2.0, tiles: 8}",)}.items()
    }
    predictors, targets, _ = predictions(runs, work / "data" / "index")
    print(f"\nclahe: {len(targets)} cells, random folds")
    show(targets, predictors, options, ("accuracy", "macro_auc"), "plain")


def settings(
    out: Path, options: argparse.Namespace, *overrides: str, data: Path | None = None
) -> TrainImageLevelConfig:
    """A training of the configuration, each in a folder of its own."""
    own = [f"loop.epochs={options.epochs}", f"data.out={data or out / 'data'}", f"out={out / 'run'}"]
    return load_config(TrainImageLevelConfig, CONFIG, [*own, *overrides, *options.overrides])


def predictions(runs: Mapping[str, Path], index: Path) -> tuple[dict[str, Predictor], Targets, list[str]]:
    """Out-of-fold probabilities and decisions of the images that all runs held out, with their labels and ids."""
    tables = {name: read_table(run / train_image_level.OUT_OF_FOLD) for name, run in runs.items()}
    common = sorted(set.intersection(*(set(table["image_id"]) for table in tables.values())))
    keys = pd.DataFrame({"image_id": common})
    labels = read_table(index / "labels.parquet")
    targets = class_values(align(keys, labels[labels["image_id"].isin(common)]), CLASSES)
    predictors = {}
    for name, table in tables.items():
        values = class_values(align(keys, table[table["image_id"].isin(common)]), CLASSES)
        predictors[name] = Predictor(values, decide(values, CLASSES))
    return predictors, targets, common


def show(
    targets: Targets,
    predictors: Mapping[str, Predictor],
    options: argparse.Namespace,
    statistics: tuple[Statistic, ...],
    baseline: str,
    groups: np.ndarray | None = None,
) -> None:
    """Print figures with intervals, recalls, and the differences from a baseline."""
    rows = pd.DataFrame({"": list(predictors)})
    differences = []
    for name in statistics:
        found = resample(targets, predictors, name, groups, rounds=options.rounds)
        ends = intervals(found).set_index("name").loc[list(predictors)]
        rows[name] = [f"{row.value:.3f} ({row.low:.3f}-{row.high:.3f})" for row in ends.itertuples()]
        differences += [
            f"{name}: {row.first} - {row.second} {row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
            for row in compare(found, baseline=baseline).itertuples()
        ]
    for number, kind in enumerate(CLASSES.names):
        rows[f"recall {kind}"] = [_recall(targets, one.decisions, number) for one in predictors.values()]
    print(rows.to_string(index=False))
    print("\n".join(differences))


def _recall(targets: Targets, decisions: Bool[np.ndarray, "items classes"], number: int) -> str:
    own = targets[:, number] > 0
    return f"{decisions[own, number].mean():.3f}" if own.any() else "-"


if __name__ == "__main__":
    main()
