"""Weights per class that give the highest average precision on out-of-fold scores, and what they gain on other folds.

Cells of one label map do not overlap, so above an IoU of 0.5 no predicted cell has two true ones to choose from, nor do
two predicted cells share one: which cell finds which does not depend on confidences. Masks are therefore matched once;
a change of weights changes the ranking alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Float64, Int64, Probabilities
from hpa.fusion.config import FusionRule
from hpa.fusion.scores import SMALLEST, linear_scores
from hpa.fusion.search import Candidates, SearchConfig, search_shares
from hpa.fusion.weights import Weights
from hpa.labels import ClassList
from hpa.progress import tracked
from hpa.tables import as_records, class_values, json_value

AveragePrecision: TypeAlias = Callable[[Bool[np.ndarray, " detections"], int], float | None]
"""The metric of one class: whether each detection is a true positive, best first, and the number of objects."""


_SHIFT = -np.log(SMALLEST)
"""Makes logarithms of scores 0 or more."""

_SPAN = 32
"""More than any score, or its logarithm, so shifted."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Predicted cells matched with true ones.

    Attributes:
        images: for every predicted cell its image, as the position among the images in rising order of their IDs.
        hits: whether the true cell that it finds, if any, shows the class.
        objects: true cells of every image and class, found or not.
    """

    images: Int64[np.ndarray, " cells"]
    hits: Bool[np.ndarray, "cells classes"]
    objects: Int64[np.ndarray, "images classes"]

    @classmethod
    def of_labels(
        cls, found: pd.DataFrame, truth: pd.DataFrame, images: Sequence[str], classes: ClassList
    ) -> "Matches":
        """From tables of labels, of which 0.5 and more count as 1.

        Args:
            found: image_id of every predicted cell, and the labels of the true cell that it finds; 0 where none.
            truth: image_id and labels of every true cell; those of other images are ignored.
            images: that are scored, rising by code point.
            classes: the columns.

        Raises:
            ValueError: a predicted cell of another image, or no true cell with a class.
        """
        index = pd.Index(images)
        of_cells, of_objects = (index.get_indexer(table["image_id"]).astype(np.int64) for table in (found, truth))
        if (of_cells < 0).any():
            name = found["image_id"].iloc[int(np.flatnonzero(of_cells < 0)[0])]
            raise ValueError(f"expected cells of the {len(images)} images that are scored, but got one of {name}")
        objects, known = np.zeros((len(images), len(classes)), np.int64), of_objects >= 0
        np.add.at(objects, of_objects[known], class_values(truth, classes)[known] >= 0.5)
        if not objects.any():
            raise ValueError("expected true cells of the images that are scored, but there are none")
        return cls(of_cells, class_values(found, classes) >= 0.5, objects)


@dataclass(frozen=True, eq=False)
class Tuning:
    """What tuning found.

    Attributes:
        weights: of every member for every class; a class's sum is that of its starting weights.
        report: per class: class, objects, found (true cells with a predicted one), ap_start and ap_tuned (on the cells
            that the weights were tuned on: optimistic), and cross_fit_start and cross_fit_tuned: the mean over the
            folds, by their objects, of the average precision within a fold, with the starting weights and with those
            tuned on the other folds: what other images may gain. NaN for a class without objects, and without folds.
    """

    weights: Weights
    report: pd.DataFrame

    def summary(self) -> str:
        """What was gained, in a line."""
        before, after, *held_out = self.report[["ap_start", "ap_tuned", "cross_fit_start", "cross_fit_tuned"]].mean()
        text = f"mAP {before:.4f} before tuning, {after:.4f} after"
        return (
            text if np.isnan(held_out).any() else f"{text}; within other folds {held_out[0]:.4f} and {held_out[1]:.4f}"
        )

    def to_json(self) -> dict[str, object]:
        """mAP (means over the classes with objects), the gain on other folds, and the report; None for NaN."""
        measures = ("ap_start", "ap_tuned", "cross_fit_start", "cross_fit_tuned")
        means = {name.replace("ap_", "map_"): json_value(self.report[name].mean()) for name in measures}
        gain = json_value((self.report["cross_fit_tuned"] - self.report["cross_fit_start"]).mean())
        rows = as_records(self.report)
        return {**means, "cross_fit_gain": gain, "per_class": rows}


def tune_weights(
    values: Sequence[Probabilities],
    matches: Matches,
    start: Weights,
    how: FusionRule,
    classes: ClassList,
    average_precision: AveragePrecision,
    config: SearchConfig,
    folds: Int64[np.ndarray, " images"] | None = None,
) -> Tuning:
    """Tune the members' weights, each class by itself: mAP is the mean over the classes.

    Args:
        values: of every member, the same cells as `matches`; out of fold, or the weights favour the member that has
            learned its images by heart.
        matches: which cells find which.
        start: weights to begin from, and to keep where nothing better is found.
        how: the rule of fusion.
        classes: names the columns.
        average_precision: the metric.
        config: the search.
        folds: of every image, to say what tuning gains on images that it did not see; None to skip that.

    Raises:
        ValueError: arrays of different sizes, or fewer than two folds.
    """
    _check(values, matches, start, classes, folds)
    shares = start / start.sum(axis=0)
    # The metric's order of equals: images in falling order, and the earlier cell of an image first.
    order = np.lexsort((np.arange(len(matches.images)), -matches.images))
    images = matches.images[order]
    weights, rows = np.empty_like(shares), []
    for number in tracked(range(len(classes)), "tuning weights of classes", len(classes)):
        task = _Class(
            scores=np.stack([linear_scores(one[:, [number]], how)[order, 0] for one in values], axis=1),
            hits=matches.hits[order, number],
            objects=matches.objects[:, number],
            images=images,
            measure=average_precision,
        )
        weights[:, number] = task.tuned(shares[:, number], config)
        row = {
            "class": classes.names[number],
            "objects": int(task.objects.sum()),
            "found": int(task.hits.sum()),
            "ap_start": task.value(shares[:, number]),
            "ap_tuned": task.value(weights[:, number]),
        }
        rows.append(row | _cross_fit(task, shares[:, number], config, folds))
    return Tuning(weights * start.sum(axis=0), pd.DataFrame(rows))


@dataclass(frozen=True, eq=False)
class _Class:
    """One class's cells in the metric's order of equals."""

    scores: Float64[np.ndarray, "cells members"]
    hits: Bool[np.ndarray, " cells"]
    objects: Int64[np.ndarray, " images"]
    images: Int64[np.ndarray, " cells"]
    measure: AveragePrecision

    def values(self, candidates: Candidates) -> Float64[np.ndarray, " candidates"]:
        """Average precision with each row of shares; NaN without objects."""
        total, cells = int(self.objects.sum()), len(self.hits)
        # Score, place among equals and hit go into one whole number each, for sorting numbers is several times faster
        # than finding their order. Scores less than 1e-9 apart count as equal.
        bits = cells.bit_length() + 1
        steps = 2.0 ** (62 - bits) / _SPAN
        ties = ((cells - 1 - np.arange(cells)) << 1) | self.hits
        scores = np.rint((candidates @ self.scores.T + _SHIFT) * min(steps, 1e10)).astype(np.int64)
        ranked = np.sort((scores << bits) | ties, axis=1)[:, ::-1] & 1
        found = [self.measure(hits, total) for hits in ranked.astype(bool)]
        return np.array([np.nan if value is None else value for value in found], np.float64)

    def value(self, shares: Float64[np.ndarray, " members"]) -> float:
        return float(self.values(shares[None])[0])

    def tuned(self, start: Float64[np.ndarray, " members"], config: SearchConfig) -> Float64[np.ndarray, " members"]:
        """Better shares, or those to start from where the class is too rare to tell."""
        return search_shares(self.values, start, config) if self.hits.sum() >= config.least_objects else start

    def part(self, chosen: Bool[np.ndarray, " images"]) -> "_Class":
        """The same with some of the images."""
        cells = chosen[self.images]
        objects = np.where(chosen, self.objects, 0)
        return _Class(self.scores[cells], self.hits[cells], objects, self.images[cells], self.measure)


def _cross_fit(
    task: _Class,
    start: Float64[np.ndarray, " members"],
    config: SearchConfig,
    folds: Int64[np.ndarray, " images"] | None,
) -> dict[str, float]:
    """Mean over the folds of average precision, with the starting weights and with those tuned on the other folds.

    Within folds, since scores of two folds are fused by two sets of weights here and by one set later.
    """
    sums, total = np.zeros(2), 0
    for fold in np.unique(folds) if folds is not None else ():
        here = folds == fold
        objects = int(task.objects[here].sum())
        if objects:
            held_out = task.part(here)
            tuned = task.part(~here).tuned(start, config)
            sums += objects * np.array([held_out.value(start), held_out.value(tuned)])
            total += objects
    before, after = sums / total if total else (np.nan, np.nan)
    return {"cross_fit_start": float(before), "cross_fit_tuned": float(after)}


def _check(
    values: Sequence[Probabilities],
    matches: Matches,
    start: Weights,
    classes: ClassList,
    folds: Int64[np.ndarray, " images"] | None,
) -> None:
    cells = (len(matches.images), len(classes))
    shapes = {"hits": matches.hits.shape, **{f"values of member {i}": one.shape for i, one in enumerate(values)}}
    for name, shape in shapes.items():
        if shape != cells:
            raise ValueError(f"expected {name} of shape {cells} (cells, classes), but got {shape}")
    if start.shape != (len(values), len(classes)) or not (start >= 0).all() or not (start.sum(axis=0) > 0).all():
        raise ValueError(
            f"expected weights of {len(values)} members and {len(classes)} classes, at least 0 and some above 0 for "
            f"every class, but got {start.tolist()}"
        )
    if matches.objects.shape[1] != len(classes) or (matches.images >= len(matches.objects)).any():
        raise ValueError(
            f"expected objects of every image and class, but got an array of shape {matches.objects.shape}"
        )
    if folds is not None and (folds.shape != matches.objects.shape[:1] or len(np.unique(folds)) < 2):
        raise ValueError(
            f"expected a fold for each of {len(matches.objects)} images and at least two folds, but got "
            f"{len(folds)} images in the folds {np.unique(folds).tolist()}"
        )
