from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa.artifacts import ArtifactError
from hpa.cache import PixelCache
from hpa.labels import ClassList
from hpa.stages.anomalies.anomaly_items import Items, embedding_digest, embedding_of
from hpa.stages.anomalies.pixel_figures import ImagePixels
from hpa.tables import write_embeddings

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def items(*names: str, cells: bool = False) -> Items:
    keys = pd.DataFrame({"image_id": list(names)})
    if cells:
        keys["cell_id"] = range(1, len(keys) + 1)
    count = len(keys)
    return Items(
        keys=keys,
        targets=None,
        classes=ClassList(names=("a", "b")),
        groups=["g"] * count,
        means=np.zeros((count, 1)),
        histograms=None,
        pixels=ImagePixels(PixelCache(Path("nowhere"), [], ("grey",))),
        inputs={},
    )


@pytest.fixture
def folder(tmp_path):
    write_embeddings(tmp_path, pd.DataFrame({"image_id": ["x", "y", "z"], "fold": [0, 1, 0]}), VALUES)
    return tmp_path


def test_an_embedding_in_the_same_order_stays_memory_mapped(folder) -> None:
    assert isinstance(embedding_of(folder, items("x", "y", "z")), np.memmap)


def test_an_embedding_in_another_order_is_sorted_by_key(folder) -> None:
    assert embedding_of(folder, items("z", "x", "y")).tolist() == VALUES[[2, 0, 1]].tolist()


def test_other_images_other_keys_and_no_embedding_are_named(folder) -> None:
    with pytest.raises(ValueError, match=f"{folder.name}: is the embedding of other images"):
        embedding_of(folder, items("x", "y", "w"))
    with pytest.raises(ValueError, match=r"keyed by \['image_id', 'cell_id'\]"):
        embedding_of(folder, items("x", "y", "z", cells=True))
    for function in (embedding_digest, lambda path: embedding_of(path, items("x"))):
        with pytest.raises(ArtifactError, match="`hpa embed` makes one"):
            function(folder / "nothing")


def test_the_digest_follows_values_and_keys(folder, tmp_path) -> None:
    first = embedding_digest(folder)
    write_embeddings(folder, pd.DataFrame({"image_id": ["x", "y", "w"]}), VALUES)
    second = embedding_digest(folder)
    write_embeddings(folder, pd.DataFrame({"image_id": ["x", "y", "w"]}), VALUES + 1)
    assert len({first, second, embedding_digest(folder)}) == 3


def test_names_tell_cells_apart() -> None:
    assert items("x", "x", cells=True).names() == ["x cell 1", "x cell 2"]
    assert items("x").names() == ["x"]
