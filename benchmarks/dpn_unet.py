"""Images per second of hpacellseg's networks as this project runs them, against the plain way.

    python benchmarks/dpn_unet.py [--size 2048] [--images 4] [--batch 4] [--rounds 3] [--precision no|bf16|fp16]
                                  [--device cpu|cuda] [--threads 0] [--weights FILE.safetensors]

Both sides take pixels of 0-255 through the networks for nuclei and for cells to probability maps, at scale 0.25 with a
margin of 32, and take turns within each round. The plain way is the original's: scikit-image's `rescale` of the whole
image for each network, one image at a time, float32 in torch's default memory layout, maps resized to full size.
One set of weights serves both networks; without --weights they are random, which costs the same.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import skimage.transform
import torch
from torch import nn

from hpa.segmentation.dpn_unet import DpnUnet, DpnUnetConfig, load_dpn_unet
from hpa.segmentation.dpn_unet_prediction import DpnUnetSegmenter


def plain(network: nn.Module, pixels: np.ndarray, channels: Sequence[int], device: torch.device) -> np.ndarray:
    """Probability maps of one network, uint8 (height, width, 3), by the steps of the original."""
    image = pixels[list(channels)].transpose(1, 2, 0) / 255
    image = skimage.transform.rescale(image, 0.25, channel_axis=2)
    rows, columns = image.shape[:2]
    image = cv2.copyMakeBorder(image, 32, 32 + -rows % 32, 32, 32 + -columns % 32, cv2.BORDER_REFLECT)
    batch = torch.tensor(image.transpose(2, 0, 1)[None]).float().to(device)
    mean = torch.tensor([124 / 255, 117 / 255, 104 / 255], device=device)
    with torch.no_grad():
        maps = network((batch - mean[:, None, None]) / (1 / (0.0167 * 255))).softmax(dim=1).cpu().numpy()[0]
    small = np.ascontiguousarray(
        (maps * 255).round().astype(np.uint8)[:, 32 : 32 + rows, 32 : 32 + columns].transpose(1, 2, 0)
    )
    return np.asarray(cv2.resize(small, pixels.shape[:0:-1], interpolation=cv2.INTER_AREA))


def main() -> None:
    """Time both sides and print images per second and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="side of the images, pixels")
    parser.add_argument("--images", type=int, default=4, help="images per round")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("no", "bf16", "fp16"), default="no")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="of torch on the CPU; 0 for its own choice")
    parser.add_argument("--weights", type=Path, help="converted weights; random ones without")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        cv2.setNumThreads(arguments.threads)
    device = torch.device(arguments.device)

    def network() -> nn.Module:
        torch.manual_seed(0)
        return load_dpn_unet(arguments.weights) if arguments.weights else DpnUnet().eval()

    draws = np.random.default_rng(0)
    images = [
        np.stack(
            [
                cv2.GaussianBlur(plane, (0, 0), 6)
                for plane in draws.integers(0, 256, (4, *[arguments.size] * 2), np.uint8)
            ]
        )
        for _ in range(arguments.images)
    ]
    ours = network()
    config = DpnUnetConfig(batch_size=arguments.batch, precision=arguments.precision)
    segmenter = DpnUnetSegmenter(ours, ours, config, device=device)
    other = network().to(device)
    by_original = {"nuclei": (2, 2, 2), "cells": (0, 3, 2)}

    def run_plain() -> list[list[np.ndarray]]:
        return [[plain(other, pixels, channels, device) for channels in by_original.values()] for pixels in images]

    difference = max(
        int(np.abs(maps.cells.astype(int) - full[1][2::4, 2::4].transpose(2, 0, 1)).max())
        for maps, full in zip(segmenter.predict(images[:1]), run_plain()[:1], strict=True)
        if maps.cells is not None
    )
    rates: dict[str, list[float]] = {"this project": [], "plain way": []}
    for turn in range(arguments.rounds + 1):  # the first round warms up
        for name, work in (("this project", lambda: segmenter.predict(images)), ("plain way", run_plain)):
            rate = len(images) / _seconds(work, device)
            if turn:
                rates[name].append(rate)
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
    print(
        f"{len(images)} images of {arguments.size}² at scale 0.25, both networks, batches of {arguments.batch}, "
        f"precision {arguments.precision}, {device.type} ({threads}), {arguments.rounds} rounds"
    )
    print(f"greatest difference of the maps: {difference} of 255")
    for name, values in rates.items():
        print(f"{name:13} {_spread(values)} images/s")
    ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
    print(f"ratio         {_spread(ratios)}")


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
