"""Attribution maps per second of every method by gradients: images in batches, against one image at a time.

    python benchmarks/attribution.py [--backbone tf_efficientnet_lite0] [--size 128] [--images 16] [--batch 16]
        [--rounds 3] [--classes 1] [--threads 1] [--methods grad_cam gradient ...]

Random weights and random pixels: neither changes the work, except that integrated gradients stop refining when they
are complete, so they run here with a fixed number of steps. Both sides take turns within each round.
"""

import argparse
import statistics
from collections.abc import Sequence

import torch
from torch import nn

from hpa.classification import ModelConfig, build_model
from hpa.explain.attribution import MethodConfig, attribute
from hpa.explain.gradient_config import (
    EigenCam,
    GradCam,
    GradCamPlusPlus,
    GuidedBackpropagation,
    GuidedGradCam,
    HighResolutionGuidedGradCam,
    HiResCam,
    InputTimesGradient,
    IntegratedGradients,
    LayerCam,
    PlainGradient,
    SmoothGrad,
)
from hpa.labels import HPA2021

METHODS: tuple[MethodConfig, ...] = (
    GradCam(),
    GradCamPlusPlus(),
    HiResCam(),
    EigenCam(),
    LayerCam(),
    GuidedBackpropagation(),
    GuidedGradCam(),
    HighResolutionGuidedGradCam(),
    PlainGradient(),
    InputTimesGradient(),
    SmoothGrad(),
    IntegratedGradients(steps=32, max_steps=32),
)


def main() -> None:
    """Time every method both ways and print maps per second and their ratio."""
    kinds = [method.kind for method in METHODS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0", help="timm's name")
    parser.add_argument("--size", type=int, default=128, help="side of the images, pixels")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16, help="images that the network is given at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--classes", type=int, default=1, help="classes explained per image")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--methods", nargs="*", choices=kinds, default=kinds)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    draws = torch.Generator().manual_seed(0)
    model = build_model(ModelConfig(name=arguments.backbone), 4, HPA2021, arguments.size).eval().to(arguments.device)
    shape = (arguments.images, 4, arguments.size, arguments.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=draws)
    classes = torch.arange(arguments.classes).expand(arguments.images, -1)
    print(
        f"{arguments.backbone} on {arguments.device}, {arguments.images} images of {arguments.size}², "
        f"{arguments.classes} classes of each, batches of {arguments.batch}, {arguments.rounds} rounds, "
        f"{arguments.threads} threads"
    )
    print(f"{'method':34}{'batches, maps/s':>28}{'one at a time, maps/s':>28}{'ratio':>24}")
    for method in METHODS:
        if method.kind in arguments.methods:
            _compare(model, images, classes, method, arguments.batch, arguments.rounds)


def _compare(
    model: nn.Module, images: torch.Tensor, classes: torch.Tensor, method: MethodConfig, batch: int, rounds: int
) -> None:
    attribute(model, images[:1], classes[:1], method)  # the first call of each kind is slower
    together, alone = [], []
    for _ in range(rounds):
        together.append(classes.numel() / attribute(model, images, classes, method, batch_size=batch).seconds)
        seconds = [
            attribute(model, images[row : row + 1], classes[row : row + 1], method, batch_size=1).seconds
            for row in range(len(images))
        ]
        alone.append(classes.numel() / sum(seconds))
    ratios = [a / b for a, b in zip(together, alone, strict=True)]
    print(f"{method.kind:34}{_spread(together):>28}{_spread(alone):>28}{_spread(ratios):>24}", flush=True)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
