"""`build_submission`: from label maps and probabilities of cells to the competition's CSV."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pydantic

from hpa.artifacts import (
    ArtifactError,
    atomic_write,
    build,
    file_digest,
    is_finished,
    make_record,
    read_record,
    write_json,
)
from hpa.config import Config
from hpa.evaluation import Verified
from hpa.labels import HPA2021
from hpa.masks import encode_cells
from hpa.parallel import WorkersConfig, map_images, open_executor
from hpa.progress import say
from hpa.segmentation import read_label_map
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cells_config import CELL_TABLE, CELLS, IMAGE_TABLE, label_map_path
from hpa.stages.submission import score_submission
from hpa.submission import (
    ConfidenceConfig,
    Detection,
    ImageSize,
    SubmissionWriter,
    cell_detections,
    check_submission,
    confidences,
    read_images,
)
from hpa.tables import CELL_KEY, IMAGE_KEY, align, read_table

STAGE = "build_submission"
SUBMISSION, CHECK, SCORE = "submission.csv", "check.json", "score.json"


class BuildSubmissionConfig(Config):
    """A submission.

    Attributes:
        name: of the submission: its folder in `folder`.
        folder: that holds all submissions.
        cells: artifact of `segment_cells`.
        probabilities: a parquet table with image_id, cell_id and one column per class; or with image_id alone, whose
            probabilities every cell of the image gets; or the folder of `predict`.
        sample: the competition's sample submission: its IDs in its order are written. None for all segmented images.
        confidence: from probabilities to confidences.
        truth: CSV of true cells in the submission's form, to score against. None where it is unknown.
        verified: which false positives the score counts.
        publish: a second path that always holds the newest valid CSV, such as /kaggle/working/submission.csv.
        seconds_between: the CSV on disk is renewed so often while it is being built.
        workers: where the work per image runs; decides speed only.
    """

    name: str = pydantic.Field(default="demo", pattern=r"^[\w.-]+$")
    folder: Path = Path("submissions")
    cells: Path = Path("work/demo/segment_cells")
    probabilities: Path = Path("runs/predict")
    sample: Path | None = None
    confidence: ConfidenceConfig = ConfidenceConfig()
    truth: Path | None = None
    verified: Verified = "all"
    publish: Path | None = None
    seconds_between: float = pydantic.Field(default=60.0, ge=0)
    workers: WorkersConfig = WorkersConfig()


def run(config: BuildSubmissionConfig) -> Path:
    """Write, check and score a submission, going on where a killed run stopped; the bytes are the same either way.

    From the first moment a valid CSV stands in `<name>.partial/` (and at `config.publish`), with empty rows for the
    images that are still to come. The finished folder holds `submission.csv`, `check.json` and, with a truth,
    `score.json`.

    Returns:
        `<folder>/<name>`.

    Raises:
        ArtifactError: the label maps are missing, or something else stands in the folder.
        ValueError: probabilities are missing for some cells, a table is malformed, or the finished CSV has problems.
    """
    inputs = {"cells": read_record(config.cells, segment_cells.STAGE).fingerprint}
    table_path = _table_path(config.probabilities)
    inputs["probabilities"] = file_digest(table_path)
    for name in ("sample", "truth"):
        if (path := getattr(config, name)) is not None:
            inputs[name] = file_digest(path)
    out = config.folder / config.name
    record = make_record(STAGE, {"confidence": config.confidence, "verified": config.verified}, inputs)
    if is_finished(out, record):
        say(f"{out}: made before, nothing to do")
        return out
    images = _images(config)
    sizes = read_table(config.cells / IMAGE_TABLE, ["image_id", "height", "width"])
    cells = read_table(config.cells / CELL_TABLE, CELL_KEY)
    probabilities = _cell_probabilities(table_path, cells)
    confidence = confidences(probabilities, cells, HPA2021, config.confidence, sizes)
    segmented = set(sizes["image_id"])
    missing = [image.image_id for image in images if image.image_id not in segmented]
    if missing:
        say(
            f"{len(missing)} of {len(images)} images of the sample are not segmented ({missing[0]}, ...): their rows "
            "stay empty"
        )
    with build(out, record) as partial:
        target = partial / SUBMISSION
        with SubmissionWriter(target, images, config.seconds_between) as writer:
            published = _Publisher(target, config.publish)
            for image_id in missing:
                if image_id in writer.remaining:
                    writer.add(image_id, [])
            todo = writer.remaining
            by_image = dict(iter(confidence[confidence["image_id"].isin(todo)].groupby("image_id")))
            jobs = ((image_id, by_image.get(image_id, confidence.iloc[:0])) for image_id in todo)
            with open_executor(config.workers) as executor:
                rows = map_images(_Row(config.cells), jobs, executor, "rows", len(images), len(images) - len(todo))
                for (image_id, _), detections in rows:
                    writer.add(image_id, detections)
                    published.renew()
        published.renew()
        _check(target, partial, config)
        if config.truth is not None:
            found, interval = score_submission.run(config.truth, target, config.verified)
            write_json(partial / SCORE, score_submission.summary(found, interval))
            say(score_submission.as_text(found, interval).splitlines()[0])
        writer.remove_rows()
    return out


@dataclass(frozen=True)
class _Row:
    """The detections of one image; picklable for worker processes."""

    cells: Path

    def __call__(self, job: tuple[str, pd.DataFrame]) -> list[Detection]:
        image_id, confidence = job
        label_map = read_label_map(label_map_path(self.cells, CELLS, image_id))
        return list(cell_detections(encode_cells(label_map), confidence, HPA2021))


class _Publisher:
    """Copies the CSV to a second place whenever it was renewed."""

    def __init__(self, source: Path, target: Path | None) -> None:
        self._source, self._target, self._copied = source, target, 0
        self.renew()

    def renew(self) -> None:
        """Copy, unless the last copy is of the same file."""
        changed = self._source.stat().st_mtime_ns
        if self._target is not None and changed != self._copied:
            with self._source.open("rb") as stream, atomic_write(self._target, "wb") as out:
                shutil.copyfileobj(stream, out)
            self._copied = changed


def _images(config: BuildSubmissionConfig) -> list[ImageSize]:
    """Every row of the submission, in order."""
    table = read_table(config.cells / IMAGE_TABLE, ["image_id", "height", "width"])
    segmented = [ImageSize(row.image_id, row.height, row.width) for row in table.itertuples()]
    if config.sample is None:
        return segmented
    known = {image.image_id: image for image in segmented}
    wanted = read_images(config.sample)
    wrong = [image for image in wanted if known.get(image.image_id, image) != image]
    if wrong:
        first, found = wrong[0], known[wrong[0].image_id]
        raise ValueError(
            f"{config.sample}: expected the sizes of the segmented images, but {first.image_id} is {first.width} x "
            f"{first.height} there and {found.width} x {found.height} in {config.cells} ({len(wrong)} such images); "
            "segment the original files"
        )
    return wanted


def _cell_probabilities(path: Path, cells: pd.DataFrame) -> pd.DataFrame:
    """image_id, cell_id and one column per class, one row per cell."""
    table = read_table(path, [*IMAGE_KEY, *HPA2021.names])
    if "cell_id" in table.columns:
        try:
            return align(cells, table[[*CELL_KEY, *HPA2021.names]], CELL_KEY)
        except ValueError as error:
            raise ValueError(f"{path}: expected a row for every cell of the label maps: {error}") from None
    say(f"{path} has probabilities of images: each is given to all cells of its image")
    missing = sorted(set(cells["image_id"]) - set(table["image_id"]))
    if missing:
        raise ValueError(f"{path}: expected a row for every image with cells, but {missing[:3]} are missing")
    table = table[[*IMAGE_KEY, *HPA2021.names]]
    return cells[list(CELL_KEY)].merge(table, on=list(IMAGE_KEY), how="left", validate="many_to_one")


def _table_path(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in ("probabilities.parquet", "out_of_fold.parquet"):
        if (path / name).is_file():
            return path / name
    raise ArtifactError(f"{path}: expected probabilities.parquet in it, made by `hpa predict`")


def _check(target: Path, partial: Path, config: BuildSubmissionConfig) -> None:
    problems = check_submission(target, HPA2021, config.sample)
    write_json(partial / CHECK, [asdict(problem) | {"severity": problem.severity} for problem in problems])
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise ValueError(f"{target}: {len(errors)} problems, the first: {errors[0]}; {partial / CHECK} lists them")
    if problems:
        say(f"{target}: {len(problems)} remarks, see {CHECK}")
