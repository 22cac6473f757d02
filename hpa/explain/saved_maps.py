"""Attribution maps as files: one npz per image, half precision beside each map's scale, nothing unpickled."""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hpa.arrays import Bool, Float32, Float64, LabelMap, Pixels
from hpa.artifacts import atomic_write

QuestionMaps: TypeAlias = Float32[np.ndarray, "questions _ height width"]
"""One map per explained class, of one plane or of one per channel."""

_MAP, _SCALE, _REGION = "map ", "scale ", "region "


@dataclass(frozen=True, eq=False)
class SavedMaps:
    """Everything that pictures of one item's explanations need.

    Attributes:
        pixels: the item as the network saw it.
        maps: by method.
        cells: label map of the item's size; None where no cells are known.
        regions: by name, where each explained class is.
        parts: of the pixels, at each point of the curves; empty where nothing was judged.
        deletion: by method, the probability of each explained class with these parts removed.
        insertion: by method, the same with these parts put back.
    """

    pixels: Pixels
    maps: Mapping[str, QuestionMaps]
    cells: LabelMap | None = None
    regions: Mapping[str, Bool[np.ndarray, "questions height width"]] = field(default_factory=dict)
    parts: Float64[np.ndarray, " points"] = field(default_factory=lambda: np.empty(0))
    deletion: Mapping[str, Float32[np.ndarray, "questions points"]] = field(default_factory=dict)
    insertion: Mapping[str, Float32[np.ndarray, "questions points"]] = field(default_factory=dict)


def write_maps(path: Path, saved: SavedMaps) -> None:
    """Write one item's maps atomically; the same maps give the same bytes.

    Maps are stored as float16, relative to their greatest magnitude, so that gradients of 1e-9 are kept as well as
    values of 1e9: to a thousandth of themselves, or a ten-millionth of the greatest.
    """
    arrays: dict[str, np.ndarray] = {"pixels": saved.pixels, "parts": saved.parts}
    if saved.cells is not None:
        arrays["cells"] = saved.cells
    for name, region in saved.regions.items():
        arrays[_REGION + name] = region
    for name, maps in saved.maps.items():
        scale = np.abs(maps).max(axis=(1, 2, 3), initial=0).astype(np.float32)
        arrays[_SCALE + name] = scale
        arrays[_MAP + name] = (maps / np.where(scale > 0, scale, 1)[:, None, None, None]).astype(np.float16)
    for kind, curves in (("deletion ", saved.deletion), ("insertion ", saved.insertion)):
        for name, values in curves.items():
            arrays[kind + name] = values
    with atomic_write(path, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_maps(path: Path) -> SavedMaps:
    """Read what `write_maps` wrote.

    Raises:
        ValueError: not such a file.
        OSError: it cannot be opened.
    """
    try:
        # Opened here: of a damaged archive numpy leaves the file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return SavedMaps(
            pixels=arrays["pixels"],
            maps={
                name: values.astype(np.float32) * arrays[_SCALE + name][:, None, None, None]
                for name, values in _named(arrays, _MAP).items()
            },
            cells=arrays.get("cells"),
            regions=_named(arrays, _REGION),
            parts=arrays["parts"],
            deletion=_named(arrays, "deletion "),
            insertion=_named(arrays, "insertion "),
        )
    except (KeyError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: does not hold attribution maps ({error}); run `hpa explain` again") from None


def _named(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
