"""The score of label maps: equal to the score of the tables that they stand for; simulated and real cells."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from hpa.evaluation import CompetitionScore, score, score_label_maps
from hpa.labels import HPA2021, ClassList
from hpa.simulation import SimulationConfig, simulate_image

THREE = ClassList(names=("x", "y", "z"))


def cells(rows: list[tuple[str, int, float, float, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "cell_id", *THREE.names]).astype({"cell_id": int})


def as_tables(maps: Mapping[str, np.ndarray], table: pd.DataFrame, classes: ClassList) -> pd.DataFrame:
    """One row per cell and class, by boolean masks."""
    rows = []
    for row in table.to_dict("records"):
        if row["image_id"] in maps:
            label_map = maps[row["image_id"]]
            counts = coco.encode(np.asfortranarray((label_map == row["cell_id"]).astype(np.uint8)))["counts"]
            rows += [
                (row["image_id"], *label_map.shape, number, counts, row[name])
                for number, name in enumerate(classes.names)
            ]
    columns = ["image_id", "height", "width", "class_number", "counts", "confidence"]
    return pd.DataFrame(rows, columns=columns)


def check_equal(found: CompetitionScore, expected: CompetitionScore) -> None:
    assert found.to_json() == expected.to_json()
    columns = ["image_id", "class_number", "confidence", "iou", "is_matched"]
    pd.testing.assert_frame_equal(found.detections[columns], expected.detections[columns])


def test_equals_the_score_of_tables() -> None:
    generator = np.random.default_rng(0)
    shapes = {"a": (6, 9), "b": (9, 6), "c": (5, 5), "empty": (4, 4)}
    truth_maps, predicted_maps, labels, confidences = {}, {}, [], []
    for name, shape in shapes.items():
        truth_maps[name] = np.repeat(generator.permutation(4), shape[0] * shape[1])[: shape[0] * shape[1]]
        truth_maps[name] = truth_maps[name].reshape(shape).astype(np.uint16) * (name != "empty")
        changed = generator.random(shape) < 0.2
        predicted_maps[name] = np.where(changed, 0, truth_maps[name]).astype(np.uint16) * np.uint16(5)
        for cell in np.unique(truth_maps[name][truth_maps[name] > 0]).tolist():
            labels.append((name, cell, *generator.integers(0, 2, 3)))
        for cell in np.unique(predicted_maps[name][predicted_maps[name] > 0])[::-1].tolist():
            confidences.append((name, cell, *generator.choice([0.1, 0.5, 3.0], 3)))
    confidences.append(("elsewhere", 1, 1.0, 1.0, 1.0))
    labels.append(("elsewhere", 1, 1, 1, 1))
    for lacking in ("", "c"):
        maps = {name: label_map for name, label_map in predicted_maps.items() if name != lacking}
        given = [row for row in confidences if row[0] != lacking]
        truth = as_tables(truth_maps, cells(labels), THREE).query("confidence == 1")
        images = pd.DataFrame(
            [(name, *shape) for name, shape in shapes.items()], columns=["image_id", "height", "width"]
        )
        for verified in ("all", "gt"):
            found = score_label_maps(truth_maps, cells(labels), maps, cells(given), THREE, verified)
            expected = score(truth, as_tables(maps, cells(given), THREE), THREE, verified, images)
            expected.left_out["outside"] = 0
            check_equal(found, expected)


class OneAtATime(Mapping[str, np.ndarray]):
    """A mapping that makes its maps when asked."""

    def __init__(self, maps: dict[str, np.ndarray]) -> None:
        self.maps = maps

    def __getitem__(self, name: str) -> np.ndarray:
        return self.maps[name].copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)


def test_simulated_truth_scores_itself_fully() -> None:
    config = SimulationConfig(size=128)
    drawn = [simulate_image(config, index) for index in range(3)]
    maps = OneAtATime({image.image_id: image.cell_map for image in drawn})
    table = pd.concat([image.cells for image in drawn], ignore_index=True)
    found = score_label_maps(maps, table, maps, table, HPA2021)
    assert found.map == 1
    assert found.counts["truth"].sum() == table[list(HPA2021.names)].to_numpy().sum()
    assert found.counts["detections"].sum() == 19 * len(table)
    assert found.by_border["truth"].tolist()[0] > 0
    left_out = score_label_maps(maps, table, maps, table[::2], HPA2021)
    assert left_out.counts["detections"].sum() == 19 * len(table[::2])
    assert left_out.map < 1


def test_real_cells(sample_data: Path) -> None:
    folder = sample_data / "weak_truth"
    if not folder.is_dir():
        pytest.skip("the real cell labels are not here")
    table = pd.read_csv(folder / "cells.csv", dtype={"image_id": str})
    paths = sorted((folder / "masks_truth").iterdir())[:3]
    truth = {path.stem: read(path) for path in paths}
    predicted = {path.stem: read(folder / "masks_predicted" / path.name) for path in paths}
    table = table[table["image_id"].isin([*truth])]
    names = [f"c{number}" for number in range(19)]
    classes = ClassList(names=tuple(names))
    values = [[float(name[1:] in str(label).split("|")) for name in names] for label in table["cell_label"]]
    labels = pd.concat(
        [table[["image_id", "cell_id"]].reset_index(drop=True), pd.DataFrame(values, columns=names)], axis=1
    )
    known = [cell in np.unique(truth[image]) for image, cell in zip(labels["image_id"], labels["cell_id"], strict=True)]
    labels = labels[known]
    rows = [(name, int(cell)) for name, found in predicted.items() for cell in np.unique(found[found > 0])]
    generator = np.random.default_rng(0)
    confidences = pd.DataFrame(rows, columns=["image_id", "cell_id"]).assign(
        **{name: generator.random(len(rows)) for name in names}
    )
    found = score_label_maps(truth, labels, predicted, confidences, classes)
    expected = score(
        as_tables(truth, labels, classes).query("confidence == 1"),
        as_tables(predicted, confidences, classes),
        classes,
        images=found.images,
    )
    check_equal(found, expected)
    assert found.counts["true_positives"].sum() > 0


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16)


MAP = {"a": np.array([[1, 2]], np.uint16)}
LABELS = cells([("a", 1, 1, 0, 0), ("a", 2, 0, 1, 1)])


@pytest.mark.parametrize(
    ("labels", "confidences", "message"),
    [
        (LABELS.drop(columns="y"), LABELS, r"in `truth_labels`, but \['y'\] are missing"),
        (LABELS, LABELS.drop(columns="cell_id"), r"in `confidences`, but \['cell_id'\] are missing"),
        (pd.concat([LABELS, LABELS]), LABELS, r"every cell once in `truth_labels`, but \('a', .*1.*\) repeats"),
        (LABELS.assign(x=[1, 0.5]), LABELS, r"labels of 0 and 1, but row 1 of `truth_labels` is \[0.5, 1.0, 1.0\]"),
        (LABELS, LABELS.assign(z=np.nan), r"finite confidences"),
        (LABELS.assign(cell_id=[1, 7]), LABELS, r"`truth_labels` in .* that of 'a' has no cell 7"),
        (LABELS, LABELS.assign(cell_id=[1, 7]), r"`confidences` in .* that of 'a' has no cell 7"),
    ],
)
def test_refused(labels: pd.DataFrame, confidences: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_label_maps(MAP, labels, MAP, confidences, THREE)


def test_refused_maps() -> None:
    with pytest.raises(ValueError, match="a predicted map of every image in `confidences`, but 'a' has none"):
        score_label_maps(MAP, LABELS, {}, LABELS, THREE)
    with pytest.raises(ValueError, match=r"row 0 of `predictions` \(image 'a'\) has height 2 instead of 1"):
        score_label_maps(MAP, LABELS, {"a": MAP["a"].T.copy()}, LABELS, THREE)


def test_no_cells_at_all() -> None:
    found = score_label_maps(MAP, LABELS, {}, LABELS[:0], THREE)
    assert found.map == 0
    assert found.counts["missed"].sum() == 3
