"""Training images of the U-Net on disk: a person's folder of images and label maps, and images prepared beforehand."""

import re
import zipfile
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic

from hpa.artifacts import atomic_write, fingerprint, read_json, write_json
from hpa.config import Config
from hpa.images import CHANNELS, BitDepth, ImageError, read_image
from hpa.parallel import map_images
from hpa.segmentation.label_maps import find_label_map, read_label_map
from hpa.segmentation.unet_config import Target, UnetSamplesConfig
from hpa.segmentation.unet_dataset import Pair, Pairs, prepare_pair

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".png.gz", ".tif.gz", ".tiff.gz")
DESCRIPTION = "pairs.json"


class FolderPairsConfig(Config):
    """A folder of images and folders of their label maps.

    Attributes:
        kind: `folder`.
        images: folder of the images; those without any label map are left out.
        cells: folder of the cells' label maps; None where there are none.
        nuclei: folder of the nuclei's.
        image_pattern: name of an image's file without its ending; with `{channel}` in it one file per channel, else one
            file for all channels.
        cells_pattern: name of an image's label map of cells; without an ending, any ending of label maps is found.
            For Cellpose: `{image_id}_cp_masks`.
        nuclei_pattern: the same for nuclei.
        array: name of the array in npz files; None takes the only array.
        channels: names of the images' channels, in order.
        bit_depth: bits of the values in 16-bit files; `auto` decides for each image.
        pixel_size: side of the images' pixels, µm. Where it is unknown, the pixel size of the samples leaves images
            as they are.
    """

    kind: Literal["folder"] = "folder"
    images: Path
    cells: Path | None = None
    nuclei: Path | None = None
    image_pattern: str = "{image_id}_{channel}"
    cells_pattern: str = "{image_id}"
    nuclei_pattern: str = "{image_id}"
    array: str | None = None
    channels: Annotated[tuple[str, ...], pydantic.Field(min_length=1)] = CHANNELS
    bit_depth: BitDepth = "auto"
    pixel_size: Annotated[float, pydantic.Field(gt=0)] = 0.08

    @pydantic.field_validator("image_pattern", "cells_pattern", "nuclei_pattern")
    @classmethod
    def _names_images(cls, pattern: str) -> str:
        if pattern.count("{image_id}") != 1:
            raise ValueError("expected a file name with {image_id} in it")
        return pattern

    @pydantic.model_validator(mode="after")
    def _has_labels(self) -> "FolderPairsConfig":
        if self.cells is None and self.nuclei is None:
            raise ValueError("expected `cells` or `nuclei`, a folder of label maps, or both")
        return self


class FolderPairs:
    """The images of a folder that have a label map.

    Attributes:
        image_ids: their names, sorted.
        unlabelled: names of the images without any label map, which are left out.
        channels: names of the channels.
        pixel_size: µm.
        targets: of what there are label maps.

    Raises:
        ValueError: a folder does not exist, or holds no image with a label map.
        ImageError: an image lacks the file of a channel.
    """

    def __init__(self, config: FolderPairsConfig) -> None:
        self.config, self.channels, self.pixel_size = config, config.channels, config.pixel_size
        for name in ("images", "cells", "nuclei"):
            folder = getattr(config, name)
            if folder is not None and not folder.is_dir():
                raise ValueError(f"{name}: expected a folder at {folder}, but there is none")
        self._files = _image_files(config)
        self._cells = self._label_maps(config.cells, config.cells_pattern)
        self._nuclei = self._label_maps(config.nuclei, config.nuclei_pattern)
        self.image_ids = sorted(self._cells.keys() | self._nuclei.keys())
        self.unlabelled = sorted(self._files.keys() - set(self.image_ids))
        if not self.image_ids:
            folders = " and ".join(str(folder) for folder in (config.cells, config.nuclei) if folder is not None)
            raise ValueError(
                f"{config.images}: expected images named {config.image_pattern} with label maps in {folders}, but "
                f"{len(self._files)} images fit the name and none has a label map; set the patterns to the files' names"
            )
        known = {"nuclei": self._nuclei, "cells": self._cells}
        self.targets: tuple[Target, ...] = tuple(target for target in ("nuclei", "cells") if known[target])

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, index: int) -> Pair:
        """One image with its label maps.

        Raises:
            ImageError: a file cannot be read.
        """
        name = self.image_ids[index]
        cells, nuclei = (
            None if path is None else read_label_map(path, self.config.array)
            for path in (self._cells.get(name), self._nuclei.get(name))
        )
        return Pair(read_image(self._files[name], self.channels, self.config.bit_depth), cells, nuclei)

    def _label_maps(self, folder: Path | None, pattern: str) -> dict[str, Path]:
        if folder is None:
            return {}
        found = {}
        for name in self._files:
            try:
                found[name] = find_label_map(folder, pattern, name)
            except ImageError:
                continue  # not every image needs to have one
        return found


class StoredPairs:
    """Images that `store_pairs` prepared and wrote; reading one takes about a millisecond.

    Raises:
        ValueError: no such folder, or `store_pairs` has not finished there.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / DESCRIPTION).is_file():
            raise ValueError(f"{folder}: expected prepared images, but there are none; `store_pairs` writes them")
        content = read_json(folder / DESCRIPTION)
        self.folder, self._count = folder, int(content["count"])
        self.channels: tuple[str, ...] = tuple(content["channels"])
        self.targets: tuple[Target, ...] = tuple(content["targets"])
        self.pixel_size = float(content["pixel_size"])

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> Pair:
        """One image at the network's resolution."""
        path = _stored_file(self.folder, index)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Pair(arrays["pixels"], arrays.get("cells"), arrays.get("nuclei"))
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: cannot be read ({error}); remove {self.folder} and prepare again") from None


def store_pairs(pairs: Pairs, config: UnetSamplesConfig, folder: Path, executor: Executor | None = None) -> StoredPairs:
    """Prepare images once and keep them, at the network's resolution; goes on where an interrupted call stopped.

    Args:
        pairs: the images; picklable where the executor runs processes.
        config: channels and resolution.
        folder: receives a file per image; of these images and settings alone.
        executor: does the work; None works in this process.

    Raises:
        ValueError: the folder holds images of other settings, or an image cannot be prepared.
    """
    settings = {"channels": list(config.channels), "pixel_size": config.pixel_size, "count": len(pairs)}
    content = {**settings, "targets": list(pairs.targets)}
    mark = folder / f"{fingerprint(content)[:16]}.settings"
    if any(other != mark for other in folder.glob("*.settings")):
        raise ValueError(f"{folder}: holds images that were prepared with other settings; remove it or take another")
    write_json(mark, content)
    left = [index for index in range(len(pairs)) if not _stored_file(folder, index).is_file()]
    function = partial(_store_pair, pairs, config, folder)
    for _ in map_images(function, left, executor, label="preparing images", done=len(pairs) - len(left)):
        pass
    write_json(folder / DESCRIPTION, content)
    return StoredPairs(folder)


def _store_pair(pairs: Pairs, config: UnetSamplesConfig, folder: Path, index: int) -> None:
    pair = prepare_pair(pairs, index, config)
    arrays = {name: array for name, array in pair._asdict().items() if array is not None}
    with atomic_write(_stored_file(folder, index), "wb") as stream:
        np.savez(stream, **arrays)


def _stored_file(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.npz"


def _image_files(config: FolderPairsConfig) -> dict[str, list[Path]]:
    """The files of each image, one per channel or one for all.

    Raises:
        ImageError: some channels of an image have a file, and others have none.
    """
    channels = config.channels if "{channel}" in config.image_pattern else ("",)
    endings = "|".join(re.escape(ending) for ending in ENDINGS)
    names = sorted(path.name for path in config.images.iterdir() if path.is_file())
    found: dict[str, dict[str, Path]] = {}
    for channel in channels:
        stem = re.escape(config.image_pattern).replace(re.escape("{channel}"), re.escape(channel))
        form = re.compile(f"{stem.replace(re.escape('{image_id}'), '(.+)')}(?:{endings})", re.IGNORECASE)
        for name in names:
            if match := form.fullmatch(name):
                found.setdefault(match[1], {}).setdefault(channel, config.images / name)
    for image_id, files in found.items():
        missing = [channel for channel in channels if channel not in files]
        if missing:
            raise ImageError("missing_file", f"{config.images}: {image_id} has no file of the channels {missing}")
    return {image_id: [files[channel] for channel in channels] for image_id, files in found.items()}
