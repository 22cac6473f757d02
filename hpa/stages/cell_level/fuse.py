"""`fuse`: scores of images and cells, from one run or many, made into one table that `build_submission` takes."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pydantic

from hpa.arrays import Int64, Probabilities
from hpa.artifacts import (
    RECORD,
    ArtifactError,
    Record,
    build,
    file_digest,
    is_finished,
    make_record,
    read_json,
    read_record,
    write_json,
)
from hpa.config import Config
from hpa.evaluation.detection_matching import IOU_THRESHOLD
from hpa.evaluation.detection_summary import average_precision_of_ranking
from hpa.fusion import (
    FusionConfig,
    Level,
    Matches,
    SearchConfig,
    Tuning,
    Weights,
    folds_of_images,
    fuse_values,
    member_values,
    member_weights,
    tune_weights,
    weights_from_json,
    weights_to_json,
)
from hpa.labels import HPA2021, ClassList
from hpa.parallel import WorkersConfig
from hpa.progress import say
from hpa.stages.cells import segment_cells, true_labels
from hpa.stages.cells.cells_config import CELL_TABLE, IMAGE_TABLE
from hpa.tables import CELL_KEY, IMAGE_KEY, align, class_table, read_table, write_table

STAGE = "fuse"
PROBABILITIES, WEIGHTS, METRICS, TRUE_LABELS = "probabilities.parquet", "weights.json", "metrics.json", "true_labels"

_TABLES: dict[bool, tuple[str, ...]] = {
    True: ("image_probabilities.parquet", "out_of_fold.parquet", "probabilities.parquet"),
    False: ("cell_scores.parquet", "probabilities.parquet"),
}
"""Tables of scores in the folders of runs, of images (True) and of cells; the first that is there counts."""


class TuneConfig(Config):
    """Weights tuned on cells whose truth is known.

    The members' scores must be out of fold: a network's scores of images that it learned from are too good, and would
    get all the weight.

    Attributes:
        label_maps: folder of the true label maps, named by image.
        pattern: file name of an image's true label map.
        labels: parquet table of the true cells: image_id, cell_id, one column per class.
        search: how weights are looked for.
        folds: for the gain on images that were not tuned on, where no table of scores says its folds: so many runs of
            consecutive images.
    """

    label_maps: Path = Path("work/demo/simulate/truth/cell_maps")
    pattern: str = "{image_id}"
    labels: Path = Path("work/demo/simulate/truth/cells.parquet")
    search: SearchConfig = SearchConfig()
    folds: int = pydantic.Field(default=5, ge=2)


class FuseConfig(FusionConfig):
    """A fusion of scores.

    Attributes:
        members: kinds of scores; `paths` are parquet tables, or folders of `train_image_level`, `train_bags`,
            `train_cell_level`, `predict`, `predict_cells`, `score_cells` or `fuse`.
        how: the rule; see `hpa.fusion.FusionConfig`.
        cells: artifact of `segment_cells`, whose cells are scored. None fuses scores of images into scores of images.
        classes: the class list.
        tune: weights from cells with a known truth; the configured ones are where the search begins. None keeps those.
        weights_from: folder of an earlier `fuse`, with members of the same names, whose weights are used here: tune on
            the training images, then fuse the scores of new ones.
        out: folder of the result.
        workers: where label maps are compared with true ones; decides speed only.
    """

    cells: Path | None = Path("work/demo/segment_cells")
    classes: ClassList = HPA2021
    tune: TuneConfig | None = None
    weights_from: Path | None = None
    out: Path = Path("work/demo/fuse")
    workers: WorkersConfig = WorkersConfig()

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "FuseConfig":
        if self.tune is not None and self.weights_from is not None:
            raise ValueError("expected `tune` or `weights_from`, but both are given; set one to null")
        if self.tune is not None and self.cells is None:
            raise ValueError("`tune` compares cells with true ones; give `cells`")
        return self


def run(config: FuseConfig) -> Path:
    """Fuse the scores of all members.

    Returns:
        `config.out`: `probabilities.parquet` (image_id, cell_id, fold where the members' tables say it, one float32
        column per class), `weights.json` (of every member and class) and `metrics.json`, with the gain where weights
        were tuned. Tuned weights are in the record too, under `made_by`.

    Raises:
        ArtifactError: cells or scores are missing, or something else stands in the folder.
        ValueError: scores of other cells, of different folds, or outside [0, 1]; weights that do not fit the members.
    """
    paths = {m.name: [find_scores(path, m.level) for path in m.paths] for m in config.members}
    inputs = {f"{name} {i}": file_digest(path) for name, found in paths.items() for i, path in enumerate(found)}
    if config.cells is not None:
        inputs["cells"] = read_record(config.cells, segment_cells.STAGE).fingerprint
    if config.weights_from is not None:
        read_record(config.weights_from, STAGE)
        inputs["weights"] = file_digest(config.weights_from / WEIGHTS)
    if config.tune is not None:
        inputs["truth"] = file_digest(config.tune.labels)
    record = make_record(STAGE, _content(config), inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    weights = member_weights(config, config.classes)
    if config.weights_from is not None:
        weights = _read_weights(config, config.weights_from)
    tables = {name: [read_table(path, IMAGE_KEY) for path in found] for name, found in paths.items()}
    keys = _keys(config, tables[config.members[0].name][0])
    values = [member_values(tables[m.name], keys, config.classes, m) for m in config.members]
    folds = folds_of_images([table for found in tables.values() for table in found])
    metrics: dict[str, object] = {"items": len(keys)}
    with build(config.out, record) as folder:
        if config.tune is not None:
            tuning = _tune(config, config.tune, folder, keys, values, weights, folds)
            weights, metrics = tuning.weights, metrics | tuning.to_json()
            say(f"{config.out}: {tuning.summary()}")
            _note(folder, record, weights_to_json(weights, config, config.classes))
        table = class_table(keys, fuse_values(values, weights, config.how), config.classes)
        if folds is not None and keys["image_id"].isin(folds.index).all():
            table.insert(len(keys.columns), "fold", folds.loc[keys["image_id"]].to_numpy())
        write_table(folder / PROBABILITIES, table)
        write_json(folder / WEIGHTS, weights_to_json(weights, config, config.classes))
        write_json(folder / METRICS, metrics)
    say(f"{config.out}: {len(keys)} {'images' if config.cells is None else 'cells'} scored by {len(values)} members")
    return config.out


def find_scores(path: Path, level: Level) -> Path:
    """The table of scores that a path leads to: itself, or one in a folder that a stage made.

    Raises:
        ArtifactError: no such file, or no table of that level in the folder.
    """
    if path.is_file():
        return path
    names = _TABLES[level == "image"]
    for name in names:
        if (path / name).is_file():
            return path / name
    raise ArtifactError(
        f"{path}: expected a parquet table, or a folder with {' or '.join(names)}, made by a training or prediction of "
        f"{'images' if level == 'image' else 'cells'}"
    )


def _content(config: FuseConfig) -> dict[str, object]:
    """The parts of the configuration that decide the result; files count by their bytes."""
    members = [member.model_dump(mode="json", exclude={"paths"}) for member in config.members]
    tune = config.tune and config.tune.model_dump(mode="json", include={"search", "folds"})
    return {"members": members, "how": config.how, "classes": config.classes, "tune": tune}


def _keys(config: FuseConfig, first: pd.DataFrame) -> pd.DataFrame:
    if config.cells is not None:
        return read_table(config.cells / CELL_TABLE, CELL_KEY)[list(CELL_KEY)]
    return first[list(IMAGE_KEY)]


def _tune(
    config: FuseConfig,
    settings: TuneConfig,
    folder: Path,
    keys: pd.DataFrame,
    values: Sequence[Probabilities],
    start: Weights,
    folds: pd.Series | None,
) -> Tuning:
    """Weights from the cells' truth; the matched cells stay in the artifact."""
    assert config.cells is not None
    if folds is None:
        say(f"{config.out}: no table of scores says its folds; make sure that all of them are out of fold")
    matched = true_labels.run(
        true_labels.TrueLabelsConfig(
            cells=config.cells,
            label_maps=settings.label_maps,
            pattern=settings.pattern,
            labels=settings.labels,
            iou=IOU_THRESHOLD,
            out=folder / TRUE_LABELS,
            workers=config.workers,
        )
    )
    found = align(keys, read_table(matched / true_labels.LABELS), CELL_KEY)
    truth = read_table(settings.labels, [*CELL_KEY, *config.classes.names])
    images = sorted(read_table(config.cells / IMAGE_TABLE, IMAGE_KEY)["image_id"].tolist())
    matches = Matches.of_labels(found, truth, images, config.classes)
    return tune_weights(
        values,
        matches,
        start,
        config.how,
        config.classes,
        average_precision_of_ranking,
        settings.search,
        _folds(images, folds, settings.folds),
    )


def _folds(images: Sequence[str], known: pd.Series | None, count: int) -> Int64[np.ndarray, " images"] | None:
    """A fold for every image; None where the scores are of a single fold."""
    if known is None:
        return np.arange(len(images)) * min(count, len(images)) // len(images) if len(images) > 1 else None
    # An image without a predicted cell has no row, and no part in tuning but its objects.
    folds = known.reindex(images).fillna(known.min()).to_numpy(np.int64)
    return folds if len(np.unique(folds)) > 1 else None


def _read_weights(config: FuseConfig, folder: Path) -> Weights:
    try:
        return weights_from_json(read_json(folder / WEIGHTS), config, config.classes)
    except ValueError as error:
        raise ValueError(f"weights_from: {folder}: {error}") from None


def _note(folder: Path, record: Record, weights: dict[str, object]) -> None:
    """Tuned weights into the record, apart from what decides whether the artifact is the one asked for."""
    noted = record.model_copy(update={"made_by": record.made_by | {"weights": json.dumps(weights, sort_keys=True)}})
    write_json(folder / RECORD, noted.model_dump(mode="json"))
