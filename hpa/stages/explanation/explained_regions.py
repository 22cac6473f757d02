"""Where the cells of an item are, and where it shows a class: what maps of attribution are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import Bool, LabelMap
from hpa.artifacts import read_record
from hpa.cell_cache import CellCache
from hpa.classification.label_grid import shrink_label_map, square_label_map
from hpa.explain.perturbation_config import CellSegments, SegmentMethod
from hpa.images import Fit
from hpa.labels import HPA2021
from hpa.segmentation import read_label_map
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cells_config import CELLS, label_map_path
from hpa.stages.data import simulate
from hpa.stages.data.dataset_config import SimulatedSource
from hpa.stages.explanation.explain_config import ExplainConfig
from hpa.stages.explanation.explained_items import Explainable
from hpa.stages.explanation.explained_questions import Subject
from hpa.stages.image_level.trained_run import TrainedRun
from hpa.tables import CELL_KEY, read_table

IN_NUCLEUS = frozenset(HPA2021.names[:6])
"""Classes whose structure is in the nucleus, or is its membrane."""
IN_WHOLE_CELL = frozenset({"Mitotic spindle", "Negative"})
"""Classes that belong to neither part: a dividing cell has no nucleus, and Negative no structure."""

TRUE_CELLS, TRUE_PART, ANY_CELL, OWN_CELL = "true_cells", "true_part", "any_cell", "own_cell"
"""Names of regions: cells that show the class in truth, the part of those where its structure is (nucleus or what is
around it), all cells of an image, the cell that is explained."""


@dataclass(frozen=True)
class SimulatedTruth:
    """The true cells of a simulated atlas.

    Attributes:
        folder: `truth` of the atlas.
        cells: image_id, cell_id, one column per class.
    """

    folder: Path
    cells: pd.DataFrame


@dataclass(frozen=True)
class Regions:
    """Cells of items at the scale of their pixels.

    Attributes:
        found: the items.
        size: side of an item, pixels.
        fit: how images became square.
        cells: artifact of `segment_cells`, where one was given.
        truth: of simulated images.
    """

    found: Explainable
    size: int
    fit: Fit
    cells: Path | None
    truth: SimulatedTruth | None

    def cell_map(self, subject: Subject) -> LabelMap | None:
        """Where the cells are: of an image all, of a cell its own; None where nothing is known."""
        source = self.found.items.source
        if isinstance(source, CellCache):
            mask = source.read(np.array([subject.row]))[0, len(source.channels)]
            return np.asarray(mask > 0, np.uint16)
        if self.cells is not None:
            return self._read(label_map_path(self.cells, CELLS, subject.image_id))
        if self.truth is not None:
            return self._read(self.truth.folder / "cell_maps" / f"{subject.image_id}.png")
        return None

    def of_classes(
        self, subject: Subject, classes: Sequence[str]
    ) -> dict[str, Bool[np.ndarray, "classes height width"]]:
        """By name, where the item shows each class; empty where it does not show it."""
        own = self.cell_map(subject)
        if isinstance(self.found.items.source, CellCache):
            assert own is not None
            return {OWN_CELL: np.repeat((own > 0)[None], len(classes), axis=0)}
        regions = {} if own is None else {ANY_CELL: np.repeat((own > 0)[None], len(classes), axis=0)}
        if self.truth is not None:
            cells, nuclei = (
                self._read(self.truth.folder / name / f"{subject.image_id}.png")
                for name in ("cell_maps", "nucleus_maps")
            )
            known = self.truth.cells[self.truth.cells["image_id"] == subject.image_id]
            shown = [np.isin(cells, known.loc[known[name] > 0, "cell_id"].to_numpy(np.uint16)) for name in classes]
            parts = [where & _part(name, nuclei > 0) for name, where in zip(classes, shown, strict=True)]
            regions |= {TRUE_CELLS: np.stack(shown), TRUE_PART: np.stack(parts)}
        return regions

    def _read(self, path: Path) -> LabelMap:
        return shrink_label_map(square_label_map(read_label_map(path), self.fit), self.size)


def open_regions(config: ExplainConfig, found: Explainable) -> tuple[Regions, dict[str, str]]:
    """What is known of the items' cells, and fingerprints of where it comes from.

    Raises:
        ArtifactError: `cells` is no artifact of `segment_cells`.
        ValueError: its cells are not those of the images.
    """
    inputs: dict[str, str] = {}
    fit: Fit = found.run.content.fit if isinstance(found.run, TrainedRun) else "stretch"
    truth, cells = None, None
    if config.level == "image":
        cells = config.cells
        if cells is not None:
            record = read_record(cells, segment_cells.STAGE)
            if record.inputs.get("index") != found.items.fingerprints["index"]:
                raise ValueError(
                    f"cells: those in {cells} are not of the images in {config.data.index_folder}; give the folder "
                    f"that `hpa {segment_cells.STAGE}` made from the same data section"
                )
            inputs["cells"] = record.fingerprint
        if isinstance(config.data.source, SimulatedSource) and set(found.classes.names) <= set(HPA2021.names):
            folder = config.data.simulate_folder
            inputs["truth"] = read_record(folder, simulate.STAGE).fingerprint
            truth = SimulatedTruth(
                folder / "truth", read_table(folder / "truth" / "cells.parquet", [*CELL_KEY, *HPA2021.names])
            )
    return Regions(found, found.items.size, fit, cells, truth), inputs


def require_cells(config: ExplainConfig, regions: Regions, subjects: Sequence[Subject]) -> None:
    """Refuse methods on cells where there are none, before any of the work.

    Raises:
        ValueError: nobody knows the cells; or an image has none, and a method keeps what is not cell.
    """
    on_cells = [
        (name, method.segments)
        for name, method in zip(config.method_names, config.methods, strict=True)
        if isinstance(method, SegmentMethod) and isinstance(method.segments, CellSegments)
    ]
    if not on_cells:
        return
    if regions.cell_map(subjects[0]) is None:
        raise ValueError(
            f"methods: {on_cells[0][0]} hides cells, but nobody knows where they are; give `cells`, the folder that "
            f"`hpa {segment_cells.STAGE}` made from the same data section, or choose segments.kind=superpixels"
        )
    keeping = next((name for name, segments in on_cells if segments.background == "kept"), None)
    if keeping is not None:
        empty = [subject.name for subject in subjects if not np.any(regions.cell_map(subject))]
        if empty:
            raise ValueError(
                f"methods: {keeping} keeps what is not cell, but {empty[:3]} have no cell, so that nothing could be "
                "hidden; choose segments.background=one, or other images"
            )


def _part(name: str, nucleus: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    if name in IN_WHOLE_CELL:
        return np.ones_like(nucleus)
    return nucleus if name in IN_NUCLEUS else ~nucleus
