"""How well one label map's instances agree with another's: one-to-one pairs by IoU, precision, recall and F1."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from hpa.arrays import Float64, Int64, LabelMap


@dataclass(frozen=True, eq=False)
class InstanceMatches:
    """Pairs of a true and a predicted instance; n pairs, each instance in one at most.

    Attributes:
        true_ids: numbers in the true label map, rising.
        predicted_ids: their partners' numbers in the predicted map.
        ious: of each pair, from the threshold to 1.
        true_count: instances in the true map.
        predicted_count: instances in the predicted map.
    """

    true_ids: Int64[np.ndarray, " pairs"]
    predicted_ids: Int64[np.ndarray, " pairs"]
    ious: Float64[np.ndarray, " pairs"]
    true_count: int
    predicted_count: int

    @property
    def precision(self) -> float:
        """Share of the predicted instances with a partner; NaN where nothing is predicted."""
        return len(self.ious) / self.predicted_count if self.predicted_count else math.nan

    @property
    def recall(self) -> float:
        """Share of the true instances with a partner; NaN where there are none."""
        return len(self.ious) / self.true_count if self.true_count else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where both maps are empty, which is agreement."""
        total = self.true_count + self.predicted_count
        return 2 * len(self.ious) / total if total else 1.0

    @property
    def mean_iou(self) -> float:
        """Mean over the pairs; NaN where there are none."""
        return float(self.ious.mean()) if len(self.ious) else math.nan


def match_instances(true: LabelMap, predicted: LabelMap, iou: float = 0.5) -> InstanceMatches:
    """Pair the instances of two label maps: as many pairs as possible, then the highest sum of their IoUs.

    Above an IoU of 0.5 no instance has two candidates, so that nothing is left to choose.

    Args:
        true: 0 is background; numbers may have gaps.
        predicted: of the same image; its numbers need not agree.
        iou: least IoU of a pair, in (0, 1].

    Raises:
        ValueError: a threshold outside (0, 1], or maps of different sizes.

    >>> found = match_instances(np.array([[1, 1, 2]], np.uint16), np.array([[7, 7, 7]], np.uint16), 0.6)
    >>> found.true_ids.tolist(), found.predicted_ids.tolist(), found.f1
    ([1], [7], 0.6666666666666666)
    """
    if not 0 < iou <= 1:
        raise ValueError(f"expected an IoU threshold above 0 and up to 1, but got {iou}")
    true_ids, predicted_ids, rows, columns, ious = _overlapping_pairs(true, predicted)
    candidates = ious >= iou
    chosen = _assign(rows[candidates], columns[candidates], ious[candidates])
    order = chosen[np.argsort(rows[candidates][chosen])]
    return InstanceMatches(
        true_ids=true_ids[rows[candidates][order]],
        predicted_ids=predicted_ids[columns[candidates][order]],
        ious=ious[candidates][order],
        true_count=len(true_ids),
        predicted_count=len(predicted_ids),
    )


def f1_at_iou(true: LabelMap, predicted: LabelMap, iou: float = 0.6) -> float:
    """F1 of the predicted instances at an IoU threshold, as `match_instances` pairs them; in [0, 1]."""
    return match_instances(true, predicted, iou).f1


def _overlapping_pairs(true: LabelMap, predicted: LabelMap) -> tuple[np.ndarray, ...]:
    """Numbers of the instances in each map, and row, column and IoU of the pairs that share pixels."""
    if true.shape != predicted.shape:
        raise ValueError(f"expected two label maps of one size, but got {true.shape} and {predicted.shape}")
    true_areas, predicted_areas = np.bincount(true.ravel()), np.bincount(predicted.ravel())
    true_areas[:1] = predicted_areas[:1] = 0
    true_ids, predicted_ids = np.flatnonzero(true_areas), np.flatnonzero(predicted_areas)
    both = (true > 0) & (predicted > 0)
    # Sparse: two maps of ten thousand instances have a hundred million pairs, of which few touch.
    cells = (np.ones(int(both.sum()), np.int64), (true[both].astype(np.int32), predicted[both].astype(np.int32)))
    shared = sparse.coo_array(cells, shape=(max(len(true_areas), 1), max(len(predicted_areas), 1))).tocsr().tocoo()
    rows, columns = shared.coords
    ious = shared.data / (true_areas[rows] + predicted_areas[columns] - shared.data)
    return (
        true_ids,
        predicted_ids,
        np.searchsorted(true_ids, rows),
        np.searchsorted(predicted_ids, columns),
        ious,
    )


def _assign(
    rows: Int64[np.ndarray, " candidates"],
    columns: Int64[np.ndarray, " candidates"],
    ious: Float64[np.ndarray, " candidates"],
) -> Int64[np.ndarray, " pairs"]:
    """Which candidates become pairs."""
    if not len(rows):
        return np.zeros(0, np.int64)
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    rest = np.flatnonzero(~alone)
    if not len(rest):
        return np.flatnonzero(alone)
    _, row = np.unique(rows[rest], return_inverse=True)
    _, column = np.unique(columns[rest], return_inverse=True)
    candidate = np.full((row.max() + 1, column.max() + 1), -1)
    candidate[row, column] = rest
    # One more pair outweighs every gain in IoU, whose sum is at most the number of pairs.
    worth = np.where(candidate >= 0, min(candidate.shape) + ious[candidate], 0)
    assigned = candidate[optimize.linear_sum_assignment(worth, maximize=True)]
    return np.concatenate([np.flatnonzero(alone), assigned[assigned >= 0]])
