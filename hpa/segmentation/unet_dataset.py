"""Training samples of the U-Net: images at the network's resolution with the class of every pixel."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from torch.utils.data import default_collate

from hpa.arrays import LabelMap, Pixels, Plane, UInt8, UInt16
from hpa.segmentation.maps import BACKGROUND, BORDER, OBJECT
from hpa.segmentation.unet_augmentation import cut_numbers, cut_pixels, draw_matrix, vary
from hpa.segmentation.unet_config import TARGETS, Target, UnetSamplesConfig
from hpa.segmentation.unet_input import pad, padded_size, prepare_pixels, scaled_size

IGNORED = 255
"""Class of a pixel about which nothing is known; the loss and the measures leave it out."""

SAMPLE_STREAM = 3
"""Keeps the samples' random numbers apart from those of other parts with the same seed, epoch and index."""


class Pair(NamedTuple):
    """An image with its true instances.

    Attributes:
        pixels: uint8 (channels, height, width).
        cells: label map of the same size; None where it is not known.
        nuclei: the same for nuclei; their numbers need not be those of the cells.
    """

    pixels: Pixels
    cells: LabelMap | None
    nuclei: LabelMap | None


@runtime_checkable
class Pairs(Protocol):
    """Images with their true instances, read one at a time; picklable where worker processes read them."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""

    @property
    def pixel_size(self) -> float:
        """Side of a pixel, µm."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is known of at least some of the images."""

    def __len__(self) -> int:
        """Number of images."""

    def read(self, index: int) -> Pair:
        """One image, counted from 0; the same whenever it is read."""


def prepare_pair(pairs: Pairs, index: int, config: UnetSamplesConfig) -> Pair:
    """One image of a source as the network wants it, with its label maps at that resolution.

    Raises:
        ValueError: the image lacks a channel, or a label map has another size.
    """
    missing = [name for name in config.channels if name not in pairs.channels]
    if missing:
        raise ValueError(
            f"channels: expected names out of the images' channels {list(pairs.channels)}, but got {missing}; set "
            "`channels` to those that the network is to read"
        )
    pixels, cells, nuclei = pairs.read(index)
    for name, label_map in (("cells", cells), ("nuclei", nuclei)):
        if label_map is not None and label_map.shape != pixels.shape[1:]:
            raise ValueError(
                f"image {index}: expected a label map of {name} of the image's height and width "
                f"{pixels.shape[1:]}, but got {label_map.shape}"
            )
    height, width = scaled_size(pixels.shape[1], pixels.shape[2], pairs.pixel_size / config.pixel_size)
    chosen = pixels[[pairs.channels.index(name) for name in config.channels]]
    return Pair(
        prepare_pixels(chosen, height, width),
        _resize_label_map(cells, height, width),
        _resize_label_map(nuclei, height, width),
    )


class PreparedPairs:
    """A source whose images are brought to the network's resolution whenever they are read."""

    def __init__(self, pairs: Pairs, config: UnetSamplesConfig) -> None:
        self._pairs, self._config = pairs, config
        self.channels, self.pixel_size, self.targets = config.channels, config.pixel_size, pairs.targets

    def __len__(self) -> int:
        return len(self._pairs)

    def read(self, index: int) -> Pair:
        """One image at the network's resolution."""
        return prepare_pair(self._pairs, index, self._config)


def targets_from_label_map(label_map: LabelMap, border: float) -> Plane:
    """The class of every pixel: BACKGROUND, BORDER or OBJECT.

    BORDER is the band between objects that touch or nearly do: pixels, of the objects and of the gap between them, that
    have two objects within half its width. All other pixels of objects are OBJECT.

    Args:
        label_map: instances, 0 = background.
        border: width of the band, pixels; of touching objects at least one pixel on either side.

    >>> targets_from_label_map(np.array([[0, 1, 1, 2, 2]], np.uint16), 2.0).tolist()
    [[0, 2, 1, 1, 2]]
    """
    reach = max(1.0, border / 2)
    span = np.arange(-int(reach), int(reach) + 1)
    disk = (span[:, None] ** 2 + span**2 <= reach**2).astype(np.uint8)
    # Background must win neither the maximum nor the minimum; a window without objects has a maximum of 0.
    greatest = cv2.dilate(label_map, disk)
    least = cv2.erode(np.where(label_map == 0, np.uint16(65535), label_map), disk)
    result = np.where(label_map > 0, np.uint8(OBJECT), np.uint8(BACKGROUND))
    result[(greatest > 0) & (greatest != least)] = BORDER
    return result


class SegmentationDataset:
    """Images at the network's resolution; a sample is a pure function of (seed, epoch, index).

    Args:
        pairs: at the network's resolution: `PreparedPairs`, or `StoredPairs` where reading takes long.
        config: size of samples, width of borders, augmentation.
        targets: what the network segments, in the order of its outputs.
        seed: of the samples.

    Raises:
        ValueError: no images, or images that are not prepared as the configuration says.
    """

    def __init__(
        self, pairs: Pairs, config: UnetSamplesConfig, targets: Sequence[Target] = TARGETS, seed: int = 0
    ) -> None:
        if len(pairs) == 0:
            raise ValueError("expected at least one image with label maps, but got none")
        if pairs.channels != config.channels or not np.isclose(pairs.pixel_size, config.pixel_size):
            raise ValueError(
                f"expected images prepared for the channels {list(config.channels)} at {config.pixel_size:g} µm, but "
                f"got {list(pairs.channels)} at {pairs.pixel_size:g} µm; wrap them in PreparedPairs"
            )
        self.pairs, self.config, self.targets, self.seed = pairs, config, tuple(targets), seed

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, index: int, epoch: int) -> dict[str, Any]:
        """A varied part of an image.

        Args:
            index: of the image; index + k * len(self) is another part of the same image.
            epoch: counted from 0.

        Returns:
            `images` uint8 (channels, size, size); `targets` uint8 (targets, size, size), classes of pixels or IGNORED.
        """
        size, settings = self.config.size, self.config.augmentation
        generator = np.random.default_rng([self.seed, epoch, int(index), SAMPLE_STREAM])
        pair = self.pairs.read(int(index) % len(self))
        height, width = pair.pixels.shape[1:]
        matrix = draw_matrix(height, width, size, settings, generator)
        # Mirrored objects beyond the image's edge would touch themselves: nothing is learned from there.
        inside = cut_numbers(np.ones((height, width), np.uint8), matrix, size)
        known = [None if found is None else cut_numbers(found, matrix, size) for found in self._known(pair)]
        classes = self._classes(known, (size, size))
        classes[:, inside == 0] = IGNORED
        return {"images": vary(cut_pixels(pair.pixels, matrix, size), settings, generator), "targets": classes}

    def whole(self, index: int, epoch: int = 0) -> dict[str, Any]:
        """A whole image as it is, for validation.

        Returns:
            `images` and `targets` as in `sample`, of the image's own size; `instances` int64 (targets, height, width),
            all 0 where nothing is known.
        """
        pair = self.pairs.read(int(index))
        known, shape = self._known(pair), pair.pixels.shape[1:]
        instances = [np.zeros(shape, np.int64) if found is None else found.astype(np.int64) for found in known]
        return {
            "images": np.array(pair.pixels),
            "targets": self._classes(known, shape),
            "instances": np.stack(instances),
        }

    def _known(self, pair: Pair) -> list[LabelMap | None]:
        return [pair.nuclei if target == "nuclei" else pair.cells for target in self.targets]

    def _classes(
        self, label_maps: Sequence[LabelMap | None], shape: tuple[int, ...]
    ) -> UInt8[np.ndarray, "targets height width"]:
        border = self.config.border / self.config.pixel_size
        unknown = np.full(shape, IGNORED, np.uint8)
        return np.stack([unknown if found is None else targets_from_label_map(found, border) for found in label_maps])


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack samples of any sizes, brought to the next one that the network takes: images mirrored, targets IGNORED."""
    sizes = np.array([sample["images"].shape[1:] for sample in samples])
    height, width = padded_size(*sizes.max(axis=0).tolist())
    filled = []
    for sample in samples:
        edges = ((0, 0), (0, height - sample["images"].shape[1]), (0, width - sample["images"].shape[2]))
        whole = {"images": pad(sample["images"], height, width)}
        for name, value in (("targets", IGNORED), ("instances", 0)):
            if name in sample:
                whole[name] = np.pad(sample[name], edges, constant_values=value)
        filled.append(whole)
    batch: dict[str, torch.Tensor] = default_collate(filled)
    return batch


def _resize_label_map(
    label_map: LabelMap | None, height: int, width: int
) -> UInt16[np.ndarray, "new_height new_width"] | None:
    if label_map is None:
        return None
    resized: np.ndarray = cv2.resize(label_map, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized
