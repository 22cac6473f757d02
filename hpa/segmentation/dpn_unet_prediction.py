"""From images to probability maps by hpacellseg's networks: scaling, reflection at the edges, batches, precision."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from hpa.arrays import Pixels
from hpa.images import CHANNELS
from hpa.segmentation.dpn_unet import STRIDE, DpnUnetConfig, load_dpn_unet
from hpa.segmentation.hpacellseg import obtain_weights
from hpa.segmentation.maps import ProbabilityMaps

MEAN = (124.0, 117.0, 104.0)
FACTOR = 0.0167
"""Pixels p of 0-255 become (p - MEAN) × FACTOR: DPN's own normalisation, which hpacellseg uses on [0, 1]."""

_ZERO = "zero"
_CELLS_INPUT = {"3ch": ("red", "yellow", "blue"), "2ch": ("red", _ZERO, "blue")}


class DpnUnetSegmenter:
    """Probability maps of nuclei and cells in images of any size.

    Args:
        nuclei: network for nuclei: normalised images (b, 3, h, w) to logits of the three planes.
        cells: network for cells; None where only nuclei are wanted.
        config: how the networks are used.
        channels: names of the images' channels.
        device: where the networks run; None takes a GPU if there is one.

    Raises:
        ValueError: a channel that a network needs is missing, or fp16 without a GPU.
    """

    def __init__(
        self,
        nuclei: nn.Module,
        cells: nn.Module | None,
        config: DpnUnetConfig,
        channels: Sequence[str] = CHANNELS,
        device: torch.device | str | None = None,
    ) -> None:
        self.config = config
        self.channels = tuple(channels)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if config.precision == "fp16" and self.device.type == "cpu":
            raise ValueError("precision: fp16 needs a GPU, but the networks run on the CPU; use bf16 or no")
        self._cells_input = _CELLS_INPUT[config.variant]
        needed = {"blue", *(self._cells_input if cells is not None else ())} - {_ZERO}
        if missing := sorted(needed - set(channels)):
            raise ValueError(
                f"expected images with the channels {sorted(needed)}, but {missing} are missing from {list(channels)}; "
                "use variant=2ch (no yellow), nuclei_only=true (blue alone), or kind=watershed"
            )
        self._nuclei = _placed(nuclei, self.device)
        self._cells = None if cells is None else _placed(cells, self.device)

    @classmethod
    def load(
        cls, config: DpnUnetConfig, channels: Sequence[str] = CHANNELS, device: torch.device | str | None = None
    ) -> "DpnUnetSegmenter":
        """The segmenter with the weights that the configuration names, converted or downloaded where it says so.

        Raises:
            ValueError: weights are missing or others than expected; channels do not fit.
        """
        files = config.weight_files()
        obtain_weights(files)
        nuclei, *cells = (load_dpn_unet(file.path) for file in files)
        return cls(nuclei, cells[0] if cells else None, config, channels, device)

    def predict(self, images: Sequence[UInt8[np.ndarray, "_ _ _"]]) -> list[ProbabilityMaps]:
        """Probability maps, in the order of the images.

        Args:
            images: uint8 (channels, height, width) of any sizes.

        Raises:
            ValueError: an image has another number of channels.
        """
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, pixels in enumerate(images):
            if len(pixels) != len(self.channels):
                raise ValueError(
                    f"expected images with {list(self.channels)}, but image {index} has {len(pixels)} planes"
                )
            by_size.setdefault(pixels.shape, []).append(index)
        found: dict[int, ProbabilityMaps] = {}
        for indices in by_size.values():
            for start in range(0, len(indices), self.config.batch_size):
                batch = indices[start : start + self.config.batch_size]
                found |= dict(zip(batch, self._predict_batch([images[index] for index in batch]), strict=True))
        return [found[index] for index in range(len(images))]

    def _predict_batch(self, images: Sequence[Pixels]) -> list[ProbabilityMaps]:
        scaled = [self._scale(pixels) for pixels in images]
        height, width = images[0].shape[1:]
        nuclei = self._run(self._nuclei, scaled, ("blue",) * 3, height, width)
        cells = self._run(self._cells, scaled, self._cells_input, height, width) if self._cells is not None else None
        return [
            ProbabilityMaps(nuclei[index], None if cells is None else cells[index], height, width)
            for index in range(len(images))
        ]

    def _scale(self, pixels: Pixels) -> dict[str, Float32[np.ndarray, "padded_height padded_width"]]:
        """The channels that the networks read, by name: scaled, then continued to whole cells of the network's grid."""
        used = {"blue", *(self._cells_input if self._cells is not None else ())} - {_ZERO}
        planes = {name: rescale(pixels[self.channels.index(name)], self.config.scale) for name in sorted(used)}
        margin = self.config.margin
        ends = [margin + -length % STRIDE for length in planes["blue"].shape]
        return {
            name: np.pad(plane, [(margin, end) for end in ends], mode="symmetric") for name, plane in planes.items()
        }

    def _run(
        self,
        network: nn.Module,
        scaled: Sequence[dict[str, np.ndarray]],
        channels: tuple[str, ...],
        height: int,
        width: int,
    ) -> list[UInt8[np.ndarray, "3 map_height map_width"]]:
        zero = np.zeros_like(scaled[0]["blue"])
        stacked = np.stack([[planes.get(name, zero) for name in channels] for planes in scaled])
        images = torch.from_numpy(stacked).to(self.device).contiguous(memory_format=torch.channels_last)
        images = (images - images.new_tensor(MEAN)[:, None, None]) * FACTOR
        half = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.config.precision]
        with torch.inference_mode(), torch.autocast(self.device.type, half, enabled=half is not None):
            logits = network(images)
        margin = self.config.margin
        rows, columns = (scaled_length(length, self.config.scale) for length in (height, width))
        logits = logits[:, :, margin : margin + rows, margin : margin + columns].float()
        maps = (logits.softmax(dim=1) * 255).round().to(torch.uint8).cpu().contiguous().numpy()
        return [_enlarge(item, height, width) if self.config.full_size else item for item in maps]


def _placed(network: nn.Module, device: torch.device) -> nn.Module:
    # In float32 on the CPU, too, channels last is faster: 1.3 times with AVX-512.
    return network.to(device).to(memory_format=torch.channels_last).eval()


def scaled_length(length: int, scale: float) -> int:
    """Side of the network's view of an image, pixels.

    >>> scaled_length(2048, 0.25), scaled_length(1, 0.25)
    (512, 1)
    """
    return max(1, round(length * scale))


def rescale(plane: UInt8[np.ndarray, "height width"], scale: float) -> Float32[np.ndarray, "new_height new_width"]:
    """A channel at another scale, as scikit-image's `rescale` makes it, which hpacellseg uses.

    Where the plane shrinks, a Gaussian of sigma (factor - 1) / 2 comes before the linear interpolation.

    Returns:
        float32, values 0-255.
    """
    result: np.ndarray = plane.astype(np.float32)
    height, width = (scaled_length(length, scale) for length in plane.shape)
    if (height, width) == plane.shape:
        return result
    # scikit-image cuts the Gaussian off at four sigmas.
    sigmas = [max(0.0, (old / new - 1) / 2) for old, new in zip(plane.shape, (height, width), strict=True)]
    rows, columns = (2 * int(4 * sigma + 0.5) + 1 for sigma in sigmas)
    if max(rows, columns) > 1:
        result = cv2.GaussianBlur(
            result, (columns, rows), sigmaX=sigmas[1], sigmaY=sigmas[0], borderType=cv2.BORDER_REFLECT_101
        )
    return np.asarray(cv2.resize(result, (width, height), interpolation=cv2.INTER_LINEAR))


def _enlarge(
    maps: UInt8[np.ndarray, "3 map_height map_width"], height: int, width: int
) -> UInt8[np.ndarray, "3 height width"]:
    # INTER_AREA is hpacellseg's choice.
    interleaved = cv2.resize(
        np.ascontiguousarray(maps.transpose(1, 2, 0)), (width, height), interpolation=cv2.INTER_AREA
    )
    return np.ascontiguousarray(interleaved.transpose(2, 0, 1))
