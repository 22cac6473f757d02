"""The figures and the page of a whole pipeline: every method scored alike, and cells to look at."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import LabelMap
from hpa.artifacts import read_json, write_json
from hpa.evaluation import CompetitionScore, bootstrap, match_instances, score_label_maps
from hpa.images import composite
from hpa.labels import HPA2021
from hpa.progress import tracked
from hpa.report import LabelledCells, pipeline_report
from hpa.segmentation import find_label_map, read_label_map
from hpa.stages.cell_level.cell_level_config import CELL_SCORES
from hpa.stages.cell_level.fuse import PROBABILITIES
from hpa.stages.cells.cells_config import CELL_TABLE, CELLS, IMAGE_TABLE, label_map_path
from hpa.stages.data.dataset_config import SimulatedSource
from hpa.stages.data.index import LABELS
from hpa.stages.data.indexed_images import open_index
from hpa.stages.pipeline.pipeline_config import PipelineConfig, TruthConfig
from hpa.stages.submission.build_submission import SCORE
from hpa.submission import confidences
from hpa.tables import CELL_KEY, read_table

METRICS, REPORT, PER_CLASS = "metrics.json", "report.html", "per_class.csv"
SHOWN = 2
"""Classes written into a cell."""
LEAST_SHOWN = 0.05
"""Confidence below which a class is not written."""

MATCH_IOU = 0.5
"""From which a found cell is taken for a true one, to say whether its likeliest class is right."""


def write_report(
    config: PipelineConfig,
    methods: Mapping[str, Mapping[str, Path]],
    submission: Path,
    steps: Mapping[str, float],
    cells: Path,
) -> None:
    """Score every method on the test images, where their truth is known, and write `metrics.json` and the page.

    Args:
        config: of the pipeline.
        methods: by name, the folders of its scores, of which `test` is scored.
        submission: folder of the finished submission.
        steps: seconds of every step.
        cells: artifact of `segment_cells` of the test images.
    """
    truth = config.truth_of(config.test_data)
    rows, per_class = [], pd.DataFrame(index=pd.Index(HPA2021.names, name="class"))
    if truth is not None:
        for name, folders in tracked(methods.items(), "scoring methods", len(methods)):
            found = score_method(config, read_scores(folders["test"]), cells, truth)
            low, high = bootstrap(found)
            rows.append({"method": name, "map": found.map, "low": low, "high": high})
            per_class[name] = found.counts["ap"].to_numpy()
    table = pd.DataFrame(rows, columns=["method", "map", "low", "high"])
    submitted = read_json(submission / SCORE)["mAP"] if (submission / SCORE).is_file() else None
    metrics = {
        "map": {row.method: row.map for row in table.itertuples()},
        "interval": {row.method: [row.low, row.high] for row in table.itertuples()},
        "map_submission": submitted,
        "seconds": round(sum(steps.values()), 1),
        "steps": dict(steps),
    }
    write_json(config.out / METRICS, metrics)
    per_class.to_csv(config.out / PER_CLASS)
    images = read_table(cells / IMAGE_TABLE)
    is_simulated = isinstance(config.test.source, SimulatedSource)
    warning = "Measured on simulated cells, which this project's own simulator drew: real cells are harder."
    pipeline_report(
        config.out / REPORT,
        methods=table,
        per_class=per_class,
        examples=_examples(config, read_scores(methods["fused"]["test"]), cells, truth),
        steps=steps,
        summary={
            "Images": f"{len(images)} test images with {int(images['cells'].sum())} cells found",
            "Segmenter": config.segmenter.kind,
            "Members of the fusion": ", ".join(f"{k} {v:g}" for k, v in config.fusion.weights.items() if v > 0),
            "Submission": str(submission),
        },
        config=config.model_dump(mode="json"),
        warnings=[warning] if is_simulated else [],
    )


def score_method(config: PipelineConfig, scores: pd.DataFrame, cells: Path, truth: TruthConfig) -> CompetitionScore:
    """The competition's score of a method's cells, after the submission's rules for confidences.

    Args:
        config: gives those rules.
        scores: image_id, cell_id, one column per class.
        cells: artifact of `segment_cells`, whose label maps are the detections.
        truth: the true cells.
    """
    quality, sizes = read_table(cells / CELL_TABLE, CELL_KEY), read_table(cells / IMAGE_TABLE)
    table = confidences(scores, quality, HPA2021, config.confidence, sizes)
    labels = read_table(truth.labels, [*CELL_KEY, *HPA2021.names])[[*CELL_KEY, *HPA2021.names]]
    labels[list(HPA2021.names)] = (labels[list(HPA2021.names)] >= 0.5).astype(np.float32)
    ids = sorted(set(labels["image_id"]))
    return score_label_maps(
        LabelMaps(truth.label_maps, ids), labels, LabelMaps(cells / CELLS, sizes["image_id"]), table, HPA2021
    )


def read_scores(folder: Path) -> pd.DataFrame:
    """image_id, cell_id and one column per class, as a step left them in its folder."""
    name = CELL_SCORES if (folder / CELL_SCORES).is_file() else PROBABILITIES
    return read_table(folder / name, [*CELL_KEY, *HPA2021.names])[[*CELL_KEY, *HPA2021.names]]


class LabelMaps(Mapping[str, LabelMap]):
    """Label maps of a folder by image, each read when it is asked for."""

    def __init__(self, folder: Path, image_ids: list[str] | pd.Series) -> None:
        self._folder, self._ids = folder, list(image_ids)

    def __getitem__(self, image_id: str) -> LabelMap:
        return read_label_map(find_label_map(self._folder, "{image_id}", image_id))

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def _examples(
    config: PipelineConfig, scores: pd.DataFrame, cells: Path, truth: TruthConfig | None
) -> list[LabelledCells]:
    indexed = open_index(config.test_data.index_folder)
    table = indexed.table
    chosen = np.unique(np.linspace(0, len(table) - 1, min(config.examples, len(table))).round().astype(int))
    true = None if truth is None else read_table(truth.labels, [*CELL_KEY, *HPA2021.names])
    image_labels = read_table(config.test_data.index_folder / LABELS)
    found = []
    for row in table.iloc[chosen].itertuples():
        own = scores[scores["image_id"] == row.image_id].set_index("cell_id")[list(HPA2021.names)]
        label_map = read_label_map(label_map_path(cells, CELLS, row.image_id))
        is_right: dict[int, bool] = {}
        if truth is not None and true is not None:
            is_right = _right(
                own,
                label_map,
                LabelMaps(truth.label_maps, [row.image_id])[row.image_id],
                true[true["image_id"] == row.image_id],
            )
        named = image_labels[image_labels["image_id"] == row.image_id] if len(image_labels) else image_labels
        labels = [name for name in HPA2021.names if len(named) and named[name].iloc[0] > 0]
        found.append(
            LabelledCells(
                row.image_id,
                composite(indexed.reader(tuple(row.paths)), indexed.reader.channels),
                label_map,
                {int(cell_id): _words(values) for cell_id, values in own.iterrows()},
                is_right,
                labels,
            )
        )
    return found


def _words(values: pd.Series) -> str:
    """The likeliest classes of a cell, shortened, a line each."""
    best = values.sort_values(ascending=False, kind="stable").head(SHOWN)
    kept = [(str(name), value) for name, value in best.items() if value >= LEAST_SHOWN] or [
        (str(best.index[0]), best.iloc[0])
    ]
    return "\n".join(f"{name[:12]} {value:.2f}" for name, value in kept)


def _right(own: pd.DataFrame, label_map: LabelMap, true_map: LabelMap, true: pd.DataFrame) -> dict[int, bool]:
    """By found cell that shows a true one with labels, whether its likeliest class is among them."""
    pairs = match_instances(true_map, label_map, MATCH_IOU)
    labels = true.set_index("cell_id")[list(HPA2021.names)]
    return {
        int(cell_id): bool(labels.loc[true_id, own.loc[cell_id].idxmax()] >= 0.5)
        for true_id, cell_id in zip(pairs.true_ids.tolist(), pairs.predicted_ids.tolist(), strict=True)
        if true_id in labels.index and cell_id in own.index
    }
