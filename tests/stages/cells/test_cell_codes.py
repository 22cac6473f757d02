import numpy as np
import pandas as pd
import pytest

from hpa.artifacts import ArtifactError, build, make_record
from hpa.config import validate
from hpa.images import resize, write_png
from hpa.stages.cells.cell_codes import codes_folder, make_codes, open_codes, require_segmented
from hpa.stages.data import index
from hpa.stages.data.dataset import DatasetConfig
from hpa.tables import write_table


@pytest.fixture
def data(tmp_path):
    """Three indexed images of 40 × 60 pixels."""
    for number in range(3):
        for channel in ("red", "green", "blue", "yellow"):
            plane = np.random.default_rng([number, len(channel)]).integers(0, 256, (40, 60)).astype(np.uint8)
            write_png(tmp_path / "images" / f"i{number}_{channel}.png", plane)
    source = {"kind": "kaggle2021", "folder": str(tmp_path / "images")}
    config = validate(
        DatasetConfig,
        {"out": str(tmp_path / "work"), "source": source, "cache": {"size": 20}, "workers": {"kind": "none"}},
    )
    index.run(config)
    return config


@pytest.fixture
def cells(tmp_path):
    """Their label maps, as `segment_cells` leaves them: 300 cells in the first, none in the last."""
    maps = [np.zeros((40, 60), np.uint16) for _ in range(3)]
    maps[0][:5] = np.arange(1, 301).reshape(5, 60)
    maps[1][10:30, 10:30], maps[1][10:30, 30:50] = 4, 9
    with build(tmp_path / "cells", make_record("segment_cells", {})) as folder:
        for number, cell_map in enumerate(maps):
            write_png(folder / "cells" / f"i{number}.png", cell_map)
        write_table(folder / "images.parquet", pd.DataFrame({"image_id": [f"i{number}" for number in range(3)]}))
    return tmp_path / "cells"


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_rows_planes_and_places_are_those_of_the_pixels(data, cells, fit):
    settings = data.model_copy(update={"cache": data.cache.model_copy(update={"fit": fit})})
    folder = make_codes(cells, settings)
    codes = open_codes(cells, settings)
    assert folder == codes_folder(cells, settings.cache) == cells.with_name(f"cells-codes-20-{fit}")
    assert codes.image_ids == ["i0", "i1", "i2"]
    assert codes.pixels.shape == (3, 1, 20, 20)
    assert set(np.unique(codes.pixels[1])) == {0, 1, 2}
    assert not codes.pixels[2].any()
    right = np.zeros((1, 40, 60), np.uint8)
    right[0, 10:30, 30:50] = 255
    shown = resize(right, 20, fit)[0]
    assert (codes.pixels[1, 0][shown > 200] == 2).all()
    assert (codes.pixels[1, 0][shown < 50] != 2).all()


def test_it_is_made_once_and_not_over_another(data, cells):
    folder = make_codes(cells, data)
    before = (folder / "pixels.npy").stat().st_mtime_ns
    assert make_codes(cells, data) == folder
    assert (folder / "pixels.npy").stat().st_mtime_ns == before
    (cells / "record.json").write_text(make_record("segment_cells", {"quality": 1}).model_dump_json())
    with pytest.raises(ArtifactError, match="made from something else"):
        make_codes(cells, data)


def test_what_is_missing_is_told(data, cells, tmp_path):
    with pytest.raises(ValueError, match="is not a cache of pixels"):
        open_codes(cells, data)
    with pytest.raises(ArtifactError, match="`hpa segment_cells` makes it"):
        make_codes(tmp_path / "none", data)
    require_segmented(cells, ["i2", "i0"])
    with pytest.raises(ValueError, match=r"1 of 2 images are not segmented, such as \['i7'\]"):
        require_segmented(cells, ["i0", "i7"])
