"""`time_budget`: seconds of a few images of each size, projected to a whole test set, and what to drop."""

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pydantic
import torch

from hpa.arrays import ResizedPixels
from hpa.artifacts import write_json, write_text
from hpa.classification import ImageClassifier, predict_batch
from hpa.config import Config
from hpa.labels import HPA2021
from hpa.masks import encode_cells
from hpa.parallel import available_cores, map_images, open_executor
from hpa.progress import say
from hpa.segmentation import PostprocessingConfig, read_label_map
from hpa.stages.cells.cells_config import CELLS, NUCLEI, SegmentCellsConfig, label_map_path
from hpa.stages.cells.segment_cells import ROWS, Job, segment
from hpa.stages.cells.segmenters import Predictor, load_predictor
from hpa.stages.data import index
from hpa.stages.data.cache import prepare_pixels
from hpa.stages.data.dataset_config import CacheSettings
from hpa.stages.data.indexed_images import ImageReader, open_index
from hpa.stages.image_level.trained_run import TrainedRun, open_run
from hpa.submission import cell_detections, read_images, write_prediction_string
from hpa.submission.budget import COST_COLUMNS, KERNEL_HOURS, compare_plans, plans, scale_counts
from hpa.training import make_accelerator

COSTS, PLANS, SUMMARY = "costs.csv", "plans.csv", "time_budget.json"


class TimeBudgetConfig(Config):
    """What is measured, and for how many images.

    Attributes:
        cells: images and segmenter, as `segment_cells` takes them.
        runs: finished image-level runs that will predict; empty for segmentation and rows alone.
        tta: views averaged; None takes each run's own.
        batch_size: images of one forward pass of the classifiers.
        out: folder of the figures; what was measured before is replaced.
        sample: the competition's sample submission: its sizes are counted. None counts those of `cells.data`.
        images: number of images to come, with the same shares of sizes; the hidden set of 2021 has 1776. None for
            those counted.
        per_size: images of each size measured for each worker.
        hours: limit.
        reserve: part of the limit kept free.
    """

    cells: SegmentCellsConfig = SegmentCellsConfig()
    runs: tuple[Path, ...] = ()
    tta: Literal[1, 2, 4, 8] | None = None
    batch_size: Annotated[int, pydantic.Field(ge=1)] = 32
    out: Path = Path("work/demo/time_budget")
    sample: Path | None = None
    images: Annotated[int, pydantic.Field(ge=1)] | None = None
    per_size: Annotated[int, pydantic.Field(ge=1)] = 3
    hours: Annotated[float, pydantic.Field(gt=0)] = KERNEL_HOURS
    reserve: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.1


def run(config: TimeBudgetConfig) -> Path:
    """Measure and project.

    Returns:
        `config.out`: `costs.csv` (`hpa.submission.budget.COST_COLUMNS`), `plans.csv` (dropped, networks, views, hours,
        fits) and `time_budget.json` with the machine and the advice.

    Raises:
        ArtifactError: a run is missing.
        ValueError: images or weights are missing.
    """
    runs = [open_run(folder, "train_image_level") for folder in config.runs]
    views: int = config.tta or max([one.content.tta for one in runs], default=1)
    costs = measure(config, runs)
    per_run = [len(one.content.folds) for one in runs]
    table = compare_plans(costs, plans(per_run, views, _has_fast(config.cells)), config.hours, config.reserve)
    advice = _advice(table, config)
    write_text(config.out / COSTS, costs.to_csv(index=False))
    write_text(config.out / PLANS, table.to_csv(index=False))
    write_json(config.out / SUMMARY, _summary(config, costs, table, advice))
    say(_shown(costs, table))
    say(advice)
    return config.out


def measure(config: TimeBudgetConfig, runs: Sequence[TrainedRun]) -> pd.DataFrame:
    """Seconds per image of every step for each size, all workers busy.

    Returns:
        COST_COLUMNS, one row per size, smallest first.
    """
    indexed = open_index(index.run(config.cells.data))
    images, reader = indexed.table, indexed.reader
    counts = _counts(config, images)
    workers = config.cells.data.workers
    at_once = 1 if workers.kind == "none" else workers.count or available_cores()
    predictor = load_predictor(config.cells, reader.channels) if config.cells.has_network else None
    forward = _forward_seconds(config, runs, len(reader.channels))
    rows = []
    with open_executor(workers) as executor:
        for (height, width), number in counts.items():
            jobs = _jobs(images, height, width, config.per_size * at_once)
            say(f"measuring {len(jobs)} images of {width} x {height} pixels")
            measured = _measure_size(config, jobs, reader, executor, predictor, runs)
            rows.append({"height": height, "width": width, "images": number, "forward": forward, **measured})
    return pd.DataFrame(rows)[list(COST_COLUMNS)]


def _counts(config: TimeBudgetConfig, images: pd.DataFrame) -> dict[tuple[int, int], float]:
    listed = images if config.sample is None else pd.DataFrame(read_images(config.sample))
    counts = listed.groupby(["height", "width"]).size()
    there = set(zip(images["height"], images["width"], strict=True))
    for size in [size for size in counts.index if size not in there]:
        nearest = min(there, key=lambda known: abs(known[0] * known[1] - size[0] * size[1]))
        say(f"no image of {size[1]} x {size[0]} pixels to measure; its {counts[size]} images count as {nearest}")
        counts.loc[nearest] = counts.get(nearest, 0) + counts[size]
        counts = counts.drop(size)
    counts = counts.sort_index()
    if config.images is not None:
        counts = scale_counts(counts, config.images)
    return {(int(size[0]), int(size[1])): float(number) for size, number in counts.items()}


def _jobs(images: pd.DataFrame, height: int, width: int, number: int) -> list[Job]:
    """So many images of a size; the same ones again, under other names, where there are not enough."""
    of_size = images[(images["height"] == height) & (images["width"] == width)]
    rows = itertools.islice(itertools.cycle(list(of_size.itertuples())), number)
    return [Job(f"{place}-{row.image_id}", tuple(row.paths)) for place, row in enumerate(rows)]


def _measure_size(
    config: TimeBudgetConfig,
    jobs: Sequence[Job],
    reader: ImageReader,
    executor: Executor | None,
    predictor: Predictor | None,
    runs: Sequence[TrainedRun],
) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="hpa-") as name:
        folder = Path(name)

        def segmented(settings: SegmentCellsConfig) -> float:
            for part in (CELLS, NUCLEI, ROWS):
                shutil.rmtree(folder / part, ignore_errors=True)
                (folder / part).mkdir()
            return _seconds(lambda: segment(settings, jobs, reader, folder, executor, predictor=predictor)) / len(jobs)

        def mapped(function: Callable[[Job], Any], some: Sequence[Job]) -> float:
            return _seconds(lambda: map_images(function, some, executor, total=0)) / len(some)

        shrinker = Shrinker(reader, tuple({one.content.cache for one in runs}))
        # The first image of each worker pays for imports and warm caches; it is not counted.
        first = jobs[: max(1, len(jobs) // config.per_size)]
        for part in (CELLS, NUCLEI, ROWS):
            (folder / part).mkdir()
        _seconds(lambda: segment(config.cells, first, reader, folder, executor, predictor=predictor))
        mapped(shrinker, first)
        mapped(RowWriter(folder), first)
        found = {"segment": segmented(config.cells), "segment_fast": float("nan")}
        if _has_fast(config.cells):
            found["segment_fast"] = segmented(_fast(config.cells))
        found["shrink"] = mapped(shrinker, jobs) if runs else 0.0
        found["write"] = mapped(RowWriter(folder), jobs)
    return found


@dataclass(frozen=True)
class Shrinker:
    """Reads an image and brings it to every size that the runs expect; picklable."""

    reader: ImageReader
    sizes: tuple[CacheSettings, ...]

    def __call__(self, job: Job) -> list[ResizedPixels]:
        """Resized pixels."""
        pixels = self.reader(job.paths)
        return [prepare_pixels(pixels, settings) for settings in self.sizes]


@dataclass(frozen=True)
class RowWriter:
    """Makes one row of a submission from a label map; picklable."""

    folder: Path

    def __call__(self, job: Job) -> int:
        """Length of the row's text."""
        masks = encode_cells(read_label_map(label_map_path(self.folder, CELLS, job.image_id)))
        table = pd.DataFrame(np.full((len(masks), len(HPA2021)), 0.5, np.float32), columns=list(HPA2021.names))
        table.insert(0, "cell_id", list(masks))
        return len(write_prediction_string(cell_detections(masks, table, HPA2021)))


def _forward_seconds(config: TimeBudgetConfig, runs: Sequence[TrainedRun], channels: int) -> float:
    """Of one image, one view, one network: the mean over the runs."""
    if not runs:
        return 0.0
    accelerator = make_accelerator("no")
    found = []
    for one in runs:
        model = next(one.networks()).to(accelerator.device)
        size = one.content.image_size
        batch = torch.zeros(config.batch_size, channels, size, size, dtype=torch.uint8, device=accelerator.device)
        _forward(model, batch)
        start = time.perf_counter()
        _forward(model, batch)
        found.append((time.perf_counter() - start) / config.batch_size)
    return float(np.mean(found))


def _forward(model: ImageClassifier, batch: torch.Tensor) -> None:
    predict_batch(model, batch, 1)
    if batch.is_cuda:
        torch.cuda.synchronize()


def _seconds(work: Callable[[], Iterable[Any]]) -> float:
    start = time.perf_counter()
    for _ in work():
        pass
    return time.perf_counter() - start


def _has_fast(config: SegmentCellsConfig) -> bool:
    return config.has_network and config.postprocessing.mode == "full"


def _fast(config: SegmentCellsConfig) -> SegmentCellsConfig:
    return config.model_copy(
        update={"postprocessing": PostprocessingConfig(**{**config.postprocessing.model_dump(), "mode": "fast"})}
    )


def _advice(table: pd.DataFrame, config: TimeBudgetConfig) -> str:
    limit = f"{config.hours:g} hours less {100 * config.reserve:.0f} % in reserve"
    first = table.iloc[0]
    if first["fits"]:
        return f"All of it takes {first['hours']:.2f} h and fits into {limit}."
    fitting = table[table["fits"]]
    if len(fitting):
        row = fitting.iloc[0]
        return (
            f"All of it takes {first['hours']:.2f} h, more than {limit}. "
            f"Drop {row['dropped']}: then it takes {row['hours']:.2f} h."
        )
    last = table.iloc[-1]
    return (
        f"Nothing fits into {limit}: even with {last['dropped'] or 'nothing left to drop'} it takes "
        f"{last['hours']:.2f} h. Choose a quicker segmenter, a smaller network, or a machine with more cores or a GPU."
    )


def _summary(config: TimeBudgetConfig, costs: pd.DataFrame, table: pd.DataFrame, advice: str) -> dict[str, Any]:
    return {
        "advice": advice,
        "hours": float(table["hours"].iloc[0]),
        "images": float(costs["images"].sum()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "cores": available_cores(),
        "config": config.model_dump(mode="json"),
    }


def _shown(costs: pd.DataFrame, table: pd.DataFrame) -> str:
    text = costs.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="–")
    shown = _named(table).to_string(index=False, float_format=lambda value: f"{value:.2f}")
    return f"Seconds per image\n{text}\n\nHours for all images\n{shown}"


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a word where nothing is dropped."""
    return table.assign(dropped=table["dropped"].replace("", "nothing"))
