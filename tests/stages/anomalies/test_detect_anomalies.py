"""`detect_anomalies` end to end: on an atlas with planted defects, on its cells, on grey and on unlabelled images."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa.artifacts import ArtifactError, read_record
from hpa.config import load_config
from hpa.parallel import WorkersConfig
from hpa.segmentation import LabelMapsConfig
from hpa.simulation import SimulationConfig
from hpa.stages.anomalies import anomaly_detectors, detect_anomalies
from hpa.stages.anomalies.detect_anomalies_config import DetectAnomaliesConfig
from hpa.stages.cells import cache_cells, segment_cells
from hpa.stages.cells.cache_cells import CacheCellsConfig
from hpa.stages.cells.cells_config import SegmentCellsConfig
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig, FoldSettings, SimulatedSource
from hpa.tables import read_table, write_embeddings, write_table

IMAGES, SIDE = 52, 96
DEFECTS = {"swapped_channels": 0.06, "out_of_focus": 0.06, "saturated": 0.06, "nearly_empty": 0.06, "duplicate": 0.1}


def atlas(folder, **workers):
    simulation = SimulationConfig.model_validate(
        {"images": IMAGES, "size": SIDE, "field": 60, "seed": 3, "defects": DEFECTS}
    )
    return DatasetConfig(
        out=folder / "work",
        source=SimulatedSource(simulation=simulation),
        fold=FoldSettings(folds=2),
        cache=CacheSettings(size=SIDE),
        workers=WorkersConfig(**(workers or {"kind": "none"})),
    )


def config(folder, name="anomalies", **settings):
    values = {"data": atlas(folder).model_dump(), "out": folder / name, "examples": 3, **settings}
    return DetectAnomaliesConfig.model_validate(values)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of the atlas (`work`) and of the findings of every pixel detector (`anomalies`)."""
    folder = tmp_path_factory.mktemp("atlas")
    assert detect_anomalies.run(config(folder)) == folder / "anomalies"
    return folder


@pytest.fixture(scope="module")
def with_cells(finished):
    """The same with true label maps as a segmentation (`cells`) and a cache of them (`cells_cache`)."""
    truth = finished / "work" / "simulate" / "truth"
    maps = LabelMapsConfig(cells=truth / "cell_maps", nuclei=truth / "nucleus_maps")
    segment_cells.run(SegmentCellsConfig(data=atlas(finished), segmenter=maps, out=finished / "cells"))
    cache_cells.run(
        CacheCellsConfig.model_validate(
            {
                "data": atlas(finished).model_dump(),
                "cells": finished / "cells",
                "crops": {"size": 32},
                "out": finished / "cells_cache",
            }
        )
    )
    return finished


def findings(folder, name="anomalies"):
    return read_table(folder / name / "findings.parquet")


def test_every_image_has_a_score_and_a_decision_of_every_detector(finished):
    table = findings(finished)
    images = read_table(finished / "work" / "index" / "images.parquet")
    assert table["image_id"].tolist() == images["image_id"].tolist()
    kinds = ["combined", "intensity", "histogram", "joint_histogram", "out_of_focus", "saturated", "nearly_empty"]
    for name in [*kinds, "swapped_channels", "duplicates"]:
        assert table[f"{name}_score"].dtype == np.float32
        assert table[f"is_{name}"].dtype == bool
    assert (table["is_combined"] == (table["combined_because"] != "")).all()


def test_planted_defects_are_found_and_measured(finished):
    metrics = json.loads((finished / "anomalies" / "metrics.json").read_text())
    assert metrics["items"] == IMAGES
    scores = {(row["finding"], row["defect"]): row for row in metrics["planted"]}
    truth = read_table(finished / "work" / "simulate" / "truth" / "images.parquet")
    assert scores["combined", "any image defect"]["planted"] == int((truth["defect"] != "").sum())
    assert scores["combined", "any image defect"]["auroc"] > 0.85
    assert scores["duplicates", "duplicate"]["auroc"] == 1
    assert scores["out_of_focus", "out_of_focus"]["auroc"] > 0.95
    flags = findings(finished)["is_intensity"].to_numpy()
    assert metrics["detectors"]["intensity"] == {"judged": IMAGES, "flagged": int(flags.sum())}
    labels = read_table(finished / "work" / "index" / "labels.parquet")
    for row in metrics["per_class"]:
        has = labels[row["class"]].to_numpy() > 0
        assert row["items"] == has.sum()
        assert row["combined"] == (has & findings(finished)["is_combined"].to_numpy()).sum()


def test_duplicates_stand_with_their_originals_and_both_labels(finished):
    table = pd.read_csv(finished / "anomalies" / "duplicates.csv", keep_default_na=False)
    truth = read_table(finished / "work" / "simulate" / "truth" / "images.parquet").set_index("image_id")
    planted = truth[truth["defect"] == "duplicate"]
    assert len(planted)
    found = table.set_index("image_id")
    assert set(planted.index) <= set(found.index)
    assert found.loc[planted.index, "similarity"].min() > 0.95
    assert found["same_labels"].dtype == bool
    assert (found["labels"] == found["labels_of_original"]).equals(found["same_labels"])


def test_the_page_shows_the_worst_with_reasons(finished):
    page = (finished / "anomalies" / "report.html").read_text()
    assert "What was planted" in page
    assert "Which classes are hit" in page
    for text in ("sigmas less fine detail than usual", "looks like", "of the area shows", "similarity"):
        assert text in page
    assert (finished / "anomalies" / "figures" / "scores.png").is_file()
    assert not (finished / "anomalies" / "blocks").exists()


def test_a_second_run_does_nothing_and_other_settings_are_refused(finished):
    stamp = (finished / "anomalies" / "findings.parquet").stat().st_mtime_ns
    detect_anomalies.run(config(finished))
    assert (finished / "anomalies" / "findings.parquet").stat().st_mtime_ns == stamp
    with pytest.raises(ArtifactError, match=r"examples: there 3, now 4"):
        detect_anomalies.run(config(finished, examples=4))


def test_processes_and_a_killed_run_give_the_same_bytes(finished, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(anomaly_detectors.Detection, "find", killed)
        with pytest.raises(KeyboardInterrupt):
            detect_anomalies.run(config(finished, "again"))
    assert list((finished / "again.partial" / "blocks").iterdir())
    detect_anomalies.run(config(finished, "again", data=atlas(finished, kind="processes", count=2).model_dump()))
    for name in ("findings.parquet", "metrics.json", "duplicates.csv", "report.html"):
        assert (finished / "again" / name).read_bytes() == (finished / "anomalies" / name).read_bytes()


def test_detectors_of_embeddings_and_labels_join(finished):
    images = read_table(finished / "work" / "index" / "images.parquet")
    labels = read_table(finished / "work" / "index" / "labels.parquet")
    generator = np.random.default_rng(0)
    order = generator.permutation(IMAGES)
    values = generator.normal(size=(IMAGES, 8)).astype(np.float32)
    values[5] += 30
    write_embeddings(finished / "embedding", images[["image_id"]].iloc[order], values[order])
    names = list(labels.columns[1:])
    said = np.clip(labels[names].to_numpy() * 0.8 + generator.uniform(0, 0.15, (IMAGES, len(names))), 0, 1)
    said[9] = 1 - said[9]
    table = pd.DataFrame(said.astype(np.float32), columns=names)
    write_table(finished / "out_of_fold.parquet", pd.concat([images[["image_id"]], table], axis=1).iloc[::-1])
    kinds = ("neighbours", "class_centre", "mahalanobis", "local_outlier_factor", "isolation_forest")
    detectors = [{"kind": kind, "embedding": finished / "embedding"} for kind in kinds]
    label = {"kind": "label", "probabilities": finished / "out_of_fold.parquet"}
    chosen = [
        {"kind": "neighbours", "name": "nearest3", "embedding": finished / "embedding", "neighbours": 3},
        *detectors,
        {**label, "embedding": finished / "embedding", "method": {"kind": "combination", "neighbours": 5}},
        {**label, "name": "self_confidence", "method": {"kind": "self_confidence"}},
    ]
    detect_anomalies.run(config(finished, "embedded", detectors=chosen, combined={"weights": {"label": 0.5}}))
    found = findings(finished, "embedded")
    for name in ("nearest3", *kinds):
        assert found[f"{name}_score"].argmax() == 5
    assert found["self_confidence_score"].argmax() == 9
    assert found["label_suggested"].iloc[9]
    assert set(found["class_centre_reference"]) <= {*names, "all"}
    record = read_record(finished / "embedded", detect_anomalies.STAGE)
    assert {"neighbours embedding", "label probabilities", "label embedding"} <= set(record.inputs)
    assert str(finished) not in json.dumps(record.config)


def test_cells_are_judged_within_their_masks(with_cells):
    settings = {"level": "cell", "cells": with_cells / "cells", "cells_cache": with_cells / "cells_cache"}
    detect_anomalies.run(config(with_cells, "of_cells", **settings))
    table = findings(with_cells, "of_cells")
    cells = read_table(with_cells / "cells" / "cells.parquet")
    assert table[["image_id", "cell_id"]].equals(cells[["image_id", "cell_id"]])
    assert {"intensity_score", "histogram_score", "out_of_focus_score", "saturated_score"} <= set(table)
    assert "duplicates_score" not in table
    means = (cells["sum_green"] / cells["area"]).to_numpy()
    assert np.corrcoef(np.abs(means - means.mean()), table["intensity_score"])[0, 1] > 0.3
    assert ", cell " in (with_cells / "of_cells" / "report.html").read_text()


def test_cells_of_other_images_are_refused(with_cells):
    other = atlas(with_cells).model_copy(update={"out": with_cells / "other"})
    shutil.copytree(with_cells / "work" / "simulate", with_cells / "other" / "simulate")
    strange = other.model_dump()
    strange["index"]["duplicate_distance"] = None
    settings = {"level": "cell", "cells": with_cells / "cells", "cells_cache": with_cells / "cells_cache"}
    with pytest.raises(ArtifactError, match="its cells are not those of the images"):
        detect_anomalies.run(config(with_cells, "wrong", data=strange, **settings))


def folders(root, each=24, side=24, planes=1):
    generator = np.random.default_rng(0)
    for name in ("ill", "healthy"):
        (root / name).mkdir(parents=True)
        for number in range(each):
            shape = (side, side, planes) if planes > 1 else (side, side)
            assert cv2.imwrite(str(root / name / f"{number}.png"), generator.integers(0, 255, shape, np.uint8))
    return root


@pytest.mark.parametrize("planes", [1, 3])
def test_single_label_sets_of_grey_and_colour_images(tmp_path, planes):
    folders(tmp_path / "images", planes=planes)
    data = {
        "out": tmp_path / "data",
        "source": {"kind": "class_folders", "folder": tmp_path / "images"},
        "cache": {"size": 24},
        "workers": {"kind": "none"},
    }
    out = detect_anomalies.run(DetectAnomaliesConfig.model_validate({"data": data, "out": tmp_path / "found"}))
    table = read_table(out / "findings.parquet")
    assert len(table) == 48
    assert set(table["intensity_reference"]) == {"ill", "healthy"}
    assert "planted" not in json.loads((out / "metrics.json").read_text())
    assert "What was planted" not in (out / "report.html").read_text()


def test_images_without_labels(tmp_path):
    folders(tmp_path / "images", each=5)
    rows = [{"path": f"{name}/{number}.png"} for name in ("ill", "healthy") for number in range(5)]
    pd.DataFrame(rows).to_csv(tmp_path / "images" / "list.csv", index=False)
    source = {
        "kind": "table",
        "csv": tmp_path / "images" / "list.csv",
        "channels": ["grey"],
        "classes": ["ill", "healthy"],
    }
    data = {"out": tmp_path / "data", "source": source, "cache": {"size": 24}, "workers": {"kind": "none"}}
    out = detect_anomalies.run(DetectAnomaliesConfig.model_validate({"data": data, "out": tmp_path / "found"}))
    assert set(read_table(out / "findings.parquet")["intensity_reference"]) == {"all"}
    assert "per_class" not in json.loads((out / "metrics.json").read_text())
    write_table(tmp_path / "said.parquet", pd.DataFrame({"image_id": ["a"], "ill": [0.5], "healthy": [0.5]}))
    label = [{"kind": "label", "probabilities": tmp_path / "said.parquet"}]
    asked = DetectAnomaliesConfig.model_validate({"data": data, "detectors": label, "out": tmp_path / "labels"})
    with pytest.raises(ValueError, match="label: there are no labels to judge"):
        detect_anomalies.run(asked)


def test_the_default_configuration_loads():
    assert load_config(DetectAnomaliesConfig).detectors is None
