"""Images as every stage sees them: uint8 (channels, height, width), whatever the files hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np
import pydantic

from hpa.arrays import Composite, LabelMap, Pixels, Plane, ResizedPixels
from hpa.artifacts import atomic_write
from hpa.config import Config
from hpa.decoding import MAX_SIDE, Decoded, ImageError, decode_file
from hpa.npz import MEMBER, read_member

__all__ = [
    "CHANNELS",
    "GREY",
    "MAX_SIDE",
    "RGB",
    "BitDepth",
    "ClaheConfig",
    "Fit",
    "ImageError",
    "composite",
    "equalize",
    "load_image",
    "read_image",
    "resize",
    "write_png",
]

CHANNELS = ("red", "green", "blue", "yellow")
"""Order of the channels of every HPA image: microtubules, protein of interest, nucleus, endoplasmic reticulum."""

RGB = ("red", "green", "blue")
GREY = ("grey",)

BitDepth: TypeAlias = Literal["auto", 8, 12, 16]
Fit: TypeAlias = Literal["stretch", "pad", "crop"]

# Where a colour picture that shows a single signal holds it: the atlas's JPEGs are such pictures.
_SIGNAL = {"red": (0,), "green": (1,), "blue": (2,), "yellow": (0, 1)}


def read_image(paths: Sequence[str | Path], channels: Sequence[str], bit_depth: BitDepth = "auto") -> Pixels:
    """Read one image.

    Args:
        paths: one file per channel, or one file for all; `FILE.npz::ARRAY/ROW` is one image of an npz array.
        channels: names of the channels wanted, in order. Of a colour picture given as one channel's file, `red`,
            `green`, `blue` take their plane, `yellow` the mean of red and green, any other name the luminance. From
            one file, a single channel is the luminance; three channels of a grey file are the same plane three times;
            a fourth plane is dropped where three channels are wanted.
        bit_depth: bits of the values in 16-bit files, which are scaled to 8. `auto`: 8 where no channel of the image
            holds a value above 255, else 16.

    Returns:
        uint8 (channels, height, width).

    Raises:
        ImageError: a file is missing, damaged, no image, too large, or has other channels; channels differ in size.
    """
    return load_image(paths, channels, bit_depth)[0]


def load_image(
    paths: Sequence[str | Path], channels: Sequence[str], bit_depth: BitDepth = "auto"
) -> tuple[Pixels, int]:
    """Read one image as `read_image` does, with the bits of the values that were found (8, 12 or 16)."""
    if len(paths) not in (1, len(channels)):
        raise ValueError(f"expected one path, or one for each of {list(channels)}, but got {len(paths)}")
    if len(paths) == 1 and len(channels) > 1:
        planes = _split(_decode(paths[0]), channels, str(paths[0]))
    else:
        planes = [_single(_decode(path), channel) for path, channel in zip(paths, channels, strict=True)]
    sizes = [plane.shape for plane in planes]
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{name} {width} x {height}" for name, (height, width) in zip(channels, sizes, strict=True))
        raise ImageError("size_mismatch", f"expected channels of one size, but got {listed}")
    return _to_uint8(planes, bit_depth)


def composite(pixels: Pixels, channels: Sequence[str]) -> Composite:
    """A colour picture of an image: red, green and blue as they are, yellow added to red and green.

    Args:
        pixels: uint8 (channels, height, width).
        channels: their names; any other name than the four is added to all colours, so that grey stays grey.

    Returns:
        uint8 (height, width, 3) in the order red, green, blue; sums above 255 stay at 255.
    """
    if len(pixels) != len(channels):
        raise ValueError(f"expected pixels of the channels {list(channels)}, but got {len(pixels)} planes")
    height, width = pixels.shape[1:]
    total = np.zeros((height, width, 3), np.uint16)
    for plane, name in zip(pixels, channels, strict=True):
        for colour in _SIGNAL.get(name, (0, 1, 2)):
            total[:, :, colour] += plane
    return np.minimum(total, 255).astype(np.uint8)


def resize(pixels: Pixels, size: int, fit: Fit = "stretch") -> ResizedPixels:
    """Bring an image to a square.

    Args:
        pixels: uint8 (channels, height, width).
        size: side of the result, in pixels.
        fit: `stretch` changes the aspect; `pad` keeps it and fills with 0 around the middle; `crop` keeps it and
            takes the middle.

    Returns:
        uint8 (channels, size, size). Sides that shrink are averaged over their area, those that grow interpolated.
    """
    if size < 1:
        raise ValueError(f"expected a size of at least 1 pixel, but got {size}")
    height, width = pixels.shape[1:]
    match fit:
        case "stretch":
            return _scale(pixels, size, size)
        case "pad":
            longer = max(height, width)
            scaled = _scale(pixels, max(1, round(height * size / longer)), max(1, round(width * size / longer)))
            result = np.zeros((len(pixels), size, size), np.uint8)
            top, left = (size - scaled.shape[1]) // 2, (size - scaled.shape[2]) // 2
            result[:, top : top + scaled.shape[1], left : left + scaled.shape[2]] = scaled
            return result
        case "crop":
            shorter = min(height, width)
            top, left = (height - shorter) // 2, (width - shorter) // 2
            return _scale(pixels[:, top : top + shorter, left : left + shorter], size, size)


class ClaheConfig(Config):
    """Contrast-limited adaptive histogram equalisation: faint and bright regions of a plane get a like contrast.

    Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV (1994); OpenCV's implementation.

    Attributes:
        clip: most pixels of one grey level, as a multiple of the mean over the levels of a tile; what is above is
            spread over all levels. The higher, the more contrast and the more noise.
        tiles: along either side; each has its own curve, and pixels between tiles a mixture.
    """

    clip: float = pydantic.Field(default=2.0, gt=0, le=256)
    tiles: int = pydantic.Field(default=8, ge=1, le=64)


def equalize(pixels: Pixels, config: ClaheConfig) -> Pixels:
    """Every plane by itself, so that channels no longer tell by their brightness how they relate; see `ClaheConfig`.

    >>> faint = np.tile(np.arange(64, dtype=np.uint8) // 4, (1, 64, 1))
    >>> int(np.ptp(faint)), int(np.ptp(equalize(faint, ClaheConfig(clip=40, tiles=1)))) > 100
    (15, True)
    """
    chain = cv2.createCLAHE(config.clip, (config.tiles, config.tiles))
    result = np.empty_like(pixels)
    for plane, target in zip(pixels, result, strict=True):
        target[...] = chain.apply(np.ascontiguousarray(plane))
    return result


def write_png(path: Path, plane: Plane | LabelMap) -> None:
    """Write one plane as a PNG of its own bit depth, atomically; the folder is made where it is missing."""
    # Level 1 takes a third of level 6's time for an eighth more bytes.
    fine, data = cv2.imencode(".png", plane, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert fine, path
    with atomic_write(path, "wb") as stream:
        stream.write(data.tobytes())


def _decode(path: str | Path) -> Decoded:
    return read_member(str(path)) if MEMBER in str(path) else decode_file(Path(path))


def _single(image: Decoded, channel: str) -> np.ndarray:
    """The plane of one channel in a file that holds nothing else."""
    if image.shape[2] == 1:
        return image[:, :, 0]
    if image.shape[2] not in (3, 4):
        raise ImageError("channel_count", f"expected grey or colour for {channel!r}, but got {image.shape[2]} planes")
    if channel not in _SIGNAL:
        grey: np.ndarray = cv2.cvtColor(np.ascontiguousarray(image[:, :, :3]), cv2.COLOR_RGB2GRAY)
        return grey
    if channel != "yellow":
        return image[:, :, _SIGNAL[channel][0]]
    pair = image[:, :, :2].astype(np.uint32)
    return ((pair[:, :, 0] + pair[:, :, 1] + 1) // 2).astype(image.dtype)


def _split(image: Decoded, channels: Sequence[str], path: str) -> list[np.ndarray]:
    """The planes of a file that holds all channels."""
    planes = image.shape[2]
    if planes == 1 and len(channels) == 3:
        return [image[:, :, 0]] * 3
    if planes == len(channels) or (planes == 4 and len(channels) == 3):
        return [image[:, :, index] for index in range(len(channels))]
    raise ImageError("channel_count", f"{path}: expected the channels {list(channels)}, but it has {planes} planes")


def _to_uint8(planes: Sequence[np.ndarray], bit_depth: BitDepth) -> tuple[Pixels, int]:
    """Bring planes of uint8 or uint16 to uint8; one depth per image, so that channels stay in scale."""
    wide = [plane for plane in planes if plane.dtype == np.uint16]
    highest = max((int(plane.max()) for plane in wide), default=0)
    bits = (16 if highest > 255 else 8) if bit_depth == "auto" else bit_depth
    if highest >= 1 << bits:
        raise ImageError("pixel_type", f"expected values of {bits} bits, but got {highest}")
    pixels = np.empty((len(planes), *planes[0].shape), np.uint8)
    for index, plane in enumerate(planes):
        # Dropping the low bits is the inverse of both usual ways from 8 to 16 bits: times 256 and times 257.
        pixels[index] = plane >> (bits - 8) if plane.dtype == np.uint16 else plane
    return pixels, bits if wide else 8


def _scale(pixels: Pixels, height: int, width: int) -> ResizedPixels:
    """Resize every plane: area averages along the sides that shrink, then linear along those that grow."""
    result = np.empty((len(pixels), height, width), np.uint8)
    for index, plane in enumerate(pixels):
        small = (min(width, plane.shape[1]), min(height, plane.shape[0]))
        plane = np.ascontiguousarray(plane)
        if small != plane.shape[::-1]:
            plane = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
        if small != (width, height):
            plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        result[index] = plane
    return result
