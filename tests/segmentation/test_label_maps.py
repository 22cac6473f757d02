import io

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hpa.config import ConfigError, validate
from hpa.decoding import ImageError
from hpa.segmentation.label_maps import (
    LabelMapsConfig,
    find_label_map,
    nuclei_of_cells,
    read_label_map,
    read_label_maps,
    renumber,
)

LABELS = np.array([[0, 0, 3, 3], [9, 9, 3, 0], [9, 9, 0, 700]])


def save(path, values):
    match path.suffix:
        case ".png":
            path.write_bytes(cv2.imencode(".png", values)[1].tobytes())
        case ".tif" | ".tiff":
            tifffile.imwrite(path, values, compression="zlib")
        case ".npz":
            np.savez_compressed(path, cells=values)
        case ".npy":
            np.save(path, values)
    return path


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint16),
        (".tif", np.uint16),
        (".tif", np.uint32),
        (".tiff", np.int32),
        (".npz", np.int64),
        (".npy", np.int32),
        (".npy", np.uint16),
    ],
)
def test_numbers_stay_as_in_the_file(tmp_path, suffix, dtype):
    found = read_label_map(save(tmp_path / f"a{suffix}", LABELS.astype(dtype)))
    assert found.dtype == np.uint16
    assert found.tolist() == LABELS.tolist()


def test_eight_bits_and_planes_of_one(tmp_path):
    assert read_label_map(save(tmp_path / "a.png", (LABELS % 256).astype(np.uint8))).tolist() == (LABELS % 256).tolist()
    assert read_label_map(save(tmp_path / "a.npy", LABELS[:, :, None])).tolist() == LABELS.tolist()
    tifffile.imwrite(tmp_path / "b.tif", LABELS[None].astype(np.uint32), photometric="minisblack")
    assert read_label_map(tmp_path / "b.tif").tolist() == LABELS.tolist()


def test_numbers_above_uint16_are_renumbered(tmp_path):
    for scale in (1000, 100000):
        found = read_label_map(save(tmp_path / "a.tif", (LABELS * scale).astype(np.uint32)))
        assert found.tolist() == [[0, 0, 1, 1], [2, 2, 1, 0], [2, 2, 0, 3]]


def test_too_many_instances(tmp_path):
    crowd = np.arange(300 * 300, dtype=np.uint32).reshape(300, 300)
    with pytest.raises(ImageError, match=r"a\.tif: expected at most 65535 instances in an image, but got 89999"):
        read_label_map(save(tmp_path / "a.tif", crowd))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("a.png", np.zeros((4, 5, 3), np.uint8), "one plane of instance numbers"),
        ("a.tif", np.zeros((6, 7, 3), np.uint8), "one plane of instance numbers"),
        ("a.npy", np.zeros((2, 3, 4), np.int32), "one plane of instance numbers"),
        ("a.npy", LABELS.astype(np.float32), "values of type float32"),
        ("a.npz", LABELS > 0, "values of type bool"),
        ("a.npy", -LABELS, "0 and above, but got -700"),
        ("a.png", ((LABELS > 0) * 255).astype(np.uint8), "binary mask"),
        ("a.npz", np.zeros((5000, 3), np.uint8), "sides of 1 to 4096 pixels, but got 3 x 5000"),
        ("a.tif", np.zeros((5000, 3), np.uint16), "sides of 1 to 4096 pixels"),
        ("a.npy", np.zeros((0, 3), np.uint16), "sides of 1 to 4096 pixels"),
    ],
)
def test_what_is_no_label_map(tmp_path, name, values, message):
    path = save(tmp_path / name, values)
    with pytest.raises(ImageError, match=message) as error:
        read_label_map(path)
    assert str(error.value).count(name) == 1


def test_arrays_of_npz_files_by_name(tmp_path):
    np.savez(tmp_path / "two.npz", cells=LABELS, nuclei=LABELS * 2)
    assert read_label_map(tmp_path / "two.npz", "nuclei").max() == 1400
    with pytest.raises(ImageError, match=r"expected one array, but there are \['cells', 'nuclei'\]; name the one"):
        read_label_map(tmp_path / "two.npz")
    with pytest.raises(ImageError, match="has no array 'masks'"):
        read_label_map(tmp_path / "two.npz", "masks")


def test_damage_is_an_error_and_nothing_is_unpickled(tmp_path):
    cases = {
        "damaged.tif": save(tmp_path / "x.tif", LABELS.astype(np.uint32)).read_bytes()[:60],
        "damaged.npz": save(tmp_path / "x.npz", LABELS).read_bytes()[:90],
        "damaged.npy": b"\x93NUMPY\x01",
        "damaged.png": save(tmp_path / "x.png", LABELS.astype(np.uint16)).read_bytes()[:40],
        "text.png": b"no image at all",
    }
    stream = io.BytesIO()
    np.save(stream, np.array({"masks": LABELS}), allow_pickle=True)  # as Cellpose's _seg.npy
    cases["a_seg.npy"] = stream.getvalue()
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=name):
            read_label_map(tmp_path / name)
    with pytest.raises(ImageError, match="never unpickled, save the label map as PNG or TIFF"):
        read_label_map(tmp_path / "a_seg.npy")
    with pytest.raises(ImageError, match="there is no such file"):
        read_label_map(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_label_map(tmp_path)


def test_maps_of_an_image(tmp_path):
    cells, nuclei = tmp_path / "cells", tmp_path / "nuclei"
    cells.mkdir()
    nuclei.mkdir()
    save(cells / "a1.png", LABELS.astype(np.uint16))
    save(nuclei / "a1_cp_masks.tif", np.array([[5, 0, 0, 6], [5, 5, 0, 0], [0, 0, 0, 0]], np.uint16))
    alone = read_label_maps("a1", LabelMapsConfig(cells=cells), 3, 4)
    assert alone.cells.tolist() == [[0, 0, 1, 1], [2, 2, 1, 0], [2, 2, 0, 3]]
    assert not alone.nuclei.any()
    config = LabelMapsConfig(cells=cells, nuclei=nuclei, nuclei_pattern="{image_id}_cp_masks")
    both = read_label_maps("a1", config, 3, 4)
    assert both.nuclei.tolist() == [[0, 0, 0, 1], [2, 2, 0, 0], [0, 0, 0, 0]]
    with pytest.raises(ImageError, match=r"a1\.png: expected the size of its image, 8 x 3, but the label map is 4 x 3"):
        read_label_maps("a1", config, 3, 8)
    with pytest.raises(ImageError, match=r"a2: expected its label map at .*a2 with one of the endings \.png, \.tif"):
        read_label_maps("a2", config, 3, 4)


def test_finding_files(tmp_path):
    save(tmp_path / "x.v2.tif", LABELS)
    save(tmp_path / "x.v2.npz", LABELS)
    assert find_label_map(tmp_path, "{image_id}", "x.v2") == tmp_path / "x.v2.tif"
    assert find_label_map(tmp_path, "{image_id}.npz", "x.v2") == tmp_path / "x.v2.npz"
    with pytest.raises(ImageError, match=r"at .*x\.v2\.png, but"):
        find_label_map(tmp_path, "{image_id}.png", "x.v2")
    with pytest.raises(ConfigError, match=r"cells_pattern: expected a file name with \{image_id\} in it"):
        validate(LabelMapsConfig, {"cells": "x", "cells_pattern": "masks.png"})


maps = npst.arrays(np.uint16, (6, 7), elements=st.sampled_from([0, 1, 2, 5, 65535]))


@given(maps, st.sampled_from([1, 1000, 10**9]))
def test_renumbering_keeps_instances_and_their_order(label_map, scale):
    found = renumber(label_map.astype(np.int64) * scale)
    values = np.unique(label_map[label_map > 0]).tolist()
    expected = [[values.index(value) + 1 if value else 0 for value in row] for row in label_map.tolist()]
    assert found.tolist() == expected


@settings(max_examples=50)
@given(maps, maps)
def test_nuclei_belong_to_the_cell_that_covers_most(cells, nuclei):
    found = nuclei_of_cells(cells, nuclei)
    for nucleus in np.unique(nuclei[nuclei > 0]):
        under = cells[nuclei == nucleus]
        counts = {int(cell): int((under == cell).sum()) for cell in under if cell}
        best = min(counts, key=lambda cell: (-counts[cell], cell)) if counts else 0
        expected = np.where(under == best, best, 0) if best else np.zeros_like(under)
        assert found[nuclei == nucleus].tolist() == expected.tolist()
    assert not found[nuclei == 0].any()


def test_real_maps(sample_data):
    found = read_label_map(next((sample_data / "dsb2018" / "labels").glob("*.png")))
    assert found.dtype == np.uint16
    for path in (sample_data / "hpa2021" / "masks").glob("*.png"):
        config = LabelMapsConfig(cells=path.parent)
        assert read_label_maps(path.stem, config, 2048, 2048).cells.max() in (10, 19)
