"""The commands on real images, each a small run: reader, index, folds, cache, training, prediction.

    python benchmarks/real_samples.py [--data ../shared/data] [--only hpa2018 ...]

Runs `hpa train_image_level` on hpa2018, hpa2021, healthy_metastatic, chest_xray3 and pneumonia28, two optimiser steps
of EfficientNet-B7 at 600 px on hpa2021 and hpa2018, and `hpa predict` on PneumoniaMNIST's test part. Prints a line per
run; only PneumoniaMNIST has enough images for its figures to mean anything.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs" / "image_level"
SHORT = ("loop.epochs=2", "loop.batch_size=8", "folds=[0]", "tta=1")
MEDMNIST = "MedMNIST v2's ResNet-18 with balanced training: accuracy 0.854, AUC 0.944"


def commands(data: Path, work: Path) -> dict[str, list[list[str]]]:
    """The commands of each sample, by name."""

    def train(config: str, name: str, *overrides: str) -> list[str]:
        folders = (f"data.out={work / name}", f"out={work / 'runs' / name}")
        return ["train_image_level", "--config", str(CONFIGS / f"{config}.yaml"), *folders, *overrides]

    def images(year: str) -> tuple[str, str]:
        return f"data.source.folder={data / year / 'train'}", f"data.source.csv={data / year / 'train.csv'}"

    pneumonia = data / "pneumonia28" / "pneumoniamnist_longtail.npz"
    b7 = ("model.pretrained.kind=none", "loop.precision=no", "loop.epochs=1", "folds=[0]", "tta=1")
    lite = ("model.name=tf_efficientnet_lite0", "model.pretrained.kind=pip", "model.gradient_checkpointing=false")
    cpu = ("loop.precision=no", "loop.accumulate=1", "model.drop_path=0", "data.cache.size=256", "data.fold.folds=2")
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
            train("healthy_metastatic", "healthy", f"data.source.folder={data / 'healthy_metastatic'}", "loop.epochs=3")
        ],
        "chest_xray3": [train("chest_xray", "chest", f"data.source.folder={data / 'chest_xray3'}", "loop.epochs=3")],
        "pneumonia28": [train("pneumonia_mnist", "pneumonia28", f"data.source.file={pneumonia}", "folds=[0]"), test],
    }  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HPA_SAMPLE_DATA", shared)))
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, runs in commands(options.data.resolve(), Path(folder)).items():
            if options.only and name not in options.only:
                continue
            for arguments in runs:
                start = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", "hpa.cli", *arguments], capture_output=True, text=True, check=False
                )
                seconds = time.perf_counter() - start
                if done.returncode:
                    print(f"{name}: FAILED ({done.returncode})\n{done.stderr}", flush=True)
                    continue
                metrics = json.loads((Path(done.stdout.splitlines()[-1]) / "metrics.json").read_text())
                shown = {
                    key: metrics.get(key) for key in ("items", "accuracy", "macro_auc", "macro_ap", "peak_memory_gb")
                }
                text = ", ".join(f"{key} {value:.3g}" for key, value in shown.items() if value is not None)
                print(f"{name} {arguments[0]}: {text}, {seconds:.0f} s", flush=True)
            if name == "pneumonia28":
                print(f"  beside it: {MEDMNIST}")


if __name__ == "__main__":
    main()
