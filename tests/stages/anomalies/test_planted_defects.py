import numpy as np
import pandas as pd
import pytest

from hpa.anomaly.findings import Finding
from hpa.stages.anomalies.planted_defects import ANY_IMAGE_DEFECT, planted_defects, score_findings
from hpa.stages.data.dataset_config import DatasetConfig


def test_every_defect_stands_against_the_sound_images_alone() -> None:
    defects = pd.Series(["", "", "blurred", "wrong_label", "blurred"])
    scores = np.array([0, 1, 5, 9, 0.5], np.float32)
    flags = np.array([False, False, True, True, False])
    rows = score_findings([Finding("blur", scores, flags)], defects)
    found = {row["defect"]: row for row in rows}
    assert set(found) == {ANY_IMAGE_DEFECT, "blurred", "wrong_label"}
    assert found["blurred"]["auroc"] == 0.75  # 5 above both, 0.5 above one of two
    assert found["blurred"]["flagged"] == 0.5
    assert found["blurred"]["sound"] == 2
    assert found[ANY_IMAGE_DEFECT] | {"defect": "blurred"} == found["blurred"]
    assert found["wrong_label"]["recall"] == 1


def test_wrong_labels_alone_are_no_image_defects() -> None:
    rows = score_findings([Finding("x", np.zeros(2, np.float32), np.zeros(2, bool))], pd.Series(["", "wrong_label"]))
    assert [row["defect"] for row in rows] == ["wrong_label"]


@pytest.mark.parametrize("level", ["image", "cell"])
def test_nothing_is_known_of_real_images_and_of_cells(tmp_path, level) -> None:
    source = {"kind": "class_folders", "folder": tmp_path} if level == "image" else {"kind": "simulated"}
    data = DatasetConfig.model_validate({"out": tmp_path, "source": source})
    assert planted_defects(data, pd.DataFrame({"image_id": ["a"]}), level) is None
