"""What `embed` embeds: the images of a data set, or the cells of a cache, with their pixels and folds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate import Accelerator

from hpa.arrays import Int64, Pixels
from hpa.artifacts import ArtifactError, read_record
from hpa.cache import PixelCache
from hpa.cell_cache import CellCache, split_masks
from hpa.classification import ImageDataset
from hpa.classification.cell_dataset import CellDataset, MaskingConfig
from hpa.labels import ClassList
from hpa.stages.cells import cache_cells
from hpa.stages.data import fold, index
from hpa.stages.data.dataset import open_dataset, prepare
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig
from hpa.stages.data.indexed_images import open_index
from hpa.tables import CELL_KEY, IMAGE_KEY, align, read_table


@dataclass(frozen=True)
class Items:
    """Images or cells; row i of the keys is row i of the pixels.

    Attributes:
        keys: image_id, or image_id and cell_id.
        source: their pixels.
        channels: names of the planes, of one scale.
        classes: the class list.
        folds: of the rows; None where they are not asked for.
        fingerprints: of what they come from, by name.
        masking: for cells, whether neighbours are shown.
    """

    keys: pd.DataFrame
    source: PixelCache | CellCache
    channels: tuple[str, ...]
    classes: ClassList
    folds: Int64[np.ndarray, " items"] | None
    fingerprints: dict[str, str]
    masking: MaskingConfig

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def planes(self) -> int:
        """Planes of an item: the channels, for cells those of all scales."""
        return self.source.planes if isinstance(self.source, CellCache) else len(self.channels)

    @property
    def size(self) -> int:
        """Side of the items, pixels."""
        return self.source.size

    def samples(self, size: int | None = None) -> ImageDataset:
        """The items as a network sees them, of another size where that is given."""
        if isinstance(self.source, CellCache):
            return CellDataset(self.source, masking=self.masking, size=size)
        return ImageDataset(self.source, size=size)

    def reader(self, channels: tuple[str, ...]) -> "PlaneReader":
        """What reads some channels of an item; of cells those of the first scale.

        Raises:
            ValueError: there is no such channel.
        """
        missing = [name for name in channels if name not in self.channels]
        if missing:
            raise ValueError(f"expected some of the channels {list(self.channels)}, but got {missing}")
        masked = self.masking.is_masked(False, 0, 0, 0)
        return PlaneReader(self.source, tuple(self.channels.index(name) for name in channels), masked)


@dataclass(frozen=True)
class PlaneReader:
    """Reads some planes of a row; picklable for worker processes.

    Attributes:
        source: the pixels.
        planes: numbers of the planes.
        masked: for cells, whether what is outside is 0.
    """

    source: PixelCache | CellCache
    planes: tuple[int, ...]
    masked: bool

    def __call__(self, row: int) -> Pixels:
        """A copy: uint8 (planes, size, size)."""
        if isinstance(self.source, CellCache):
            item = split_masks(self.source.read(np.array([row])), self.source.scales, self.masked)[0]
        else:
            item = self.source.pixels[row]
        return np.array(item[list(self.planes)])


def open_images(data: DatasetConfig, needs_folds: bool, cache: CacheSettings | None, accelerator: Accelerator) -> Items:
    """The images of a data set, prepared first where that is missing.

    Args:
        data: which.
        needs_folds: whether labelled images are dealt into folds.
        cache: in place of that of `data`.
        accelerator: whose main process prepares.

    Raises as `prepare` and `open_dataset` do.
    """
    settings = data if cache is None else data.model_copy(update={"cache": cache})
    if accelerator.is_main_process:
        prepare(settings, needs_folds=needs_folds)
    accelerator.wait_for_everyone()
    opened = open_dataset(settings, needs_folds=needs_folds)
    keys = opened.images[list(IMAGE_KEY)]
    folds = opened.images["fold"].to_numpy(np.int64) if needs_folds else None
    return Items(keys, opened.cache, opened.channels, opened.classes, folds, opened.fingerprints, MaskingConfig())


def open_cells(
    data: DatasetConfig, cells_cache: Path, needs_folds: bool, masking: MaskingConfig, accelerator: Accelerator
) -> Items:
    """The cells of a cache, their images indexed and dealt into folds first where that is missing and asked for.

    Raises:
        ArtifactError: the cache is missing, or was made from other images.
        ValueError: it holds no cells.
    """
    if accelerator.is_main_process:
        (fold if needs_folds else index).run(data)
    accelerator.wait_for_everyone()
    indexed = open_index(data.index_folder)
    cut = read_record(cells_cache, cache_cells.STAGE)
    if cut.inputs.get("index") != indexed.fingerprint:
        raise ArtifactError(
            f"{cells_cache}: its cells are not those of the images in {data.index_folder}; give the folder that "
            f"`hpa {cache_cells.STAGE}` made from the same data section"
        )
    cache = CellCache.open(cells_cache)
    if not len(cache):
        raise ValueError(f"{cells_cache}: holds no cells; look at the segmentation that it was made from")
    folds, fingerprints = None, {"cells_cache": cut.fingerprint}
    if needs_folds:
        dealt = align(indexed.table, read_table(data.fold_folder / fold.FOLDS)).set_index("image_id")["fold"]
        folds = cache.keys["image_id"].map(dealt).to_numpy(np.int64)
        fingerprints["fold"] = read_record(data.fold_folder, fold.STAGE).fingerprint
    return Items(cache.keys[list(CELL_KEY)], cache, cache.channels, indexed.classes, folds, fingerprints, masking)
