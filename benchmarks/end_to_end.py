"""From PNGs to a scored submission: real images through the real commands, and seconds per image of the whole path.

    python benchmarks/end_to_end.py --run runs/demo [--sizes 1728 2048 3072] [--images 1776] [--unet RUN] [--keep DIR]

First part: the two images of `hpa2021` (where the real samples are) go through segment_cells, predict with a trained
image-level run, build_submission (every cell gets its image's probabilities), check_submission and score_submission,
against a truth made of their masks and labels. Two images say nothing about quality: this shows that the path works.

Second part: the same images, brought to each size, go through `time_budget`: seconds per image of segmentation (with
the watershed and, with random weights, with hpacellseg's networks), shrinking, one forward pass, and writing the row,
projected to the number of images and the run's networks and views. All cores are busy.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import torch
from safetensors.torch import save_file

from hpa import cli
from hpa.images import CHANNELS, read_image
from hpa.segmentation.dpn_unet import DpnUnet

DEFAULT = Path(__file__).parents[2] / "shared" / "data"


def main() -> None:
    """Run both parts and print what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished image-level run of 19 classes, 4 channels")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1728, 2048, 3072], help="sides of the second part")
    parser.add_argument("--images", type=int, default=1776, help="of the projection")
    parser.add_argument("--unet", type=Path, help="a finished train_segmentation, measured too")
    parser.add_argument("--keep", type=Path, help="folder that keeps everything; a temporary one without")
    arguments = parser.parse_args()
    source = Path(os.environ.get("HPA_SAMPLE_DATA", DEFAULT)) / "hpa2021"
    if not source.is_dir():
        raise SystemExit(
            f"expected the real samples at {source}, but there are none; HPA_SAMPLE_DATA names their folder"
        )
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.keep or Path(temporary)
        submit(source, arguments.run.resolve(), work)
        for size in arguments.sizes:
            _resize(source / "train", work / "sizes", size)
        if arguments.sizes:
            measure(arguments, work)


def submit(source: Path, run: Path, work: Path) -> None:
    """The whole path on the real images, scored against a truth of their masks and labels."""
    data = [
        *(f"data.out={work}/data", "data.source.kind=kaggle2021", f"data.source.folder={source}/train"),
        f"data.source.csv={source}/train.csv",
    ]
    # Only the two images are there; the other rows of train.csv are listed as problems.
    hpa("segment_cells", *data, f"out={work}/cells")
    hpa("predict", *data, f"runs=[{run}]", f"out={work}/probabilities")
    truth = work / "truth.csv"
    hpa("write_truth", f"label_maps={source}/masks", f"labels={work}/data/index/labels.parquet", f"out={truth}")
    hpa(
        "build_submission",
        *(f"cells={work}/cells", f"probabilities={work}/probabilities", f"folder={work}/submissions", "name=real"),
        f"truth={truth}",
    )
    submission = work / "submissions" / "real" / "submission.csv"
    hpa("check_submission", str(submission))
    hpa("score_submission", "--truth", str(truth), "--prediction", str(submission))


def measure(arguments: argparse.Namespace, work: Path) -> None:
    """Seconds per image by size, for every segmenter, and the projection."""
    weights = work / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for name in ("nuclei", "cells"):
        save_file(DpnUnet().state_dict(), weights / f"{name}.safetensors")
    segmenters: dict[str, list[str]] = {
        "watershed": ["cells.segmenter.kind=watershed"],
        "dpn_unet": [
            *("cells.segmenter.kind=dpn_unet", f"cells.segmenter.nuclei={weights}/nuclei.safetensors"),
            *(f"cells.segmenter.cells={weights}/cells.safetensors", "cells.segmenter.batch_size=1"),
        ],
    }
    if arguments.unet is not None:
        segmenters["unet"] = ["cells.segmenter.kind=unet", f"cells.segmenter.run={arguments.unet.resolve()}"]
    rows: list[dict[str, Any]] = []
    for name, settings in segmenters.items():
        out = work / f"budget-{name}"
        hpa(
            "time_budget",
            *("cells.data.source.kind=kaggle2021", f"cells.data.source.folder={work}/sizes"),
            *(f"cells.data.out={work}/sizes-data", f"out={out}", f"images={arguments.images}"),
            *(f"runs=[{arguments.run.resolve()}]", *settings),
        )
        hours = json.loads((out / "time_budget.json").read_text())["hours"]
        for row in pd.read_csv(out / "costs.csv").to_dict("records"):
            parts = {part: row[part] for part in ("segment", "segment_fast", "shrink", "forward", "write")}
            rows.append({"segmenter": name, "size": row["height"], **parts, "hours": hours})
    print(f"\nSeconds per image, {os.cpu_count()} cores busy; hours for {arguments.images} images in equal shares")
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def hpa(*arguments: str) -> None:
    """Run a command as a person would; a failure ends the benchmark."""
    print(f"\n$ hpa {' '.join(arguments)}", flush=True)
    try:
        cli.main(arguments)
    except SystemExit as ended:
        if ended.code:
            raise


def _resize(source: Path, target: Path, size: int) -> None:
    """The images at another size, in the competition's layout; the cells are as many, and as much larger."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*_blue.png")):
        image_id = path.name.removesuffix("_blue.png")
        for channel in CHANNELS:
            (plane,) = read_image([source / f"{image_id}_{channel}.png"], ("grey",))
            resized = cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA if size < 2048 else cv2.INTER_LINEAR)
            cv2.imwrite(str(target / f"{image_id[:8]}-{size}_{channel}.png"), resized)


if __name__ == "__main__":
    main()
