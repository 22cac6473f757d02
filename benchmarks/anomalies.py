"""Finding planted defects of images: every detector, and PyOD's on the same embeddings.

    python benchmarks/anomalies.py [--seeds 0 1 2] [--images 400] [--share 0.05] [--size 256] [--keep DIR]

Each seed is a simulated atlas (fields of 81.92 µm, 19 classes) with this share of each planted defect: swapped
channels, out of focus, saturated, nearly empty, copies of other antibodies' images, and wrong labels, which no picture
shows and which are left out here (`label_noise.py`). `detect_anomalies` looks at the pixels with its default detectors,
and at two embeddings, of an ImageNet backbone and of SIFT words, with its own outlier detectors; ECOD, kNN and IForest
of PyOD look at the backbone's embedding. `combined` is that of the default detectors alone.

Printed: area under the ROC curve, average precision, and recall among as many images as are planted, for any defect
of the picture against sound images; then the AUROC of every detector for each kind. Mean and deviation over the seeds.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest
from pyod.models.knn import KNN

from hpa.anomaly.findings import Finding
from hpa.simulation import SimulationConfig
from hpa.simulation.config import DefectsConfig
from hpa.stages.anomalies import detect_anomalies, embed
from hpa.stages.anomalies.detect_anomalies_config import (
    AnyDetector,
    ClassCentre,
    DetectAnomaliesConfig,
    IsolationForest,
    LocalOutlierFactor,
    Mahalanobis,
    Neighbours,
)
from hpa.stages.anomalies.embed_config import BackboneMethod, EmbedConfig, SiftMethod
from hpa.stages.anomalies.planted_defects import ANY_IMAGE_DEFECT, planted_defects, score_findings
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig, IndexSettings, SimulatedSource
from hpa.tables import read_embeddings

KINDS = ("swapped_channels", "out_of_focus", "saturated", "nearly_empty", "duplicate")
FIELD = 81.92


def main() -> None:
    """Run all seeds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=400, help="per seed")
    parser.add_argument("--share", type=float, default=0.05, help="of the images, for each defect")
    parser.add_argument("--size", type=int, default=256, help="side of an image, pixels")
    parser.add_argument("--keep", type=Path, help="folder that keeps the data sets")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.keep or Path(temporary)
        tables = [
            measure(work / f"seed{seed}", seed, arguments.images, arguments.size, arguments.share)
            for seed in arguments.seeds
        ]
    table = pd.concat(tables)
    whole = table[table["defect"] == ANY_IMAGE_DEFECT].groupby("finding", sort=False)[["auroc", "ap", "recall"]]
    print(f"\nAny defect of the picture, {len(arguments.seeds)} seeds: mean, then deviation")
    print(whole.mean().join(whole.std(ddof=0).add_suffix(" ±")).sort_values("auroc").to_string(float_format="%.3f"))
    print("\nAUROC of each kind")
    kinds = table[table["defect"].isin(KINDS)].pivot_table(
        index="finding", columns="defect", values="auroc", sort=False
    )
    print(kinds.to_string(float_format="%.3f"))


def measure(folder: Path, seed: int, images: int, size: int, share: float) -> pd.DataFrame:
    """Figures of every detector on one atlas: finding, defect, auroc, ap, recall."""
    defects = DefectsConfig(**dict.fromkeys((*KINDS, "wrong_label"), share))
    simulation = SimulationConfig(images=images, size=size, field=FIELD, seed=seed, defects=defects)
    data = DatasetConfig(
        out=folder,
        source=SimulatedSource(simulation=simulation),
        index=IndexSettings(duplicate_distance=None),
        cache=CacheSettings(size=size),
    )
    found = json.loads(
        (detect_anomalies.run(DetectAnomaliesConfig(data=data, out=folder / "pixels")) / "metrics.json").read_text()
    )
    records = list(found["planted"])
    detectors: list[AnyDetector] = []
    for name, method in (("backbone", BackboneMethod()), ("sift", SiftMethod())):
        path = embed.run(EmbedConfig(data=data, method=method, out=folder / name))
        for kind in (Neighbours, ClassCentre, Mahalanobis, LocalOutlierFactor, IsolationForest):
            detector = kind(embedding=path)
            detectors.append(detector.model_copy(update={"name": f"{name}_{detector.kind}"}))
    settings = DetectAnomaliesConfig(data=data, detectors=tuple(detectors), out=folder / "embeddings")
    found = json.loads((detect_anomalies.run(settings) / "metrics.json").read_text())
    records += [record for record in found["planted"] if record["finding"] != "combined"]
    keys, values = read_embeddings(folder / "backbone")
    planted = planted_defects(data, keys, "image")
    assert planted is not None
    for name, detector in (("ecod", ECOD()), ("knn", KNN()), ("iforest", IForest(random_state=seed))):
        scores = np.asarray(detector.fit(np.asarray(values)).decision_scores_, np.float32)
        records += score_findings([Finding(f"pyod_{name}", scores, np.zeros(len(scores), bool), None)], planted)
    return pd.DataFrame(records)


if __name__ == "__main__":
    main()
