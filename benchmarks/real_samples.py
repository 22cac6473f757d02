"""The commands on real images, each a small run, from the files to the report.

    python benchmarks/real_samples.py [--data ../shared/data] [--only hpa2018 ...] [--keep DIR]

Index, folds, cache and training on hpa2018 and hpa2021, two optimiser steps of EfficientNet-B7 at 600 px on both, and
`hpa predict` on PneumoniaMNIST's test part. The single-label tasks go from training to explanations: healthy or
metastatic cells with and without CLAHE; chest X-rays by three networks at 400 px, two ensembles of them, Grad-CAM and
SHAP of a fourth; histology tiles (LC25000); and nine cell lines by SHAP and LIME, whose sample is a table without
pixels: its labels, a fiftieth of them, get simulated fields, of the same line where the simulator has it.

Backbones without ImageNet weights in a pip package start from random weights. Prints a line per command; only
PneumoniaMNIST has enough images for its figures to mean anything. `--keep` keeps all, to look at the pages.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from hpa.simulation import SimulationConfig
from hpa.stages.data import simulate

CONFIGS = Path(__file__).parents[1] / "configs"
SHORT = ("loop.epochs=2", "loop.batch_size=8", "folds=[0]", "tta=1")
OFFLINE = "model.pretrained.kind=none"
STAND_INS = {"CACO-2": "HaCaT", "HeLa": "A-431", "MCF7": "SH-SY5Y", "RT4": "RH-30"}
"""Cell lines that the simulator does not have, to the one that stands for each."""

MEDMNIST = "MedMNIST v2's ResNet-18 with balanced training: accuracy 0.854, AUC 0.944"


CHEST = ("scratch", "inception_resnet_v2", "efficientnetv2_b2")
RULES = {"mean": "{kind: mean}", "weighted": "{kind: confidence_weighted, confidence: margin}"}


def draw_lines(data: Path, folder: Path) -> None:
    """Simulated fields for a fiftieth of the cell lines' table, in the layout that the configuration expects."""
    if (folder / "y_train.csv").exists():
        return
    table = pd.read_csv(data / "cell_lines9" / "y_train.csv")
    kept = []
    (folder / "images_train").mkdir(parents=True, exist_ok=True)
    for number, (line, rows) in enumerate(table.groupby("cell_line")):
        few, drawn_as = rows.head(len(rows) // 50), STAND_INS.get(str(line), str(line))
        fields = SimulationConfig(images=len(few), size=192, field=61.44, seed=number, cell_lines=(drawn_as,))
        source = simulate.run(simulate.SimulateConfig(out=folder / str(line), simulation=fields)) / "train"
        ids = sorted({path.name.rsplit("_", 1)[0] for path in source.iterdir()})
        for image_id, file_id in zip(ids, few["file_id"], strict=True):
            for channel in ("red", "blue", "yellow"):
                copied = folder / "images_train" / f"{file_id}_{channel}.png"
                shutil.copyfile(source / f"{image_id}_{channel}.png", copied)
        kept.append(few)
    pd.concat(kept).to_csv(folder / "y_train.csv", index=False)


def commands(data: Path, work: Path) -> dict[str, list[list[str]]]:
    """The commands of each sample, by name."""

    def train(config: str, name: str, *overrides: str) -> list[str]:
        folders = (f"data.out={work / name}", f"out={work / 'runs' / name}")
        return ["train_image_level", "--config", str(CONFIGS / "image_level" / f"{config}.yaml"), *folders, *overrides]

    def explain(config: str, name: str, *overrides: str) -> list[str]:
        folders = (f"data.out={work / name}", f"out={work / 'explained' / name}", f"run={work / 'runs' / name}")
        return ["explain", "--config", str(CONFIGS / "explain" / f"{config}.yaml"), *folders, *overrides]

    def ensemble(rule: str) -> list[str]:
        members = ", ".join(f"{{name: {name}, paths: [{work / 'runs' / f'chest_{name}'}]}}" for name in CHEST)
        out = f"out={work / 'ensembles' / rule}"
        config = CONFIGS / "ensemble" / "chest_xray.yaml"
        data = f"data.out={work / 'chest_400'}"
        return ["ensemble", "--config", str(config), data, f"members=[{members}]", f"rule={RULES[rule]}", out]

    def images(year: str) -> tuple[str, str]:
        return f"data.source.folder={data / year / 'train'}", f"data.source.csv={data / year / 'train.csv'}"

    pneumonia = data / "pneumonia28" / "pneumoniamnist_longtail.npz"
    b7 = ("model.pretrained.kind=none", "loop.precision=no", "loop.epochs=1", "folds=[0]", "tta=1")
    lite = ("model.name=tf_efficientnet_lite0", "model.pretrained.kind=pip", "model.gradient_checkpointing=false")
    cpu = ("loop.precision=no", "loop.accumulate=1", "model.drop_path=0", "data.cache.size=256", "data.fold.folds=2")
    cells, chest = (f"data.source.folder={data / name}" for name in ("healthy_metastatic", "chest_xray3"))
    lines = (f"data.source.csv={work / 'lines' / 'y_train.csv'}", f"data.source.root={work / 'lines'}")
    test = ["predict", f"runs=[{work / 'runs' / 'pneumonia28'}]", "data.source.kind=npz"]
    test += [f"data.source.file={pneumonia}", "data.source.splits=[test]", "data.source.classes=[normal,pneumonia]"]
    test += ["data.index.duplicate_distance=null", f"data.out={work / 'test'}", f"out={work / 'runs' / 'test'}"]
    return {
        "hpa2018": [train("hpa2018_lite0", "hpa2018", *images("hpa2018"), *SHORT)],
        "hpa2021": [train("efficientnet_b7", "hpa2021", *images("hpa2021"), *lite, *cpu, *SHORT)],
        # One image to learn from and a batch of one: an epoch is a step, so two epochs are two optimiser steps.
        "b7_2021": [
            train(
                "efficientnet_b7", "b7_2021", *images("hpa2021"), *b7, "data.fold.folds=2", "loop.epochs=2",
                "loop.batch_size=1", "loop.accumulate=1",
            )
        ],
        # 25 of 50 images in two batches of 13 and 12, each in micro-batches of two as in the configuration.
        "b7_2018": [
            train(
                "efficientnet_b7", "b7_2018", "data.source.kind=kaggle2018", *images("hpa2018"), *b7,
                "data.fold.folds=2", "loop.batch_size=13", "loop.accumulate=7",
            )
        ],
        "healthy_metastatic": [
            train("healthy_metastatic", "healthy", cells, "loop.epochs=3"),
            train("healthy_metastatic_clahe", "healthy_clahe", cells, "loop.epochs=3"),
            explain("healthy_metastatic", "healthy", cells, "images=6"),
        ],
        "chest_xray3": [
            *(
                train(
                    f"chest_xray_{name}", f"chest_{name}", chest, OFFLINE, "loop.epochs=2",
                    f"data.out={work / 'chest_400'}",
                )
                for name in CHEST
            ),
            *(ensemble(rule) for rule in RULES),
            train("chest_xray", "chest", chest, "loop.epochs=3"),
            explain("chest_xray", "chest", chest, "images=6"),
        ],
        "lc25000": [
            train("lc25000", "lc25000", f"data.source.folder={data / 'lc25000'}", OFFLINE, "data.fold.folds=2"),
        ],
        "cell_lines9": [
            train("cell_lines9", "cell_lines9", *lines, OFFLINE, "data.cache.size=96", "data.fold.folds=2"),
            explain("cell_lines9", "cell_lines9", *lines, "data.fold.folds=2", "images=6"),
        ],
        "pneumonia28": [train("pneumonia_mnist", "pneumonia28", f"data.source.file={pneumonia}", "folds=[0]"), test],
    }  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HPA_SAMPLE_DATA", shared)))
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--keep", type=Path, help="folder that keeps all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.keep or Path(temporary)).resolve()
        for name, runs in commands(options.data.resolve(), work).items():
            if options.only and name not in options.only:
                continue
            if name == "cell_lines9":
                draw_lines(options.data, work / "lines")
            for arguments in runs:
                start = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", "hpa.cli", *arguments], capture_output=True, text=True, check=False
                )
                seconds = time.perf_counter() - start
                if done.returncode:
                    print(f"{name}: FAILED ({done.returncode})\n{done.stderr}", flush=True)
                    continue
                folder = Path(done.stdout.splitlines()[-1])
                print(f"{name}, {arguments[0]}, {folder.name}: {figures(folder)}, {seconds:.0f} s", flush=True)
            if name == "pneumonia28":
                print(f"  beside it: {MEDMNIST}")


def figures(folder: Path) -> str:
    """What an artifact's metrics say, or how many images it explains."""
    if (folder / "questions.parquet").exists():
        questions = pd.read_parquet(folder / "questions.parquet")
        methods = pd.read_csv(folder / "comparison.csv")["method"].tolist()
        return f"{questions['item'].nunique()} images, {len(questions)} answers, by {', '.join(methods)}"
    metrics = json.loads((folder / "metrics.json").read_text())
    shown = {key: metrics.get(key) for key in ("items", "accuracy", "macro_auc", "macro_ap", "peak_memory_gb")}
    return ", ".join(f"{key} {value:.3g}" for key, value in shown.items() if value is not None)


if __name__ == "__main__":
    main()
