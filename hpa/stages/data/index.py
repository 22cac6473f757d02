"""`index`: check every image once, into an image table, labels and a list of problems."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hpa.artifacts import ArtifactError, build, is_finished, make_record, read_record, write_json, write_text
from hpa.datasets import Listing, MissingSourceError
from hpa.datasets.grouping import duplicate_sets, group_names
from hpa.images import BitDepth, ImageError, load_image
from hpa.intensity import intensities
from hpa.parallel import WorkersConfig, map_images, open_executor
from hpa.phash import hash_text, perceptual_hash
from hpa.progress import say
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.data.source import list_source
from hpa.tables import IMAGE_COLUMNS, write_table

STAGE = "index"
IMAGES, LABELS, PROBLEMS, CONTENT = "images.parquet", "labels.parquet", "problems.csv", "dataset.json"

_CHECKED = "checked.jsonl"


def run(config: DatasetConfig) -> Path:
    """Check every image of a data set, going on where a killed run stopped; the bytes are the same either way.

    The folder holds `images.parquet` (the columns of `tables.IMAGE_COLUMNS`; `phash`, 16 hexadecimal digits per
    channel; `duplicate_set`, the first image of a set of near duplicates, else empty; for each channel `mean_`, `std_`,
    `p99_` and `hist_<channel>` on the scale 0 to 255; the source's own columns), `labels.parquet` (no rows for images
    without labels), `problems.csv` (what was left out and why) and `dataset.json` (classes, channels, bit_depth).

    Returns:
        The folder.

    Raises:
        ArtifactError: something else stands there, such as the index of the folder as it was before it changed.
        ValueError: the source is missing, or no image of it can be used.
    """
    folder = config.index_folder
    try:
        listing, inputs = list_source(config)
    except MissingSourceError:
        # What was indexed and cached is enough to train on; the images may be on another machine.
        if not _stands(config):
            raise
        say(f"{folder}: made before; the images are no longer where they were")
        return folder
    record = make_record(STAGE, _sections(config), inputs)
    if is_finished(folder, record):
        say(f"{folder}: made before, nothing to do")
        return folder
    with build(folder, record) as partial:
        checked = _check_all(listing, partial / _CHECKED, config.workers)
        summary = _write(listing, checked, config, partial)
        (partial / _CHECKED).unlink()
    say(f"{folder}: {summary}")
    return folder


def _sections(config: DatasetConfig) -> dict[str, Any]:
    """The parts of the configuration that decide the content."""
    return {"source": config.source, "index": config.index}


def _stands(config: DatasetConfig) -> bool:
    """Whether a finished index of this configuration is there, whatever became of its images."""
    try:
        found = read_record(config.index_folder, STAGE)
    except ArtifactError:
        return False
    return found.config == make_record(STAGE, _sections(config)).config


@dataclass(frozen=True)
class _Check:
    """Reads one image and takes its figures; picklable for worker processes."""

    channels: tuple[str, ...]
    bit_depth: BitDepth

    def __call__(self, key: tuple[str, tuple[str, ...]]) -> dict[str, Any]:
        cv2.setNumThreads(1)  # the processes share the cores already
        image_id, paths = key
        try:
            pixels, bit_depth = load_image(paths, self.channels, self.bit_depth)
        except ImageError as error:
            return {"image_id": image_id, "problem": error.problem, "detail": error.message}
        row: dict[str, Any] = {
            "image_id": image_id,
            "width": pixels.shape[2],
            "height": pixels.shape[1],
            "bit_depth": bit_depth,
            "phash": hash_text(perceptual_hash(pixels)),
        }
        for channel, figures in zip(self.channels, intensities(pixels), strict=True):
            row[f"mean_{channel}"] = figures.mean
            row[f"std_{channel}"] = figures.std
            row[f"p99_{channel}"] = figures.p99
            row[f"hist_{channel}"] = figures.histogram
        return row


def _check_all(listing: Listing, path: Path, workers: WorkersConfig) -> list[dict[str, Any]]:
    """Check the images that `path` does not hold yet, adding each as it is finished; all of them in listed order."""
    done = {row["image_id"]: row for row in _read_lines(path)}
    keys = [
        (image_id, tuple(paths))
        for image_id, paths in zip(listing.images["image_id"], listing.images["paths"], strict=True)
    ]
    todo = [key for key in keys if key[0] not in done]
    check = _Check(listing.channels, listing.bit_depth)
    # One line per image, written at once: a kill loses at most the line that is being written.
    with path.open("ab", buffering=0) as stream, open_executor(workers) as executor:
        for (image_id, _), row in map_images(check, todo, executor, "checked images", len(keys), len(done)):
            stream.write(json.dumps(row).encode() + b"\n")
            done[image_id] = _compact(row)
    return [done[image_id] for image_id, _ in keys]


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that a kill may have cut, which is cut back to them."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
    return [_compact(json.loads(line)) for line in whole.splitlines()]


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    """Histograms as arrays, which take a fifth of the memory of lists."""
    return {key: np.asarray(value, np.int64) if isinstance(value, list) else value for key, value in row.items()}


def _write(listing: Listing, checked: Sequence[dict[str, Any]], config: DatasetConfig, folder: Path) -> str:
    """Write the tables; a line that says what came of it."""
    problems = pd.DataFrame(
        [{key: row[key] for key in ("image_id", "problem", "detail")} for row in checked if "problem" in row],
        columns=["image_id", "problem", "detail"],
    )
    problems = pd.concat([listing.problems, problems.assign(row=pd.array([pd.NA] * len(problems), "Int64"))])
    problems = problems.sort_values(["image_id", "row"], kind="stable", ignore_index=True)
    good = [position for position, row in enumerate(checked) if "problem" not in row]
    if not good:
        raise ValueError(f"{folder}: none of the {len(checked)} images can be used; the first: {checked[0]['detail']}")
    own = listing.images.iloc[good].reset_index(drop=True)
    labels = listing.labels.iloc[good] if len(listing.labels) else listing.labels
    figures = pd.DataFrame([checked[position] for position in good])
    sets = [""] * len(good)
    if config.index.duplicate_distance is not None:
        sets = duplicate_sets(own["image_id"].tolist(), figures["phash"].tolist(), config.index.duplicate_distance)
    own["duplicate_set"] = sets
    images = pd.concat([own[["image_id", "paths", "source"]], figures.drop(columns="image_id")], axis=1)
    images["group"] = group_names(own, [*listing.group_columns, "duplicate_set"])
    first = [*IMAGE_COLUMNS, "phash", "duplicate_set"]
    images = images.assign(duplicate_set=sets)[[*first, *(name for name in images if name not in first)]]
    for name in own.columns.difference(images.columns, sort=False):
        images[name] = own[name]
    write_table(folder / IMAGES, images)
    write_table(folder / LABELS, labels)
    write_text(folder / PROBLEMS, problems.to_csv(index=False, lineterminator="\n"))
    content = {
        "classes": listing.classes.model_dump(mode="json"),
        "channels": listing.channels,
        "bit_depth": listing.bit_depth,
    }
    write_json(folder / CONTENT, content)
    return _summary(images, problems)


def _summary(images: pd.DataFrame, problems: pd.DataFrame) -> str:
    text = f"{len(images)} images in {images['group'].nunique()} groups"
    sets = images.loc[images["duplicate_set"] != "", "duplicate_set"]
    if len(sets):
        text += f", {len(sets)} of them near duplicates in {sets.nunique()} sets"
    if len(problems):
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(problems["problem"].value_counts().items()))
        text += f"; {len(problems)} entries left out ({kinds}), see {PROBLEMS}"
    return text
