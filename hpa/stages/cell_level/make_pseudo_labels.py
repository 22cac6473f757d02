"""`make_pseudo_labels`: soft labels of cells from the labels of images and what networks see in the cells."""

from pathlib import Path

import numpy as np
import pandas as pd
import pydantic

from hpa.arrays import Int64, Probabilities, Targets
from hpa.artifacts import build, file_digest, is_finished, make_record, read_record, write_json
from hpa.config import Config
from hpa.evaluation import match_instances
from hpa.fusion import FusionConfig, MemberConfig, fuse, member_values, require_folds
from hpa.labels import ClassList
from hpa.progress import say
from hpa.pseudolabels import (
    RuleConfig,
    WeightConfig,
    carry_ratings,
    cell_weights,
    positives_per_class,
    rank_agreement,
    rated_labels,
    read_ratings,
    require_rated_cells,
    soft_labels,
    summarise_agreement,
)
from hpa.segmentation import find_label_map, read_label_map
from hpa.stages.cell_level.fuse import find_scores
from hpa.stages.cells import segment_cells, true_labels
from hpa.stages.cells.cells_config import CELL_TABLE, CELLS, label_map_path
from hpa.stages.data import fold, index
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.data.indexed_images import open_index
from hpa.tables import CELL_KEY, IMAGE_KEY, align, as_records, class_table, class_values, read_table, write_table

STAGE = "make_pseudo_labels"
LABELS, METRICS = true_labels.LABELS, "metrics.json"


class EvidenceConfig(Config):
    """Scores of cells.

    Attributes:
        path: table with image_id, cell_id and one column per class, or the folder of a stage that made one. Scores of
            training images must be out of fold.
        weight: in the mean over several.
    """

    path: Path
    weight: float = pydantic.Field(default=1.0, gt=0)


class RatedCellsConfig(Config):
    """Cells that a person graded.

    Attributes:
        path: CSV with image_id, cell_index_from_0, class, rating_1_to_5 and perhaps set.
        label_maps: folder of the label maps that were graded, named by image; the found cell with the highest overlap
            takes a rating. None where the found cells have the numbers that were graded.
        pattern: file name of an image's graded label map.
        iou: least IoU of a graded cell and the found one.
        sets: which values of `set` are used, so that others are left for checks; None for all.
        values: label of each rating from 1 to 5; means of several grades are interpolated.
        weight: of a graded cell in training, in place of what `weights` gives.
    """

    path: Path
    label_maps: Path | None = None
    pattern: str = "{image_id}"
    iou: float = pydantic.Field(default=0.5, gt=0, le=1)
    sets: tuple[str, ...] | None = None
    values: tuple[float, float, float, float, float] = (0.0, 0.25, 0.5, 0.75, 1.0)
    weight: float = pydantic.Field(default=1.0, ge=0)


class MakePseudoLabelsConfig(Config):
    """Pseudo-labels.

    Attributes:
        data: the images with their labels and folds.
        cells: artifact of `segment_cells`, of these images.
        image_scores: out-of-fold probabilities of the images: a table, or the folder of `train_image_level`. Needed for
            `rule.doubt`, and as the evidence where there are no scores of cells; else null.
        cell_scores: the evidence: scores of cells, averaged by weight.
        rule: from evidence to labels.
        weights: how much each cell counts in training.
        ratings: cells that a person graded; their labels stand in place of the rule's.
        truth: true labels of the found cells, to compare with alone: the folder of `true_labels`, or its table.
        out: folder of the labels.
    """

    data: DatasetConfig = DatasetConfig()
    cells: Path = Path("work/demo/segment_cells")
    image_scores: Path | None = None
    cell_scores: tuple[EvidenceConfig, ...] = ()
    rule: RuleConfig = RuleConfig()
    weights: WeightConfig = WeightConfig()
    ratings: RatedCellsConfig | None = None
    truth: Path | None = None
    out: Path = Path("work/demo/pseudo_labels")

    @pydantic.model_validator(mode="after")
    def _has_evidence(self) -> "MakePseudoLabelsConfig":
        if not self.cell_scores and self.image_scores is None:
            raise ValueError("expected evidence, but got none; give `cell_scores`, or `image_scores` to begin with")
        if self.rule.doubt > 0 and self.image_scores is None:
            raise ValueError("rule.doubt needs `image_scores`; give them, or set it to 0")
        return self

    def content(self) -> dict[str, object]:
        """The sections that decide the labels, for the record."""
        ratings = self.ratings and self.ratings.model_dump(mode="json", exclude={"path", "label_maps", "pattern"})
        weights = [source.weight for source in self.cell_scores]
        return {"rule": self.rule, "weights": self.weights, "ratings": ratings, "evidence_weights": weights}


def run(config: MakePseudoLabelsConfig) -> Path:
    """Label every found cell, the images being dealt into folds first where that is missing.

    Returns:
        `config.out`: `cell_labels.parquet` (image_id, cell_id, one float32 column per class in [0, 1], weight) and
        `metrics.json`: what the labels hold; how well they, the evidence and the copied labels of the images agree with
        the truth; the rank correlation of ratings with the evidence.

    Raises:
        ArtifactError: cells or scores are missing, or something else stands in the folder.
        ValueError: images without labels, cells of other images, scores that lack cells or are out of other folds,
            ratings of cells that are not there.
    """
    fold_folder = fold.run(config.data)
    indexed = open_index(config.data.index_folder)
    files = _files(config)
    inputs = {"index": indexed.fingerprint, "fold": read_record(fold_folder, fold.STAGE).fingerprint}
    inputs["cells"] = read_record(config.cells, segment_cells.STAGE).fingerprint
    inputs |= {name: file_digest(path) for name, path in files.items()}
    ratings, graded = _read_ratings(config, indexed.classes)
    inputs |= {f"graded {image_id}": file_digest(path) for image_id, path in graded.items()}
    record = make_record(STAGE, config.content(), inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    classes, images = indexed.classes, indexed.table[list(IMAGE_KEY)]
    cells = read_table(config.cells / CELL_TABLE, CELL_KEY)
    rows = _images_of(cells, images, config)
    of_images = class_values(align(images, read_table(config.data.index_folder / index.LABELS)), classes)[rows]
    folds = align(images, read_table(fold_folder / fold.FOLDS)).set_index("image_id")["fold"]
    evidence, in_images = _evidence(config, files, cells, folds, classes)
    metrics: dict[str, object] = {}
    known, known_weight = None, 1.0
    if config.ratings is not None:
        found = _of_found_cells(config, ratings, graded, cells)
        known, known_weight = rated_labels(found, cells, classes, config.ratings.values), config.ratings.weight
        agreement = as_records(rank_agreement(found, cells, evidence, classes))
        metrics["ratings"] = {"graded": len(ratings), "used": len(found), "rank_agreement": agreement}
    labels = soft_labels(rows, of_images, evidence, classes, config.rule, in_images, known)
    weights = cell_weights(cells, labels, of_images, config.weights, known, known_weight)
    if not weights.any():
        raise ValueError(f"{config.out}: every cell has weight 0; look at `weights` and at the cell table")
    metrics |= {"cells": len(cells), "images": len(np.unique(rows)), "weight": float(weights.sum())}
    metrics["per_class"] = as_records(positives_per_class(labels, weights, classes))
    if config.truth is not None:
        compared = {"labels": labels, "evidence": evidence, "image_labels": of_images}
        metrics["agreement"] = _agreement(
            compared, align(cells, read_table(files["truth"], CELL_KEY), CELL_KEY), classes
        )
    with build(config.out, record) as folder:
        table = class_table(cells[list(CELL_KEY)], labels, classes)
        write_table(folder / LABELS, table.assign(weight=weights.astype(np.float32)))
        write_json(folder / METRICS, metrics)
    say(f"{config.out}: {len(cells)} cells, {int((labels >= 0.5).sum())} positive labels")
    return config.out


def _files(config: MakePseudoLabelsConfig) -> dict[str, Path]:
    """The tables that are read, by their names in the record."""
    files = {f"cell scores {i}": find_scores(source.path, "cell") for i, source in enumerate(config.cell_scores)}
    if config.image_scores is not None:
        files["image scores"] = find_scores(config.image_scores, "image")
    if config.truth is not None:
        files["truth"] = config.truth / true_labels.LABELS if config.truth.is_dir() else config.truth
    if config.ratings is not None:
        files["ratings"] = config.ratings.path
    return files


def _images_of(
    cells: pd.DataFrame, images: pd.DataFrame, config: MakePseudoLabelsConfig
) -> Int64[np.ndarray, " cells"]:
    """Position of every cell's image in the data set."""
    rows: Int64[np.ndarray, " cells"] = pd.Index(images["image_id"]).get_indexer(cells["image_id"]).astype(np.int64)
    if (rows < 0).any():
        name = cells["image_id"][rows < 0].iloc[0]
        raise ValueError(f"{config.cells}: has cells of image {name}, which {config.data.index_folder} does not have")
    return rows


def _evidence(
    config: MakePseudoLabelsConfig, files: dict[str, Path], cells: pd.DataFrame, folds: pd.Series, classes: ClassList
) -> tuple[Probabilities, Probabilities | None]:
    """The evidence in every cell, and the probabilities of its image, if there are some."""
    names = [name for name in files if name.startswith("cell scores")]
    tables = {name: read_table(files[name], CELL_KEY) for name in names}
    image_path = files.get("image scores")
    image_table = None if image_path is None else read_table(image_path, IMAGE_KEY)
    every = [*tables.values(), *(() if image_table is None else (image_table,))]
    require_folds(every, folds)
    if not all("fold" in table.columns for table in every):
        say(f"{config.out}: some scores do not say their folds; make sure that they are out of fold")
    in_images = None
    if image_path is not None and image_table is not None:
        member = MemberConfig(name=str(image_path), level="image", paths=(image_path,))
        in_images = member_values([image_table], cells, classes, member)
    if not tables:
        assert in_images is not None
        return in_images, in_images
    members = tuple(
        MemberConfig(name=name, paths=(files[name],), weight=source.weight)
        for name, source in zip(names, config.cell_scores, strict=True)
    )
    table = fuse({name: [table] for name, table in tables.items()}, cells, classes, FusionConfig(members=members))
    return class_values(table, classes), in_images


def _read_ratings(config: MakePseudoLabelsConfig, classes: ClassList) -> tuple[pd.DataFrame, dict[str, Path]]:
    """Ratings, and the label maps that they number, by image; no maps where they number the found cells."""
    if config.ratings is None:
        return pd.DataFrame(), {}
    ratings = read_ratings(config.ratings.path, classes, config.ratings.sets)
    if config.ratings.label_maps is None:
        return ratings, {}
    folder, pattern = config.ratings.label_maps, config.ratings.pattern
    names = [name for name in ratings["image_id"].unique() if label_map_path(config.cells, CELLS, name).is_file()]
    return ratings, {name: find_label_map(folder, pattern, name) for name in names}


def _of_found_cells(
    config: MakePseudoLabelsConfig, ratings: pd.DataFrame, graded: dict[str, Path], cells: pd.DataFrame
) -> pd.DataFrame:
    """Ratings with the numbers of the found cells; those of graded cells that were not found are left out."""
    assert config.ratings is not None
    if config.ratings.label_maps is None:
        return require_rated_cells(ratings, cells)
    numbers = {}
    for image_id, path in graded.items():
        found = read_label_map(label_map_path(config.cells, CELLS, image_id))
        pairs = match_instances(read_label_map(path), found, config.ratings.iou)
        numbers[image_id] = dict(zip(pairs.true_ids.tolist(), pairs.predicted_ids.tolist(), strict=True))
    return carry_ratings(ratings, numbers)


def _agreement(compared: dict[str, Targets], truth: pd.DataFrame, classes: ClassList) -> dict[str, object]:
    """How well each table of values agrees with the true labels of the cells that have some."""
    has_truth = truth["weight"].to_numpy() > 0 if "weight" in truth.columns else np.ones(len(truth), bool)
    true = (class_values(truth, classes)[has_truth] >= 0.5).astype(np.float32)
    chosen = {name: values[has_truth] for name, values in compared.items()}
    return {"cells": int(has_truth.sum()), **summarise_agreement(chosen, true, classes)}
