from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa.anomaly.intensity import IntensityConfig
from hpa.anomaly.label_methods import AreaUnderMargin, NeighbourVote, SelfConfidence
from hpa.artifacts import ArtifactError
from hpa.cache import PixelCache
from hpa.labels import ClassList
from hpa.stages.anomalies.anomaly_detectors import Detection, input_digests
from hpa.stages.anomalies.anomaly_items import Items
from hpa.stages.anomalies.detect_anomalies_config import ClassCentre, DetectAnomaliesConfig, LabelDetector
from hpa.stages.anomalies.pixel_figures import ImagePixels
from hpa.tables import write_embeddings, write_table

COUNT = 12
CLASSES = ClassList(names=("left", "right"), multi_label=False)
KEYS = pd.DataFrame({"image_id": [f"i{row}" for row in range(COUNT)]})


def detection(**changes) -> Detection:
    values = {
        "keys": KEYS,
        "targets": np.repeat(np.eye(2, dtype=np.float32), COUNT // 2, axis=0),
        "classes": CLASSES,
        "groups": KEYS["image_id"].tolist(),
        "means": np.ones((COUNT, 1)),
        "histograms": None,
        "pixels": ImagePixels(PixelCache(Path("nowhere"), [], ("grey",))),
        "inputs": {},
    }
    return Detection(Items(**(values | changes)), {}, DetectAnomaliesConfig())


def write_embedding(folder: Path) -> Path:
    """Two groups far from each other; one image lies with the other class."""
    values = np.random.default_rng(0).normal(size=(COUNT, 3)).astype(np.float32)
    values[COUNT // 2 :] += 20
    values[2] += 20
    write_embeddings(folder, KEYS, values)
    return folder


def test_the_class_of_a_centre_has_its_name(tmp_path) -> None:
    found = detection().find(ClassCentre(embedding=write_embedding(tmp_path), relative=False))
    assert found.scores.argmax() == 2
    assert found.details is not None
    assert found.details["class_centre_reference"].tolist() == ["left"] * 6 + ["right"] * 6
    small = detection().find(ClassCentre(embedding=tmp_path, least=7))
    assert small.details is not None
    assert set(small.details["class_centre_reference"]) == {"all"}


def test_neighbours_vote_on_labels(tmp_path) -> None:
    detector = LabelDetector(method=NeighbourVote(neighbours=99), embedding=write_embedding(tmp_path))
    few = detector.model_copy(update={"method": NeighbourVote(neighbours=4)})
    assert detection().find(few).scores.argmax() == 2
    # More neighbours than there are images are as many as there are.
    assert np.isfinite(detection().find(detector).scores).all()


def test_margins_of_a_run_judge_labels(tmp_path) -> None:
    margins = np.where(np.eye(2)[np.repeat([0, 1], 6)] > 0, 3.0, -3.0).astype(np.float32)
    margins[4] = -margins[4]
    margins[7] = np.nan  # never learned from
    table = pd.concat([KEYS, pd.DataFrame(margins, columns=list(CLASSES.names))], axis=1)
    write_table(tmp_path / "margins.parquet", table.iloc[::-1])
    found = detection().find(LabelDetector(method=AreaUnderMargin(), margins=tmp_path))
    assert np.nanargmax(found.scores) == 4
    assert np.isnan(found.scores).nonzero()[0].tolist() == [7]
    with pytest.raises(ArtifactError, match="margins=true"):
        detection().find(LabelDetector(method=AreaUnderMargin(), margins=tmp_path / "other"))


def test_errors_begin_with_the_detectors_name(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"bright: expected channels out of \['grey'\]"):
        detection().find(IntensityConfig(name="bright", channels=("red",)))
    path = tmp_path / "said.parquet"
    write_table(path, KEYS.iloc[1:].assign(left=0.5, right=0.5))
    with pytest.raises(ValueError, match=r"label: .*said\.parquet: .*1 are missing"):
        detection().find(LabelDetector(method=SelfConfidence(), probabilities=path))
    with pytest.raises(ValueError, match="label: there are no labels"):
        detection(targets=None).find(LabelDetector(method=SelfConfidence(), probabilities=path))


def test_inputs_are_known_by_their_content(tmp_path) -> None:
    path = tmp_path / "said.parquet"
    write_table(path, KEYS)
    detectors = [
        LabelDetector(probabilities=path, embedding=write_embedding(tmp_path / "embedding")),
        ClassCentre(name="centre", embedding=tmp_path / "embedding"),
        IntensityConfig(),
    ]
    found = input_digests(DetectAnomaliesConfig(), detectors)
    assert set(found) == {"label probabilities", "label embedding", "centre embedding"}
    assert found["label embedding"] == found["centre embedding"]
    write_table(path, KEYS.iloc[:3])
    assert input_digests(DetectAnomaliesConfig(), detectors)["label probabilities"] != found["label probabilities"]
    with pytest.raises(ArtifactError, match="`hpa embed` makes one"):
        input_digests(DetectAnomaliesConfig(), [ClassCentre(embedding=tmp_path / "nothing")])
