"""The bootstrap: equal to scoring the drawn images anew, the same for a seed, undefined cases."""

import math

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from hpa.evaluation import bootstrap, resampling, score
from hpa.labels import ClassList

THREE = ClassList(names=("x", "y", "z"))


def draw(seed: int, images: int = 6, tied: bool = False) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Truth, predictions and images; cells are columns of 5 × 8 images, some shifted out of reach."""
    generator = np.random.default_rng(seed)
    truth, predictions = [], []
    confidences = generator.permutation(10_000) / 10_000
    for image in range(images):
        for cell in range(int(generator.integers(0, 5))):
            mask = np.zeros((5, 8), np.uint8, order="F")
            mask[:, cell] = 1
            row = (f"i{image}", 5, 8, int(generator.integers(0, 2)), coco.encode(mask)["counts"])
            truth.append((*row, 1.0))
            for number in range(3):
                confidence = 0.5 if tied else float(confidences[len(predictions)])
                if generator.random() < 0.7:
                    predictions.append((*row[:3], number, row[4], confidence))
    columns = ["image_id", "height", "width", "class_number", "counts", "confidence"]
    sizes = pd.DataFrame([(f"i{image}", 5, 8) for image in range(images)], columns=columns[:3])
    return pd.DataFrame(truth, columns=columns), pd.DataFrame(predictions, columns=columns), sizes


def copies(table: pd.DataFrame, drawn: np.ndarray) -> pd.DataFrame:
    """Every image as often as it was drawn, under names of their own."""
    parts = [table[table["image_id"] == f"i{image}"].assign(image_id=f"c{place}") for place, image in enumerate(drawn)]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("seed", range(4))
def test_equals_scoring_the_drawn_images(seed: int) -> None:
    truth, predictions, images = draw(seed)
    found = score(truth, predictions, THREE, images=images)
    weights = np.random.default_rng(seed).multinomial(6, np.full(6, 1 / 6), size=40)
    expected = []
    for weight in weights:
        drawn = np.repeat(np.arange(6), weight)
        again = score(copies(truth, drawn), copies(predictions, drawn), THREE, images=copies(images, drawn))
        expected.append(again.map)
    for level in (0.95, 0.5):
        ends = np.nanquantile(expected, [(1 - level) / 2, (1 + level) / 2]) + found.map - np.nanmean(expected)
        ends = np.clip(ends, 0, 1)
        assert bootstrap(found, rounds=40, seed=seed, level=level) == pytest.approx(tuple(ends), abs=1e-12)


def test_weights_of_one_give_the_score_itself_even_with_ties() -> None:
    truth, predictions, images = draw(7, images=20, tied=True)
    found = score(truth, predictions, THREE, images=images)
    values = resampling._mean(resampling._rankings(found), np.ones((1, 20)))
    assert values[0] == pytest.approx(found.map, abs=1e-12)


def test_batches_do_not_matter(monkeypatch) -> None:
    truth, predictions, images = draw(1)
    found = score(truth, predictions, THREE, images=images)
    whole = bootstrap(found, rounds=50, seed=3)
    monkeypatch.setattr(resampling, "MEMORY", 1)
    assert bootstrap(found, rounds=50, seed=3) == whole
    assert bootstrap(found, rounds=50, seed=4) != whole


def test_covers_the_score_and_narrows_with_the_level() -> None:
    truth, predictions, images = draw(2, images=30)
    found = score(truth, predictions, THREE, images=images)
    low, high = bootstrap(found, rounds=300)
    narrow = bootstrap(found, rounds=300, level=0.5)
    assert low < narrow[0] < found.map < narrow[1] < high


def test_holds_the_score_where_the_rounds_lie_above_it() -> None:
    # Confidences that say nothing: what the envelope gains is luck, and repeated images bring more of it.
    truth, predictions, images = draw(0, images=400)
    found = score(truth, predictions, THREE, images=images)
    weights = np.random.default_rng(0).multinomial(400, np.full(400, 1 / 400), size=100).astype(float)
    rounds = resampling._mean(resampling._rankings(found), weights)
    assert rounds.mean() > found.map
    low, high = bootstrap(found, rounds=100)
    assert low < found.map < high
    assert high - low == pytest.approx(np.ptp(np.quantile(rounds, [0.025, 0.975])), abs=1e-12)


def test_one_image_and_no_truth() -> None:
    truth, predictions, images = draw(5, images=1)
    found = score(truth, predictions, THREE, images=images)
    assert bootstrap(found, rounds=5) == pytest.approx((found.map, found.map))
    nothing = score(truth[:0], predictions, THREE, images=images)
    assert all(math.isnan(end) for end in bootstrap(nothing, rounds=5))


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"level": 0.0}, {"level": 1.0}])
def test_refused(wrong: dict[str, float]) -> None:
    truth, predictions, images = draw(5, images=1)
    with pytest.raises(ValueError, match="at least one round and a level between 0 and 1"):
        bootstrap(score(truth, predictions, THREE, images=images), **wrong)
