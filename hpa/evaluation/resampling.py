"""How far mAP would move on other images of the same kind: a bootstrap over images, without matching again."""

import numpy as np
from scipy import sparse

from hpa.arrays import Bool, Float64, Int64
from hpa.evaluation.competition import CompetitionScore

MEMORY = 64 * 2**20
"""Bytes that the largest array of one batch of rounds may take."""


def bootstrap(score: CompetitionScore, rounds: int = 1000, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Interval of mAP when the images are drawn again with replacement.

    An image that is drawn several times counts as so many images. A class without truth among the images drawn leaves
    the mean of that round; a round without any class is not counted. The rounds' percentiles are moved by the distance
    from the rounds' mean to the score: repeated images make runs of hits, on which the envelope of precision feeds, so
    that the rounds lie above the score, sometimes all of them. Images of one sample or antibody resemble each other:
    for new samples the interval is wider than this one.

    Args:
        score: of the images, as `hpa.evaluation.score` gives it.
        rounds: how often to draw.
        seed: decides the draws.
        level: share of the rounds inside the interval, in (0, 1).

    Returns:
        Low and high end, in [0, 1]; NaN where no class has truth.

    Raises:
        ValueError: less than one round, or a level outside (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 10 (bias) and 13 (percentiles).
    """
    if rounds < 1 or not 0 < level < 1:
        raise ValueError(f"expected at least one round and a level between 0 and 1, but got {rounds} and {level}")
    generator = np.random.default_rng(seed)
    count = len(score.images)
    rankings = _rankings(score)
    longest = max([count, *(len(ranking.hit_images) for ranking in rankings)])
    batch = max(1, MEMORY // (8 * longest))
    values = []
    for begin in range(0, rounds, batch):
        weights = generator.multinomial(count, np.full(count, 1 / count), size=min(batch, rounds - begin))
        values.append(_mean(rankings, weights.astype(np.float64)))
    kept = np.concatenate(values)
    kept = kept[~np.isnan(kept)]
    if not len(kept):
        return float("nan"), float("nan")
    moved = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2]) + score.map - kept.mean()
    low, high = np.clip(moved, 0, 1)
    return float(low), float(high)


class _Ranking:
    """One class's ranking, reduced to what decides average precision: its true positives, and what lies between them.

    Attributes:
        objects: of the class, per image.
        hit_images: image of each true positive, best first.
        misses: false positives per image and gap, those before the first true positive in the first gap and so on;
            those after the last true positive change nothing.
    """

    def __init__(
        self,
        objects: Float64[np.ndarray, " images"],
        images: Int64[np.ndarray, " detections"],
        hits: Bool[np.ndarray, " detections"],
    ) -> None:
        self.objects = objects
        self.hit_images = images[hits]
        gap = np.cumsum(hits)
        between = ~hits & (gap < len(self.hit_images))
        cells = (np.ones(int(between.sum())), (images[between], gap[between]))
        self.misses = sparse.csr_array(sparse.coo_array(cells, shape=(len(objects), len(self.hit_images))))

    def average_precision(self, weights: Float64[np.ndarray, "rounds images"]) -> Float64[np.ndarray, " rounds"]:
        """With every image counted as often as its weight says; NaN where there is nothing to find."""
        objects = weights @ self.objects
        steps = weights[:, self.hit_images]
        found = np.cumsum(steps, axis=1)
        ranked = found + np.cumsum((self.misses.T @ weights.T).T, axis=1)
        precision = np.divide(found, ranked, out=np.zeros_like(found), where=ranked > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        result: Float64[np.ndarray, " rounds"] = np.divide(
            (steps * envelope).sum(axis=1), objects, out=np.full(len(weights), np.nan), where=objects > 0
        )
        return result


def _rankings(score: CompetitionScore) -> list[_Ranking]:
    ids = score.images["image_id"]
    position = dict(zip(ids.tolist(), range(len(ids)), strict=True))
    object_images = np.array([position[name] for name in score.objects["image_id"]], np.int64)
    detection_images = np.array([position[name] for name in score.detections["image_id"]], np.int64)
    object_classes = score.objects["class_number"].to_numpy()
    detection_classes = score.detections["class_number"].to_numpy()
    hits = score.detections["is_matched"].to_numpy(bool)
    rankings = []
    for number in np.unique(object_classes):
        objects = np.bincount(object_images[object_classes == number], minlength=len(ids)).astype(np.float64)
        chosen = detection_classes == number
        rankings.append(_Ranking(objects, detection_images[chosen], hits[chosen]))
    return rankings


def _mean(rankings: list[_Ranking], weights: Float64[np.ndarray, "rounds images"]) -> Float64[np.ndarray, " rounds"]:
    """Mean over the classes with something to find, per round."""
    total, known = np.zeros(len(weights)), np.zeros(len(weights))
    for ranking in rankings:
        values = ranking.average_precision(weights)
        total += np.nan_to_num(values)
        known += ~np.isnan(values)
    result: Float64[np.ndarray, " rounds"] = np.divide(total, known, out=np.full(len(weights), np.nan), where=known > 0)
    return result
