"""What wrong labels cost, and what each way of dealing with them wins back.

    python benchmarks/denoising_effect.py [--seeds 0 1 2] [--images 1000] [--test 300] [--rate 0.2] [--size 128]
        [--epochs 8] [--class-limit 0.5] [--npz FILE] [--only NAME ...] [--keep DIR] [key=value ...]

Each seed is a simulated atlas (fields of 81.92 µm, 19 classes) in which this part of the images bears the label of
another antibody. Trainings, all of the same network, epochs and images, two folds each: on the true labels (`clean`),
on the given ones (`noisy`), on what `denoise` makes of the label issues that `detect_anomalies` finds in the
out-of-fold probabilities and embeddings of `noisy` (a row per policy; with `, groups` the other images of the antibody
vote too, which on this atlas bear the same labels), and with each way of training that resists noise by itself. The two
networks of each training are averaged on images of other antibodies with true labels. Overrides go to every training.

--npz takes a MedMNIST-style file of single labels in the atlas's place: this part of the labels of its `train` images
is changed to another class, and its `test` part is predicted.

Printed: of many labels macro AP and macro F1 by thresholds of the other half of the test images; of single labels
macro AUC, the accuracy of the likeliest class, and the accuracy where the probabilities are first weighed by what was
best on the other half. With the deviation over the seeds, and how much of the loss to noise is won back: the mean over
the seeds of (method - noisy) over that of (clean - noisy).
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.config import load_config
from hpa.evaluation import average_precision, cross_fit_thresholds, decide, roc_auc, score_decisions
from hpa.evaluation.threshold_moving import cross_fit_factors, decide_moved
from hpa.stages.anomalies import denoise, detect_anomalies, embed
from hpa.stages.data import dataset
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.image_level import predict, train_image_level
from hpa.stages.image_level.train_image_level import TrainImageLevelConfig
from hpa.tables import align, class_values, read_table

FIELD, TEST_SEED = 81.92, 1000
PLAIN: Mapping[str, Sequence[str]] = {
    "drop": ("policy={kind: drop, detectors: [label]}",),
    "weight": ("policy={kind: weight, detector: label, doubt: log_odds}",),
    "relabel": ("policy={kind: relabel, detectors: [label]}",),
    "relabel everywhere": ("policy={kind: relabel, detectors: [label], everywhere: true}",),
}
GROUPS = ", groups"
POLICIES = {**PLAIN, **{name + GROUPS: PLAIN[name] for name in ("drop", "relabel everywhere")}}
RESISTANT: Mapping[str, Sequence[str]] = {
    "generalised CE": ("loss={kind: generalized_cross_entropy}",),
    "symmetric CE": ("loss={kind: symmetric_cross_entropy}",),
    "bootstrapping": ("loss={kind: bootstrapping, answer: hard}",),
    "early-learning": ("noise={kind: early_learning}",),
    "co-teaching": ("noise={kind: co_teaching, forget: 0.2}",),
    "two phases": ("noise={kind: two_phase}",),
}


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=1000, help="to learn from, per seed")
    parser.add_argument("--test", type=int, default=300, help="images with true labels")
    parser.add_argument("--rate", type=float, default=0.2, help="part of the images whose label is wrong")
    parser.add_argument("--size", type=int, default=128, help="side of the images in training, pixels")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--class-limit", type=float, default=0.5, help="part of a class that denoising may take away")
    parser.add_argument("--npz", type=Path, help="MedMNIST-style file with train and test, in the atlas's place")
    methods = [*POLICIES, *RESISTANT]
    parser.add_argument("--only", nargs="+", choices=methods, default=methods, help="of the methods beside the two")
    parser.add_argument("--keep", type=Path, help="folder that keeps all, to go on after a kill")
    parser.add_argument("overrides", nargs="*", help="for every training")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.keep or Path(temporary)
        tables = [measure(work / f"seed{seed}", seed, arguments) for seed in arguments.seeds]
    table = pd.concat(tables)
    rows = []
    for name, own in table.groupby("method", sort=False):
        row: dict[str, Any] = {"method": name}
        for metric in table.columns.drop("method"):
            means = table.groupby("method")[metric].mean()
            lost = means["clean"] - means["noisy"]
            row |= {metric: own[metric].mean(), f"{metric} ±": own[metric].std(ddof=0)}
            row[f"{metric} won back"] = (own[metric].mean() - means["noisy"]) / lost
        rows.append(row)
    print(f"\n{arguments.rate:.0%} wrong labels, {len(arguments.seeds)} seeds")
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.3f"))


def measure(folder: Path, seed: int, arguments: argparse.Namespace) -> pd.DataFrame:
    """Figures of every method on one data set, a row each."""
    # Single images of a file have no groups.
    possible = [name for name in (*POLICIES, *RESISTANT) if arguments.npz is None or GROUPS not in name]
    parts = simulated_parts(seed, arguments) if arguments.npz is None else npz_parts(folder, seed, arguments)
    experiment = Experiment(folder, seed, parts, arguments)
    found = {"clean": experiment.train("clean", "clean", ()), "noisy": experiment.train("noisy", "noisy", ())}
    for name in [name for name in possible if name in arguments.only]:
        settings = RESISTANT.get(name, ())
        if name in POLICIES:
            settings = (f"decisions={experiment.decide(name)}",)
        found[name] = experiment.train(name, "noisy", settings)
    return pd.DataFrame([{"method": name} | figures for name, figures in found.items()])


def simulated_parts(seed: int, arguments: argparse.Namespace) -> Mapping[str, Sequence[str]]:
    """Settings of the sources of three simulated atlases: `clean`, `noisy`, `test`."""
    own = [f"images={arguments.images}", f"seed={seed}"]
    parts = {
        "clean": own,
        "noisy": [*own, f"defects.wrong_label={arguments.rate}"],
        "test": [f"images={arguments.test}", f"seed={TEST_SEED}"],
    }
    common = ["size=256", f"field={FIELD}"]
    return {name: [f"simulation.{setting}" for setting in (*common, *settings)] for name, settings in parts.items()}


def npz_parts(folder: Path, seed: int, arguments: argparse.Namespace) -> Mapping[str, Sequence[str]]:
    """Settings of the sources of an npz file: `clean`, `noisy`, whose file is written here, `test`."""
    with np.load(arguments.npz, allow_pickle=False) as arrays:
        images, labels = arrays["train_images"], arrays["train_labels"].reshape(-1)
    random = np.random.default_rng(seed)
    wrong = random.permutation(len(labels))[: round(arguments.rate * len(labels))]
    classes = int(labels.max()) + 1
    labels[wrong] = (labels[wrong] + random.integers(1, classes, len(wrong))) % classes
    noisy = folder / "noisy.npz"
    folder.mkdir(parents=True, exist_ok=True)
    if not noisy.exists():
        np.savez(noisy, train_images=images, train_labels=labels[:, None])
    names = ",".join(f"'{number}'" for number in range(classes))
    files = {"clean": (arguments.npz, "train"), "noisy": (noisy, "train"), "test": (arguments.npz, "test")}
    return {
        name: ["kind=npz", f"file={file}", f"splits=[{split}]", f"classes=[{names}]"]
        for name, (file, split) in files.items()
    }


class Experiment:
    """The stages on one data set, with true and with wrong labels."""

    def __init__(
        self, folder: Path, seed: int, parts: Mapping[str, Sequence[str]], arguments: argparse.Namespace
    ) -> None:
        self.folder, self.parts, self.arguments = folder, parts, arguments
        self.training = [
            *(
                "model.pretrained.kind=pip",
                f"loop.epochs={arguments.epochs}",
                "loop.monitor=null",
                "folds=all",
                "tta=2",
            ),
            *(f"loop.seed={seed}", "margins=true", *arguments.overrides),
        ]

    def data(self, part: str, prefix: str = "data.") -> list[str]:
        """Settings of a part of the data set."""
        settings = [f"{prefix}source.{setting}" for setting in self.parts[part]]
        more = [
            f"{prefix}out={self.folder / part}",
            f"{prefix}cache.size={self.arguments.size}",
            f"{prefix}fold.folds=2",
        ]
        # Labels are to be read as they are written, the copies that chance makes included.
        return [*settings, *more, f"{prefix}index.duplicate_distance=null"]

    def train(self, name: str, part: str, settings: Sequence[str]) -> dict[str, float]:
        """Train, and predict the test images; the figures there."""
        out = self.folder / "runs" / plain(name)
        # The overrides last: a `loss` that a method puts in the place of another keeps what they say of it.
        given = [*self.data(part), f"out={out}", *settings, *self.training]
        train_image_level.run(load_config(TrainImageLevelConfig, None, given))
        given = [*self.data("test"), f"runs=[{out}]", f"out={out}_test"]
        config = load_config(predict.PredictConfig, None, given)
        return measure_test(config.data, predict.run(config) / predict.PROBABILITIES)

    def find_issues(self, groups: bool) -> Path:
        """Label issues that the training on the given labels shows."""
        run = self.folder / "runs" / "noisy"
        embedding = self.folder / "embedding"
        method = ["method.kind=run", f"method.run={run}"]
        embed.run(load_config(embed.EmbedConfig, None, [*self.data("noisy"), *method, f"out={embedding}"]))
        combination = f"{{kind: combination, group_votes: {str(groups).lower()}}}"
        shown = f"probabilities: {run}, embedding: {embedding}, margins: {run}"
        given = [f"detectors=[{{kind: label, {shown}, method: {combination}}}]"]
        given += [*self.data("noisy"), f"out={self.folder / ('findings' + '_groups' * groups)}"]
        return detect_anomalies.run(load_config(detect_anomalies.DetectAnomaliesConfig, None, given))

    def decide(self, name: str) -> Path:
        """Decisions by a policy."""
        groups = GROUPS in name
        given = [
            *self.data("noisy"),
            *(f"findings={self.find_issues(groups)}", f"probabilities={self.folder / 'runs' / 'noisy'}"),
            *(f"embedding={self.folder / 'embedding'}", f"out={self.folder / 'decisions' / plain(name)}"),
            *(f"limits.share={self.arguments.class_limit}", f"group_votes={str(groups).lower()}"),
        ]
        return denoise.run(load_config(denoise.DenoiseConfig, None, [*given, *POLICIES[name]]))


def plain(name: str) -> str:
    """Of a method, as the name of a folder."""
    return name.replace(",", "").replace(" ", "_")


def measure_test(data: DatasetConfig, predicted: Path) -> dict[str, float]:
    """Figures of predictions of images with true labels; what decides one half is chosen on the other."""
    images = dataset.open_dataset(data, needs_folds=False)
    assert images.targets is not None
    probabilities = class_values(align(images.images, read_table(predicted)), images.classes)
    halves = np.random.default_rng(0).permutation(len(probabilities)) % 2
    if images.classes.multi_label:
        thresholds = cross_fit_thresholds(images.targets, probabilities, halves)
        scores = score_decisions(images.targets, decide(probabilities, images.classes, thresholds))
        return {
            "macro AP": float(np.nanmean(average_precision(images.targets, probabilities))),
            "macro F1": scores.macro_f1,
        }
    moved = decide_moved(probabilities, cross_fit_factors(images.targets, probabilities, halves))
    true = images.targets.argmax(axis=1)
    return {
        "macro AUC": float(np.nanmean(roc_auc(images.targets, probabilities))),
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == true)),
        "accuracy, moved": float(np.mean(moved.argmax(axis=1) == true)),
    }


if __name__ == "__main__":
    main()
