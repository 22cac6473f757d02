"""What turns items into embeddings: networks of several kinds, and visual words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import default_collate

from hpa.anomaly.nearest_approximate import sampled
from hpa.anomaly.sift_words import Descriptors, SiftWords, SiftWordsConfig, describe_key_points
from hpa.arrays import EmbeddingArray, Int64
from hpa.classification import ImageClassifier, build_model, predict_batch
from hpa.classification.cell_dataset import CellDataset
from hpa.parallel import map_images
from hpa.segmentation import Unet, UnetConfig, open_unet, prepare_pixels
from hpa.segmentation.unet_input import pad, padded_size
from hpa.stages.anomalies.embed_config import BackboneMethod, EmbedConfig, SiftMethod, UnetMethod
from hpa.stages.anomalies.embedded_items import Items, PlaneReader
from hpa.training import Batch, Sample, infer

Embedder: TypeAlias = Callable[[Int64[np.ndarray, " rows"]], EmbeddingArray]
"""From numbers of items to float32 (rows, features), called on every process alike."""

PROTEIN = "green"
TOGETHER = 32
"""Items whose key points one job describes."""


@dataclass(frozen=True)
class Network:
    """A network with the samples that it reads.

    Attributes:
        model: on the accelerator's device.
        outputs: `embeddings` of a batch.
        sample: one sample from (number of the item, epoch).
        collate: puts samples together.
        config: batch size and workers.
        accelerator: the processes.
    """

    model: nn.Module
    outputs: Callable[[nn.Module, Batch], Mapping[str, torch.Tensor]]
    sample: Callable[[int, int], Sample]
    collate: Callable[[list[Sample]], Batch]
    config: EmbedConfig
    accelerator: Accelerator

    def __call__(self, rows: Int64[np.ndarray, " rows"]) -> EmbeddingArray:
        """Embeddings of items."""
        found: EmbeddingArray = infer(
            self.model,
            self.outputs,
            self.sample,
            rows,
            self.accelerator,
            self.config.batch_size,
            self.collate,
            self.config.machine,
            "embedding",
        )["embeddings"]
        return found


def pooled_features(
    model: ImageClassifier,
    items: Items,
    size: int | None,
    views: int,
    config: EmbedConfig,
    accelerator: Accelerator,
) -> Network:
    """What a classifier's head would read, averaged over dihedral views."""

    def outputs(network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        assert isinstance(network, ImageClassifier)
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        return {"embeddings": predict_batch(network, images, views)["embeddings"]}

    samples = items.samples(size)
    model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(samples, CellDataset):  # cells that follow one another are read at once
        return Network(model, outputs, samples.key, samples.collate, config, accelerator)
    return Network(model, outputs, samples.sample, default_collate, config, accelerator)


def open_backbone(method: BackboneMethod, items: Items, config: EmbedConfig, accelerator: Accelerator) -> Network:
    """A backbone with its first weights.

    Raises as `build_model` does.
    """
    torch.manual_seed(0)  # where the weights are random
    model = build_model(method.model, items.planes, items.classes, method.size or items.size).eval()
    return pooled_features(model, items, method.size, method.views, config, accelerator)


class UnetEncoder(nn.Module):
    """The encoder of a U-Net, its coarsest features averaged over the image."""

    def __init__(self, unet: Unet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, features) of uint8 images that were prepared as the network expects."""
        mean, std = self.unet.mean[:, None, None], self.unet.std[:, None, None]
        features: Sequence[torch.Tensor] = self.unet.network.encoder((images - mean) / std)  # type: ignore[operator]
        return features[-1].mean(dim=(2, 3))


@dataclass(frozen=True)
class _Prepared:
    """Gives items as a U-Net was trained to see them; picklable for worker processes."""

    read: PlaneReader
    size: int

    def __call__(self, index: int, epoch: int) -> Sample:
        pixels = prepare_pixels(self.read(index), self.size, self.size)
        return {"images": pad(pixels, *padded_size(self.size, self.size))}


def open_unet_encoder(method: UnetMethod, items: Items, config: EmbedConfig, accelerator: Accelerator) -> Network:
    """The encoder of a trained U-Net.

    Raises as `open_unet` does, and a ValueError where the items lack a channel that it reads.
    """
    opened = open_unet(UnetConfig(run=method.run), accelerator.device)
    try:
        read = items.reader(opened.content.channels)
    except ValueError as error:
        raise ValueError(f"{method.run}: the network reads {', '.join(opened.content.channels)}: {error}") from None
    sample = _Prepared(read, method.size or items.size)
    model = UnetEncoder(opened.model).eval()
    return Network(model, _unet_outputs, sample, default_collate, config, accelerator)


def _unet_outputs(network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    return {"embeddings": network(batch["images"].contiguous(memory_format=torch.channels_last))}


@dataclass(frozen=True)
class _Describe:
    """Describes the key points of items that follow one another; picklable for worker processes."""

    read: PlaneReader
    config: SiftWordsConfig

    def __call__(self, rows: tuple[int, ...]) -> list[list[Descriptors]]:
        cv2.setNumThreads(1)  # the processes share the cores already
        return [describe_key_points(self.read(row), self.config) for row in rows]


def open_words(method: SiftMethod, items: Items, folder: Path, executor: Executor | None) -> Embedder:
    """Visual words, learned from a sample of the items; kept in `words.npz` of the folder and read from there again.

    Raises:
        ValueError: no such channel, or no key points.
    """
    usual = (PROTEIN,) if PROTEIN in items.channels else items.channels
    describe = _Describe(items.reader(method.channels or usual), method)
    path = folder / "words.npz"
    if path.is_file():
        words = SiftWords.load(path, method)
    else:
        chosen = sampled(len(items), method.sample, method.seed)
        words = SiftWords(method).fit(list(_described(describe, chosen, executor, "learning visual words")))
        words.save(path)

    def embed(rows: Int64[np.ndarray, " rows"]) -> EmbeddingArray:
        return words.transform(list(_described(describe, rows, executor, "counting visual words")))

    return embed


def _described(
    describe: _Describe, rows: Int64[np.ndarray, " rows"], executor: Executor | None, label: str
) -> Iterator[list[Descriptors]]:
    """Descriptors of items, in the order of the rows."""
    jobs = [tuple(rows[start : start + TOGETHER].tolist()) for start in range(0, len(rows), TOGETHER)]
    found = dict(map_images(describe, jobs, executor, label))
    for job in jobs:
        yield from found[job]
