"""Maps as files: what is written comes back, the same each time, and nothing else is taken for it."""

import numpy as np
import pytest

from hpa.explain.saved_maps import SavedMaps, read_maps, write_maps


def example(scale=1.0):
    draws = np.random.default_rng(0)
    return SavedMaps(
        pixels=draws.integers(0, 256, (4, 6, 5)).astype(np.uint8),
        maps={
            "grad_cam": draws.random((2, 1, 6, 5)).astype(np.float32),
            "lime cells 2": (draws.normal(size=(2, 4, 6, 5)) * scale).astype(np.float32),
        },
        cells=draws.integers(0, 3, (6, 5)).astype(np.uint16),
        regions={"true_cells": draws.random((2, 6, 5)) > 0.5},
        parts=np.linspace(0, 1, 3),
        deletion={"grad_cam": draws.random((2, 3)).astype(np.float32)},
        insertion={"random places": draws.random((2, 3)).astype(np.float32)},
    )


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1, 1e9])
def test_what_is_written_comes_back(tmp_path, scale):
    saved = example(scale)
    write_maps(tmp_path / "a.npz", saved)
    found = read_maps(tmp_path / "a.npz")
    assert np.array_equal(found.pixels, saved.pixels)
    assert np.array_equal(found.cells, saved.cells)
    assert found.maps.keys() == saved.maps.keys()
    for name, maps in saved.maps.items():
        assert found.maps[name].dtype == np.float32
        np.testing.assert_allclose(found.maps[name], maps, rtol=1e-3, atol=1e-7 * np.abs(maps).max())
    assert np.array_equal(found.regions["true_cells"], saved.regions["true_cells"])
    assert np.array_equal(found.parts, saved.parts)
    assert np.array_equal(found.deletion["grad_cam"], saved.deletion["grad_cam"])
    assert np.array_equal(found.insertion["random places"], saved.insertion["random places"])


def test_the_same_maps_are_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_maps(tmp_path / name, example())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_maps_of_nothing(tmp_path):
    saved = SavedMaps(np.zeros((1, 2, 2), np.uint8), {"gradient": np.zeros((1, 1, 2, 2), np.float32)})
    write_maps(tmp_path / "a.npz", saved)
    found = read_maps(tmp_path / "a.npz")
    assert not found.maps["gradient"].any()
    assert found.cells is None
    assert len(found.parts) == 0


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "pickled.npz", pixels=np.array([{}], dtype=object))
    for name in ("other", "text", "empty", "pickled"):
        with pytest.raises(ValueError, match="does not hold attribution maps"):
            read_maps(tmp_path / f"{name}.npz")
    write_maps(tmp_path / "cut.npz", example())
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="does not hold attribution maps"):
        read_maps(tmp_path / "cut.npz")
