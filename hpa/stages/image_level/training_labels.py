"""What a training learns from each image in the place of the data set's labels: read from a decision table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpa.arrays import Float32, Int64, Targets
from hpa.artifacts import ArtifactError, file_digest, read_record
from hpa.stages.data.dataset import Dataset
from hpa.tables import align, class_values, read_table

DECISIONS = "decisions.parquet"
DENOISING = "denoise"


@dataclass(frozen=True, eq=False)
class TrainingLabels:
    """Labels and weights to learn from, for every image of a data set.

    Attributes:
        targets: labels in [0, 1].
        weights: how much each image counts, 0 and above; images of weight 0 are not learned from.
    """

    targets: Targets
    weights: Float32[np.ndarray, " items"]

    def learned(self, rows: Int64[np.ndarray, " training"]) -> Int64[np.ndarray, " learned"]:
        """The rows whose weight is not 0.

        Raises:
            ValueError: none is left.
        """
        kept: Int64[np.ndarray, " learned"] = rows[self.weights[rows] > 0]
        if len(kept) == 0:
            raise ValueError(
                f"decisions: expected an image to learn from, but all {len(rows)} of a training have weight 0; "
                "let the policy drop fewer"
            )
        return kept


def decisions_fingerprint(path: Path) -> str:
    """What identifies decisions: the fingerprint of the artifact, or the digest of a `.parquet` table given by itself.

    Raises:
        ArtifactError: there are none, or a folder is not one of `denoise`.
    """
    if path.suffix != ".parquet":
        return read_record(path, DENOISING).fingerprint
    if not path.is_file():
        raise ArtifactError(f"{path}: there is no decision table; `hpa {DENOISING}` makes it")
    return file_digest(path)


def open_decisions(path: Path, data: Dataset) -> TrainingLabels:
    """Read a decision table: image_id, weight and one column of labels per class, a row for every image.

    Raises:
        ArtifactError: there is none, or it was made for another data set.
        ValueError: its images or classes are not the data set's, or labels or weights are out of range.
    """
    decisions_fingerprint(path)
    file = path
    if path.suffix != ".parquet":
        file = path / DECISIONS
        made_for = read_record(path, DENOISING).inputs.get("index")
        if made_for not in (None, data.fingerprints["index"]):
            raise ArtifactError(
                f"{path}: was made for another data set than {data.folder}; `hpa {DENOISING}` makes one for it"
            )
    table = read_table(file, ("image_id", "weight"))
    try:
        table = align(data.images, table)
        targets = class_values(table, data.classes)
    except ValueError as error:
        raise ValueError(f"{file}: does not belong to the images in {data.folder}: {error}") from None
    weights = table["weight"].to_numpy(np.float32)
    for name, values, most in (("labels in [0, 1]", targets, 1.0), ("weights of 0 and above", weights, np.inf)):
        wrong = ~((values >= 0) & (values <= most) & np.isfinite(values))
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            raise ValueError(
                f"{file}: expected {name}, but image {data.images['image_id'].iloc[row]} has "
                f"{values[wrong][0]} ({int(wrong.sum())} such values)"
            )
    learned = weights > 0
    if not data.classes.multi_label and learned.any():
        sums = targets[learned].sum(axis=1)
        if np.abs(sums - 1).max() > 1e-3:
            row = int(np.flatnonzero(learned)[np.abs(sums - 1).argmax()])
            raise ValueError(
                f"{file}: expected labels that sum to 1, as an image has one class, but those of image "
                f"{data.images['image_id'].iloc[row]} sum to {targets[row].sum():.3f}"
            )
    return TrainingLabels(targets, weights)
