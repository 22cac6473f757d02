"""Images made worse in a known way, batch by batch: what a trained network is asked to bear."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import pydantic
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from pydantic import Field

from hpa.arrays import Float, ImageTensor, Integer
from hpa.config import Config

Planes: TypeAlias = Float[torch.Tensor, "batch channels height width"]

TRUNCATE = 4.0
"""Standard deviations at which the Gaussian kernel ends, as in scipy.ndimage."""


class Blur(Config):
    """Gaussian blur, as of an image out of focus.

    Attributes:
        sigma: pixels of the images as the network reads them.
    """

    kind: Literal["blur"] = "blur"
    sigma: Annotated[float, Field(gt=0)] = 1.5


class Noise(Config):
    """Gaussian noise, independent in each pixel and channel.

    Attributes:
        sigma: as a part of the full scale.
        seed: of the noise; each image has its own, the same in every batch.
    """

    kind: Literal["noise"] = "noise"
    sigma: Annotated[float, Field(gt=0, le=1)] = 0.05
    seed: Annotated[int, Field(ge=0)] = 0


class Brightness(Config):
    """All intensities times a factor, as under another exposure; what exceeds the full scale is cut off.

    Attributes:
        factor: 1 changes nothing.
    """

    kind: Literal["brightness"] = "brightness"
    factor: Annotated[float, Field(gt=0)] = 0.6


class MissingChannel(Config):
    """One channel black, as if it had not been recorded.

    Attributes:
        channel: its name, or its number from 0.
    """

    kind: Literal["missing_channel"] = "missing_channel"
    channel: str | int


Corruption: TypeAlias = Annotated[Blur | Noise | Brightness | MissingChannel, pydantic.Field(discriminator="kind")]


def usual_corruptions(channels: Sequence[str]) -> tuple[Corruption, ...]:
    """Blur, noise, half and half again the brightness, and each channel missing where there are several."""
    missing = [MissingChannel(channel=name) for name in channels] if len(channels) > 1 else []
    return (Blur(), Noise(), Brightness(factor=0.6), Brightness(factor=1.4), *missing)


def describe(corruption: Corruption) -> str:
    """A corruption with its strength, in few words.

    >>> describe(Blur(sigma=2)), describe(MissingChannel(channel="red"))
    ('blur 2 px', 'without red')
    """
    match corruption:
        case Blur(sigma=sigma):
            return f"blur {sigma:g} px"
        case Noise(sigma=sigma):
            return f"noise {sigma:g}"
        case Brightness(factor=factor):
            return f"brightness x {factor:g}"
        case MissingChannel(channel=channel):
            return f"without {channel}" if isinstance(channel, str) else f"without channel {channel}"


def corrupt(
    images: ImageTensor, corruption: Corruption, channels: Sequence[str], indices: Integer[torch.Tensor, " batch"]
) -> ImageTensor:
    """A changed copy of a batch, rounded to uint8 again.

    Args:
        images: uint8.
        corruption: what happens to them.
        channels: names of the planes.
        indices: number of each image, which decides its noise: the same in every batch and on every device.

    Raises:
        ValueError: no such channel, as many names as planes are expected, or a blur too wide for the images.
    """
    if len(channels) != images.shape[1]:
        raise ValueError(f"expected names of {images.shape[1]} channels, but got {list(channels)}")
    match corruption:
        case Blur(sigma=sigma):
            changed = _blurred(images.float(), sigma)
        case Noise(sigma=sigma, seed=seed):
            changed = images.float() + 255 * sigma * _normal(images, indices, seed)
        case Brightness(factor=factor):
            changed = images.float() * factor
        case MissingChannel(channel=channel):
            changed = images.float()
            changed[:, _number_of(channel, channels)] = 0
    return changed.round().clamp(0, 255).to(torch.uint8)


def _blurred(planes: Planes, sigma: float) -> Planes:
    """Blurred along both axes, the border mirrored (without its last pixel)."""
    radius = int(TRUNCATE * sigma + 0.5)
    if radius >= min(planes.shape[2:]):
        raise ValueError(
            f"blur: expected a sigma whose kernel of {2 * radius + 1} pixels fits the images, but these are "
            f"{planes.shape[3]} x {planes.shape[2]}; lower sigma"
        )
    offsets = torch.arange(-radius, radius + 1, device=planes.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(planes.shape[1], 1, -1)
    count = planes.shape[1]
    padded = F.pad(planes, (radius,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel[:, :, None, :], groups=count)
    return F.conv2d(rows, kernel[:, :, :, None], groups=count)


def _normal(images: ImageTensor, indices: Integer[torch.Tensor, " batch"], seed: int) -> Planes:
    """Standard normal numbers, drawn on the CPU by one generator per image."""
    # 2**32 + 15 is prime: no two (seed, index) pairs that occur share a state.
    states = [(seed * (2**32 + 15) + index) % 2**63 for index in indices.tolist()]
    draws = [
        torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(state)).to(images.device)
        for state in states
    ]
    return torch.stack(draws)


def _number_of(channel: str | int, channels: Sequence[str]) -> int:
    if isinstance(channel, int):
        if 0 <= channel < len(channels):
            return channel
    elif channel in channels:
        return list(channels).index(channel)
    raise ValueError(f"missing_channel: expected one of {', '.join(channels)} or a number, but got {channel!r}")
