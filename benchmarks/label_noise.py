"""Finding planted wrong labels: every label method beside cleanlab's defaults and PyOD's outlier detectors.

    python benchmarks/label_noise.py [--seeds 0 1 2] [--images 1000] [--rates 0.1 0.2 0.4] [--single-label] [--keep DIR]

Each seed is a simulated atlas (256 pixels of 81.92 µm, 19 classes of equal frequency), embedded once by a backbone with
ImageNet weights that never learns from these images. The wrong labels are those that the simulation writes when
`defects.wrong_label` is the rate: the label of another antibody, drawn anew for each image. Out-of-fold probabilities
are logistic regressions on the embedding, folds hold antibodies together; margins are those of a linear head in
training. All methods see the same probabilities and the same embedding.

In the rows `other groups` no other image of the antibody votes, in the other rows with votes they do. With
--single-label only images with one true class are kept, with one wrong class each. Printed: area under the ROC curve,
average precision, and recall among as many images as have a wrong label; mean and standard deviation over the seeds.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from hpa.anomaly.label_issues import LabelInputs, find_label_issues
from hpa.anomaly.label_methods import (
    AreaUnderMargin,
    Cleanlab,
    Combination,
    LabelLoss,
    LabelMargin,
    LabelMethod,
    NeighbourVote,
    SelfConfidence,
)
from hpa.anomaly.neighbours import AutoSearch, nearest
from hpa.arrays import EmbeddingArray, Float64, Int64, Probabilities, Targets
from hpa.folds import make_folds
from hpa.labels import HPA2021, ClassList
from hpa.simulation import SimulationConfig
from hpa.simulation.config import DefectsConfig
from hpa.simulation.defects import plan_defect, wrong_classes
from hpa.simulation.labelling import make_antibody
from hpa.stages.anomalies import embed
from hpa.stages.anomalies.embed_config import EmbedConfig
from hpa.stages.data import dataset
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig, IndexSettings, SimulatedSource
from hpa.tables import read_embeddings

SIZE, FIELD, FOLDS = 256, 81.92, 5

METHODS: Mapping[str, LabelMethod] = {
    "cleanlab, defaults": Cleanlab(),
    "cleanlab, entropy": Cleanlab(quality="confidence_weighted_entropy"),
    "self_confidence": SelfConfidence(),
    "label_margin": LabelMargin(),
    "label_loss, plain": LabelLoss(relative=False),
    "label_loss": LabelLoss(),
    "neighbour_vote": NeighbourVote(),
    "neighbour_vote, other groups": NeighbourVote(other_groups=True),
    "area_under_margin": AreaUnderMargin(),
    "combination, probabilities": Combination(),
    "combination, and votes": Combination(),
    "combination, other groups": Combination(other_groups=True),
    "combination, and margins": Combination(),
}
"""Name in the table to the method; which inputs a combination gets is in its name."""


def main() -> None:
    """Run all seeds and print a table per rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=1000, help="per seed")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.2, 0.4])
    parser.add_argument("--single-label", action="store_true", help="only images with one class")
    parser.add_argument("--keep", type=Path, help="folder that keeps images and embeddings")
    arguments = parser.parse_args()
    found: dict[tuple[float, str], list[tuple[float, float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary:
        for seed in arguments.seeds:
            folder = (arguments.keep or Path(temporary)) / f"seed{seed}-{arguments.images}"
            for rate in arguments.rates:
                for name, figures in measure(folder, seed, arguments.images, rate, arguments.single_label).items():
                    found[rate, name].append(figures)
    for rate in arguments.rates:
        print_table(rate, {name: values for (at, name), values in found.items() if at == rate}, len(arguments.seeds))


def measure(
    folder: Path, seed: int, images: int, rate: float, single_label: bool
) -> dict[str, tuple[float, float, float]]:
    """Figures of every method on one atlas with one rate of wrong labels."""
    values = embedding(folder, simulation(seed, images))
    true, given, wrong, groups = planted(simulation(seed, images, rate))
    classes = HPA2021
    if single_label:
        kept = true.sum(axis=1) == 1
        values, true, groups, wrong = values[kept], true[kept], groups[kept], wrong[kept]
        used = true.any(axis=0)
        classes = ClassList(names=tuple(np.array(HPA2021.names)[used].tolist()), multi_label=False)
        given = other_class(true[:, used], wrong, seed)
    folds = make_folds(given, groups.tolist(), FOLDS, seed)
    probabilities = out_of_fold(values, given, folds, classes.multi_label)
    margins = training_margins(values, given, folds, classes.multi_label, seed)
    neighbours = nearest(values, None, 30, AutoSearch(metric="cosine"))
    scores = {}
    for name, method in METHODS.items():
        votes = name != "combination, probabilities"
        inputs = LabelInputs(
            given,
            classes,
            probabilities,
            neighbours if votes else None,
            margins if not isinstance(method, Combination) or name.endswith("margins") else None,
            groups.tolist(),
        )
        scores[name] = find_label_issues(method, inputs).scores
    for name, detector in (("ECOD", ECOD()), ("kNN", KNN()), ("IForest", IForest(random_state=seed))):
        scores[f"PyOD {name}"] = detector.fit(values).decision_scores_
    number = int(wrong.sum())
    return {
        name: (
            float(roc_auc_score(wrong, values)),
            float(average_precision_score(wrong, values)),
            float(wrong[np.argsort(-values, kind="stable")[:number]].mean()),
        )
        for name, values in scores.items()
    }


def simulation(seed: int, images: int, rate: float = 0.0) -> SimulationConfig:
    """The atlas; a wrong label changes no pixel."""
    return SimulationConfig(images=images, size=SIZE, field=FIELD, seed=seed, defects=DefectsConfig(wrong_label=rate))


def embedding(folder: Path, config: SimulationConfig) -> EmbeddingArray:
    """Embeddings of all images, in their order."""
    source = SimulatedSource(simulation=config)
    index = IndexSettings(duplicate_distance=None)
    data = DatasetConfig(out=folder, source=source, index=index, cache=CacheSettings(size=SIZE))
    dataset.prepare(data, "cache", needs_folds=False)
    keys, values = read_embeddings(embed.run(EmbedConfig(data=data, out=folder / "embed")))
    order = keys["image_id"].argsort(kind="stable").to_numpy()
    return np.asarray(values[order], np.float32)


def planted(config: SimulationConfig) -> tuple[Targets, Targets, np.ndarray, np.ndarray]:
    """True labels, given labels, which are wrong, and the antibodies, as `simulate` would write them."""
    antibodies = np.arange(config.images) // config.images_per_antibody
    true = [make_antibody(config, int(antibody)).classes for antibody in antibodies]
    wrong = np.array([plan_defect(config, index) is not None for index in range(config.images)])
    given = [wrong_classes(config, i, true[i]) if wrong[i] else true[i] for i in range(config.images)]
    return HPA2021.encode(true), HPA2021.encode(given), wrong, antibodies.astype(str)


def other_class(true: Targets, wrong: np.ndarray, seed: int) -> Targets:
    """Single labels, the wrong ones drawn from the other classes by their frequency."""
    rng, shares = np.random.default_rng(seed), true.mean(axis=0)
    given = true.copy()
    for row in np.flatnonzero(wrong):
        chances = shares * (1 - true[row])
        given[row] = np.eye(true.shape[1])[rng.choice(len(shares), p=chances / chances.sum())]
    return given


def out_of_fold(
    values: EmbeddingArray, targets: Targets, folds: Int64[np.ndarray, " items"], multi_label: bool
) -> Probabilities:
    """Probabilities by logistic regressions on 100 whitened principal components that did not see the fold."""
    found = np.zeros(targets.shape, np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        project = PCA(min(100, int((~held).sum()) - 1), whiten=True, random_state=0).fit(values[~held])
        learn, predict = project.transform(values[~held]), project.transform(values[held])
        if not multi_label:
            model = LogisticRegression(C=0.01, max_iter=500).fit(learn, targets[~held].argmax(axis=1))
            found[np.ix_(held, model.classes_)] = model.predict_proba(predict)
            continue
        for column in range(targets.shape[1]):
            labels = targets[~held, column]
            if labels.min() == labels.max():
                found[held, column] = labels.mean()
                continue
            model = LogisticRegression(C=0.01, max_iter=500).fit(learn, labels)
            found[held, column] = model.predict_proba(predict)[:, 1]
    return found


def training_margins(
    values: EmbeddingArray, targets: Targets, folds: Int64[np.ndarray, " items"], multi_label: bool, seed: int
) -> Probabilities:
    """Mean margins over 20 epochs of a linear head, and over the folds in which an image was learned from."""
    torch.manual_seed(seed)
    standard = torch.from_numpy((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6))
    labels = torch.from_numpy(targets)
    total, seen = np.zeros(targets.shape), np.zeros((len(targets), 1))
    for fold in np.unique(folds):
        rows = torch.from_numpy(np.flatnonzero(folds != fold))
        head = torch.nn.Linear(values.shape[1], targets.shape[1])
        torch.nn.init.zeros_(head.weight)
        optimizer = torch.optim.Adam(head.parameters(), lr=2e-4)
        for _ in range(20):
            for batch in torch.split(rows[torch.randperm(len(rows))], 32):
                logits = head(standard[batch])
                if multi_label:
                    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[batch])
                else:
                    loss = torch.nn.functional.cross_entropy(logits, labels[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total[batch] += margins_of(logits.detach().numpy().astype(np.float64), multi_label)
                seen[batch] += 1
    return (total / np.maximum(seen, 1)).astype(np.float32)


def margins_of(logits: Float64[np.ndarray, "items classes"], multi_label: bool) -> Float64[np.ndarray, "items classes"]:
    """Logits, less the highest other one where there is one class."""
    if multi_label:
        return logits
    ordered = np.sort(logits, axis=1)
    highest = np.where(logits == ordered[:, -1:], ordered[:, -2:-1], ordered[:, -1:])
    margins: Float64[np.ndarray, "items classes"] = logits - highest
    return margins


def print_table(rate: float, found: Mapping[str, Sequence[tuple[float, float, float]]], seeds: int) -> None:
    """Mean and standard deviation of the figures."""
    rows = []
    for name, values in found.items():
        means, spreads = np.mean(values, axis=0), np.std(values, axis=0)
        figures = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(means, spreads, strict=True)]
        rows.append(dict(zip(("method", "AUROC", "average precision", "recall"), [name, *figures], strict=True)))
    print(f"\n{rate:.0%} wrong labels, {seeds} seeds")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
