"""The configuration of `embed`."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.anomaly.sift_words import SiftWordsConfig
from hpa.backbones import PipWeights
from hpa.classification import ModelConfig
from hpa.classification.cell_dataset import MaskingConfig
from hpa.config import Config
from hpa.segmentation.unet_config import STRIDE
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.training import MachineConfig, Precision

Views: TypeAlias = Literal[1, 2, 4, 8]


class BackboneMethod(Config):
    """Pooled features of a backbone as it comes, without any training on the images.

    Attributes:
        model: timm's name, weights and pooling; what concerns training is not used.
        size: side in pixels to which images are brought; None leaves that of the cache.
        views: of the dihedral group, averaged.
    """

    kind: Literal["backbone"] = "backbone"
    model: ModelConfig = ModelConfig(pretrained=PipWeights())
    size: Annotated[int, pydantic.Field(ge=8, le=4096)] | None = None
    views: Views = 1


class RunMethod(Config):
    """Pooled features of the networks of a finished training.

    Attributes:
        run: folder of `train_image_level`, or for cells of `train_cell_level` or `train_bags`.
        out_of_fold: for what the run learned from: each item by the network that held it out, so that all folds must
            be trained. False for new images: the mean over the networks.
        align: out of fold, rotate the networks' spaces onto that of the first: each has its own, and items of different
            folds would be far from each other whatever they show. Distances within a fold stay.
        anchors: items that a rotation is fitted on.
        views: of the dihedral group, averaged; None takes the run's own.
    """

    kind: Literal["run"] = "run"
    run: Path = Path("runs/demo")
    out_of_fold: bool = True
    align: bool = True
    anchors: Annotated[int, pydantic.Field(ge=2)] = 1000
    views: Views | None = None


class UnetMethod(Config):
    """The coarsest features of a U-Net's encoder, averaged over the image.

    Attributes:
        run: folder of `train_segmentation`.
        size: side in pixels at which the network sees the images; None is that of the cache. Cells should be as large
            as in its training: 512 for fields of 2048 pixels of 0.08 µm and a network of 0.32 µm.
    """

    kind: Literal["unet"] = "unet"
    run: Path = Path("runs/segmentation")
    size: Annotated[int, pydantic.Field(ge=STRIDE, le=4096)] | None = None


class SiftMethod(SiftWordsConfig):
    """A bag of visual words.

    Attributes:
        channels: whose key points count; None takes the protein's (green), or all where there is none.
        sample: images that the words are learned from, at most.
    """

    kind: Literal["sift"] = "sift"
    channels: Annotated[tuple[str, ...], pydantic.Field(min_length=1)] | None = None
    sample: Annotated[int, pydantic.Field(ge=1)] = 1000


class TableMethod(Config):
    """Embeddings that were made elsewhere.

    Attributes:
        path: CSV or parquet with image_id, for cells cell_id, and columns of numbers; or an npy array (rows, features).
        keys: of an npy array, a CSV or parquet with its keys row by row.
        columns: which ones are the embedding, in order; None takes all but the keys and `fold`.
    """

    kind: Literal["table"] = "table"
    path: Path
    keys: Path | None = None
    columns: Annotated[tuple[str, ...], pydantic.Field(min_length=1)] | None = None

    @pydantic.model_validator(mode="after")
    def _has_keys(self) -> "TableMethod":
        if self.path.suffix == ".npy" and self.keys is None:
            raise ValueError("keys: an npy array has no keys; give a CSV or parquet with them, row by row")
        if self.path.suffix == ".npy" and self.columns is not None:
            raise ValueError("columns: an npy array has no names of columns; leave `columns` out")
        if self.path.suffix != ".npy" and self.keys is not None:
            raise ValueError("keys: belongs to an npy array; a table holds its own keys")
        return self


Method: TypeAlias = Annotated[
    BackboneMethod | RunMethod | UnetMethod | SiftMethod | TableMethod, pydantic.Field(discriminator="kind")
]


class EmbedConfig(Config):
    """Embeddings of images or cells.

    Attributes:
        data: the images; a run's own cache settings are used in place of `data.cache`.
        level: what has an embedding.
        cells_cache: for cells, the folder of `cache_cells`.
        masking: for cells, whether neighbours are shown; a run's own is used in its place.
        method: how.
        out: folder of the embeddings.
        batch_size: items of one forward pass.
        precision: of networks.
        machine: workers; decides speed only.
    """

    data: DatasetConfig = DatasetConfig()
    level: Literal["image", "cell"] = "image"
    cells_cache: Path = Path("work/demo/cache_cells")
    masking: MaskingConfig = MaskingConfig()
    method: Method = BackboneMethod()
    out: Path = Path("work/demo/embed")
    batch_size: Annotated[int, pydantic.Field(ge=1)] = 32
    precision: Precision = "no"
    machine: MachineConfig = MachineConfig()

    def content(self) -> dict[str, object]:
        """The sections that decide the embeddings, for the record; fingerprints stand for what lies elsewhere."""
        method = self.method.model_dump(mode="json", exclude={"run", "path", "keys"})
        sections: dict[str, object] = {"level": self.level, "method": method}
        if self.level == "cell" and self.method.kind not in ("run", "table"):
            sections["masking"] = self.masking
        if self.method.kind in ("backbone", "run"):
            sections["precision"] = self.precision
        return sections
