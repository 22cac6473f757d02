"""hpacellseg's networks: U-Nets on DPN-92 that tell nuclei and cells from the borders between them."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, cast

import safetensors
import timm
import torch
from jaxtyping import Float
from pydantic import Field
from safetensors.torch import load_file
from timm.layers import ConvNormAct
from torch import nn

from hpa.config import Config
from hpa.segmentation.hpacellseg import PUBLISHED, Network, WeightFile
from hpa.training import Precision

WIDTHS = (64, 336, 704, 1552, 2688)
"""Channels after each stage of DPN-92: the stem, and four stages with their residual and dense paths joined."""

STRIDE = 32
"""Sides of the network's input are multiples of this: five halvings."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]


class DpnUnetConfig(Config):
    """Segmentation by the networks of hpacellseg, on which the competition's ground truth is based.

    Attributes:
        kind: `dpn_unet`.
        folder: of the weights; a published file in it is converted at its first use.
        nuclei: converted weights (safetensors) of the network for nuclei; None for the published name in `folder`.
        cells: the same for cells.
        variant: network for cells: `3ch` reads microtubules, endoplasmic reticulum and nuclei; `2ch` does without
            the endoplasmic reticulum.
        nuclei_only: load no network for cells.
        nuclei_sha256: SHA-256 (hex) of the published file of the nuclei's network or of the converted one.
        cells_sha256: the same for cells.
        download: download published files that are missing from Zenodo (about 560 MB each).
        scale: of the network's input; 0.25 for 0.08 µm per pixel, in proportion for others (0.5 for 0.16).
        margin: pixels by which the scaled image is continued by reflection on every side before the network sees it,
            so that cells at the edge have surroundings; a multiple of 32, which `padding=True` of hpacellseg has.
            Without it the network has a fifth less to do at 2048².
        full_size: give probability maps at the images' size, as hpacellseg does, instead of the network's resolution.
        batch_size: images of one forward pass; only images of equal size share one.
        precision: `no` (float32), `bf16` (about twice as fast on a CPU with AVX-512 BF16), or `fp16` (GPU only).
    """

    kind: Literal["dpn_unet"] = "dpn_unet"
    folder: Path = Path("weights")
    nuclei: Path | None = None
    cells: Path | None = None
    variant: Literal["3ch", "2ch"] = "3ch"
    nuclei_only: bool = False
    nuclei_sha256: Sha256 | None = None
    cells_sha256: Sha256 | None = None
    download: bool = False
    scale: Annotated[float, Field(gt=0, le=4)] = 0.25
    margin: Annotated[int, Field(ge=0, multiple_of=STRIDE)] = STRIDE
    full_size: bool = False
    batch_size: Annotated[int, Field(ge=1)] = 4
    precision: Precision = "no"

    def weight_files(self) -> list[WeightFile]:
        """Files of the networks in use: that for nuclei, then that for cells."""
        nuclei = self.nuclei or self._default("nuclei")
        files = [WeightFile("nuclei", nuclei, self.nuclei_sha256, self.download)]
        if not self.nuclei_only:
            network: Network = "cells_3ch" if self.variant == "3ch" else "cells_2ch"
            cells = self.cells or self._default(network)
            files.append(WeightFile(network, cells, self.cells_sha256, self.download))
        return files

    def _default(self, network: Network) -> Path:
        return self.folder / Path(PUBLISHED[network]).with_suffix(".safetensors")


class DpnUnet(nn.Module):
    """U-Net on DPN-92 (Chen et al. 2017, arXiv:1707.01629) with the layout and the names of hpacellseg's networks.

    Encoder: timm's DPN-92; its stem before the pooling, its stages, and its last norm, here with ReLU. Decoder: per
    step, nearest upsampling × 2, 3×3 convolution, ReLU, the encoder's output of that size beside it, 3×3 convolution,
    ReLU; then an upsampling step to full size and a 3×3 convolution to background, border and object.
    """

    def __init__(self) -> None:
        super().__init__()
        backbone = timm.create_model("dpn92", pretrained=False, num_classes=0, fc_act_layer="relu")
        layers = dict(cast(nn.Module, backbone.features).named_children())
        # Stages 2 to 5 are layers such as conv3_1; the last one's norm is conv5_bn_ac.
        stages = [[layer for name, layer in layers.items() if name.startswith(f"conv{n}_")] for n in (2, 3, 4, 5)]
        stages[0].insert(0, layers["conv1_pool"])
        stem = cast(ConvNormAct, layers["conv1_1"])
        stages.insert(0, [stem.conv, stem.bn])
        self.encoder_stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        self.bottlenecks = nn.ModuleList(_Join(width) for width in WIDTHS[-2::-1])
        self.decoder_stages = nn.ModuleList(_Upsample(wide, width) for width, wide in pairwise(WIDTHS))
        self.last_upsample = _Upsample(WIDTHS[0], WIDTHS[0])
        self.final = nn.Sequential(nn.Conv2d(WIDTHS[0], 3, 3, padding=1))

    def forward(
        self, images: Float[torch.Tensor, "batch 3 height width"]
    ) -> Float[torch.Tensor, "batch 3 height width"]:
        """Logits of background, border and object.

        Args:
            images: normalised; height and width are multiples of 32.

        Raises:
            ValueError: other sizes.
        """
        if images.shape[2] % STRIDE or images.shape[3] % STRIDE:
            raise ValueError(f"expected sides that are multiples of {STRIDE}, but got {tuple(images.shape[2:])}")
        x = images
        encoded = []
        for stage in self.encoder_stages:
            x = stage(x)
            if isinstance(x, tuple):  # older versions of timm keep the two paths apart
                x = torch.cat(x, dim=1)
            encoded.append(x)
        encoded.pop()
        for upsample, join in zip(reversed(self.decoder_stages), self.bottlenecks, strict=True):
            x = join(upsample(x), encoded.pop())
        logits: torch.Tensor = self.final(self.last_upsample(x))
        return logits


class _Upsample(nn.Module):
    def __init__(self, wide: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(wide, width, 3, padding=1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class _Join(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU())

    def forward(self, decoded: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        return self.seq(torch.cat([decoded, encoded], dim=1))  # type: ignore[no-any-return]


def load_dpn_unet(path: Path) -> nn.Module:
    """The network with converted weights, on the CPU, in eval mode; gives logits, see `DpnUnet.forward`.

    Args:
        path: what `convert_hpacellseg` wrote.

    Raises:
        ValueError: no such file, no safetensors file, or the weights of another network; says what to do.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected converted weights, but there is no such file; {_CONVERT}")
    try:
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path}: is not a readable safetensors file ({error}); {_CONVERT}") from None
    with torch.device("meta"):  # no memory or random numbers for weights that are replaced at once
        network = DpnUnet()
    network.load_state_dict(_fitting(tensors, network.state_dict(), path), assign=True)
    return network.eval()


_CONVERT = "`hpa convert-hpacellseg FILE OUT.safetensors` makes it from a published file"


def _fitting(
    found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: Path
) -> dict[str, torch.Tensor]:
    chosen, problems = dict[str, torch.Tensor](), [f"{name} is not of this network" for name in found.keys() - wanted]
    for name, ours in wanted.items():
        theirs = found.get(name)
        if theirs is None and name.endswith("num_batches_tracked"):  # written by no version of torch before 0.4
            chosen[name] = torch.zeros((), dtype=torch.int64)
        elif theirs is None:
            problems.append(f"{name} is missing")
        elif theirs.shape != ours.shape:
            problems.append(f"{name} is {tuple(theirs.shape)} instead of {tuple(ours.shape)}")
        else:
            chosen[name] = theirs.to(ours.dtype)
    if problems:
        raise ValueError(
            f"{path}: not the weights of hpacellseg's networks: {len(problems)} tensors do not fit "
            f"({'; '.join(sorted(problems)[:3])})"
        )
    return chosen
