"""A trained U-Net applied to images of any size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import pydantic
import torch

from hpa.arrays import Pixels, UInt8
from hpa.artifacts import read_json, read_record
from hpa.backbones import RandomWeights
from hpa.segmentation.maps import ProbabilityMaps
from hpa.segmentation.unet import Unet, build_unet
from hpa.segmentation.unet_config import Target, UnetConfig, UnetContent
from hpa.segmentation.unet_input import pad, padded_size, prepare_pixels, scaled_size
from hpa.training import BEST, Precision, load_weights

TRAIN_SEGMENTATION = "train_segmentation"
"""The command whose runs hold a U-Net."""

CONTENT = "run.json"
"""File of a training's folder that holds its `UnetContent`; the weights are beside it, in `BEST`."""

AnyPixels: TypeAlias = UInt8[np.ndarray, "_ _ _"]
"""uint8 (channels, height, width), in a list of images of different sizes."""


def predict_unet(
    model: Unet,
    images: Sequence[AnyPixels],
    scale: float,
    batch_size: int = 4,
    precision: Precision = "no",
    full_size: bool = False,
) -> list[ProbabilityMaps]:
    """Probability maps of images of any size.

    Args:
        model: on the device to use; left in evaluation mode.
        images: with the network's channels in its order, of any sizes.
        scale: size of an image's pixel by that of the network's: 0.25 for images of 0.08 µm and a network of 0.32 µm.
        batch_size: most images of one forward pass; neighbours of equal size share one.
        precision: of the computation; `no` is float32.
        full_size: maps of the images' size instead of the network's resolution.

    Returns:
        The maps in the order of the images. Results do not depend on which images share a pass, but for rounding.

    Raises:
        ValueError: another number of channels, a scale that is not positive, or fp16 without a GPU.
    """
    if not scale > 0:
        raise ValueError(f"scale: expected a number above 0, but got {scale}")
    device = model.mean.device
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision: fp16 needs a GPU, but the network is on the CPU; use bf16 or no")
    model.eval()
    found: list[ProbabilityMaps] = []
    for group in _groups([_scaled_size(image, scale) for image in images], batch_size):
        height, width = _scaled_size(images[group[0]], scale)
        sides = padded_size(height, width)
        batch = np.stack([pad(prepare_pixels(images[index], height, width), *sides) for index in group])
        tensor = torch.from_numpy(batch).to(device, memory_format=torch.channels_last)
        dtype = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
            logits = model(tensor)[..., :height, :width]
            values = logits.float().softmax(dim=2).mul_(255).round_().to(torch.uint8).cpu().numpy()
        for index, planes in zip(group, values, strict=True):
            found.append(_as_maps(planes, model.targets, images[index], full_size))
    return found


def _scaled_size(image: Pixels, scale: float) -> tuple[int, int]:
    return scaled_size(image.shape[1], image.shape[2], scale)


def _groups(sizes: Sequence[tuple[int, int]], most: int) -> Iterator[list[int]]:
    """Indices of neighbours of equal size, at most so many together."""
    group: list[int] = []
    for index, size in enumerate(sizes):
        if group and (sizes[group[0]] != size or len(group) == most):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _as_maps(
    planes: UInt8[np.ndarray, "targets 3 map_height map_width"],
    targets: Sequence[Target],
    image: Pixels,
    full_size: bool,
) -> ProbabilityMaps:
    height, width = image.shape[1:]
    if full_size:
        planes = np.stack([_enlarge(target, height, width) for target in planes])
    by_name = dict(zip(targets, planes, strict=True))
    return ProbabilityMaps(by_name["nuclei"], by_name.get("cells"), height, width)


def _enlarge(
    planes: UInt8[np.ndarray, "3 map_height map_width"], height: int, width: int
) -> UInt8[np.ndarray, "3 height width"]:
    return np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in planes])


@dataclass(frozen=True)
class UnetSegmenter:
    """A trained U-Net with what it expects of images.

    Attributes:
        model: on the device to use.
        content: its channels, resolution and targets.
        config: how it is used.
    """

    model: Unet
    content: UnetContent
    config: UnetConfig

    def predict(self, images: Sequence[AnyPixels], channels: Sequence[str]) -> list[ProbabilityMaps]:
        """Probability maps of images.

        Args:
            images: of any sizes.
            channels: names of their channels; those that the network does not read are left out.

        Raises:
            ValueError: the images lack a channel that the network reads.
        """
        missing = [name for name in self.content.channels if name not in channels]
        if missing:
            raise ValueError(
                f"{self.config.run}: the network reads the channels {list(self.content.channels)}, but the images have "
                f"{list(channels)}; train one on the channels at hand, or use kind `watershed`"
            )
        order = [list(channels).index(name) for name in self.content.channels]
        config = self.config
        return predict_unet(
            self.model,
            [image[order] for image in images],
            config.pixel_size / self.content.pixel_size,
            config.batch_size,
            config.precision,
            config.full_size,
        )


def open_unet(config: UnetConfig, device: torch.device | str | None = None) -> UnetSegmenter:
    """Open the network of a finished training.

    Args:
        config: which, and how it is to be used.
        device: None takes a GPU where there is one.

    Raises:
        ArtifactError: no finished training there; says which command makes it.
        CheckpointError: its weights are damaged.
        ValueError: its description is damaged.
    """
    read_record(config.run, TRAIN_SEGMENTATION)
    path = config.run / CONTENT
    try:
        content = UnetContent.model_validate(read_json(path))
    except (OSError, pydantic.ValidationError) as error:
        raise ValueError(f"{path}: does not describe a U-Net ({type(error).__name__}); train again") from None
    bare = content.model.model_copy(update={"pretrained": RandomWeights()})
    model = build_unet(bare, len(content.channels), content.targets)
    load_weights(config.run / BEST, model)
    chosen = device if device is not None else "cuda" if torch.cuda.is_available() else "cpu"
    return UnetSegmenter(model.to(chosen).to(memory_format=torch.channels_last).eval(), content, config)
