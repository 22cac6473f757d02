"""Every detector of `detect_anomalies` applied to what it looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpa.anomaly.combinations import RareCombinationConfig, rare_combinations
from hpa.anomaly.duplicates import DuplicateConfig, duplicates, similar_pairs
from hpa.anomaly.findings import Finding
from hpa.anomaly.histogram import HistogramConfig, JointHistogramConfig, histogram
from hpa.anomaly.intensity import IntensityConfig, chosen_channels, intensity
from hpa.anomaly.label_issues import LabelInputs, label_finding
from hpa.anomaly.label_methods import Combination, NeighbourVote
from hpa.anomaly.neighbours import nearest
from hpa.anomaly.outliers import find_outliers
from hpa.anomaly.quality import (
    NearlyEmptyConfig,
    OutOfFocusConfig,
    SaturatedConfig,
    nearly_empty,
    out_of_focus,
    saturated,
)
from hpa.anomaly.references import References, references
from hpa.anomaly.swapped import SwappedConfig, swapped_channels
from hpa.arrays import Float32, Int64, Targets
from hpa.artifacts import ArtifactError, file_digest
from hpa.stages.anomalies.anomaly_items import Items, embedding_digest, embedding_of
from hpa.stages.anomalies.detect_anomalies_config import (
    PATHS,
    AnyDetector,
    DetectAnomaliesConfig,
    LabelDetector,
    detector_name,
)
from hpa.stages.anomalies.pixel_figures import Figures, joint_name, measures_of
from hpa.stages.cell_level.fuse import find_scores
from hpa.stages.image_level.run_margins import MARGINS
from hpa.tables import align, class_values, read_table


def input_digests(config: DetectAnomaliesConfig, detectors: Sequence[AnyDetector]) -> dict[str, str]:
    """What identifies the files that detectors read besides the pixels, by detector and field.

    Raises:
        ArtifactError: one is not there; says what makes it.
    """
    found, known = {}, {}
    for detector in detectors:
        for field in PATHS:
            path = getattr(detector, field, None)
            if path is None:
                continue
            if (field, path) not in known:
                known[field, path] = _digest(field, path, config)
            found[f"{detector_name(detector)} {field}"] = known[field, path]
    return found


def _digest(field: str, path: Path, config: DetectAnomaliesConfig) -> str:
    match field:
        case "embedding":
            return embedding_digest(path)
        case "margins":
            return file_digest(_margins_table(path))
        case _:
            return file_digest(find_scores(path, config.level))


def _margins_table(path: Path) -> Path:
    table = path / MARGINS if path.is_dir() else path
    if not table.is_file():
        raise ArtifactError(f"{table}: not there; `hpa train_image_level` writes it with margins=true")
    return table


@dataclass(frozen=True, eq=False)
class Detection:
    """Applies detectors to the same images or cells.

    Attributes:
        items: what is judged.
        figures: what was taken from the pixels.
        config: level, for the tables of probabilities.
    """

    items: Items
    figures: Figures
    config: DetectAnomaliesConfig

    def find(self, detector: AnyDetector) -> Finding:
        """What a detector finds.

        Raises:
            ValueError: what it needs is not there or does not fit; begins with the detector's name.
        """
        try:
            return self._find(detector)
        except ArtifactError:
            raise
        except ValueError as error:
            name = detector_name(detector)
            raise ValueError(str(error) if str(error).startswith(name) else f"{name}: {error}") from None

    def _find(self, detector: AnyDetector) -> Finding:
        items = self.items
        channels = items.pixels.channels
        match detector:
            case IntensityConfig():
                return intensity(items.means, channels, self._compared(detector.least), detector)
            case HistogramConfig():
                counts = self.figures["histograms"] if items.histograms is None else items.histograms
                used = channels if detector.channels is None else chosen_channels(channels, detector.channels)
                numbers = [channels.index(name) for name in used]
                return histogram(counts[:, numbers], self._compared(detector.least), detector)
            case JointHistogramConfig():
                counts = self.figures[joint_name(*detector.channels)]
                return histogram(counts, self._compared(detector.least), detector)
            case OutOfFocusConfig():
                return out_of_focus(measures_of(self.figures), detector)
            case SaturatedConfig():
                return saturated(measures_of(self.figures), channels, detector)
            case NearlyEmptyConfig():
                return nearly_empty(measures_of(self.figures), detector)
            case SwappedConfig():
                return swapped_channels(measures_of(self.figures), channels, items.groups, detector)
            case DuplicateConfig():
                pairs = similar_pairs(self.figures["thumbnails"], detector)
                return duplicates(items.names(), pairs, detector)
            case LabelDetector():
                return self._labels(detector)
            case RareCombinationConfig():
                return rare_combinations(self._labels_given(), items.classes, detector)
            case _:
                embedding = embedding_of(detector.embedding, items)
                found = find_outliers(embedding, items.targets, detector, detector_name(detector))
                return self._with_class_names(found)

    def _compared(self, least: int) -> References:
        return references(self.items.targets, self.items.classes.names, len(self.items.keys), least)

    def _with_class_names(self, found: Finding) -> Finding:
        """Class numbers among the details as names, -1 as `all`, in the column `<name>_reference`."""
        column = f"{found.name}_class"
        if found.details is None or column not in found.details:
            return found
        names = np.asarray([*self.items.classes.names, "all"], object)
        details = found.details.drop(columns=column)
        details[f"{found.name}_reference"] = names[found.details[column].to_numpy()].astype(str)
        return Finding(found.name, found.scores, found.flags, details)

    def _labels_given(self) -> Targets:
        if self.items.targets is None:
            raise ValueError("there are no labels to judge; leave the detector out")
        return (self.items.targets >= 0.5).astype(np.float32)

    def _labels(self, detector: LabelDetector) -> Finding:
        targets = self._labels_given()
        probabilities = None
        if detector.probabilities is not None:
            probabilities = self._class_table(find_scores(detector.probabilities, self.config.level))
        margins = None if detector.margins is None else self._margins(_margins_table(detector.margins))
        inputs = LabelInputs(
            targets, self.items.classes, probabilities, self._neighbours(detector), margins, self.items.groups
        )
        return label_finding(detector.name, detector.method, inputs)

    def _class_table(self, path: Path) -> Targets:
        try:
            return class_values(
                align(self.items.keys, read_table(path, self.items.key), self.items.key), self.items.classes
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def _margins(self, path: Path) -> Float32[np.ndarray, "items classes"]:
        """Margins, NaN for images that were never learned from."""
        names = list(self.items.classes.names)
        table = align(self.items.keys, read_table(path, (*self.items.key, *names)), self.items.key)
        values: Float32[np.ndarray, "items classes"] = table[names].to_numpy(np.float32)
        return values

    def _neighbours(
        self, detector: LabelDetector
    ) -> tuple[Float32[np.ndarray, "items k"], Int64[np.ndarray, "items k"]] | None:
        if detector.embedding is None or not isinstance(detector.method, NeighbourVote | Combination):
            return None
        wanted = min(detector.method.neighbours, len(self.items.keys) - 1)
        return nearest(embedding_of(detector.embedding, self.items), None, wanted, detector.search)
