import csv
from collections import Counter

import numpy as np
import pytest

from hpa.anomaly.combinations import RareCombinationConfig, rare_combinations
from hpa.labels import HPA2021, ClassList

CLASSES = ClassList(names=("a", "b", "c"))


def test_what_occurs_once_is_flagged_and_frequent_classes_that_never_meet_are_worst():
    rows = [(0,)] * 50 + [(1,)] * 40 + [(2,)] * 5 + [(0, 1)] + [(1, 2)]
    found = rare_combinations(CLASSES.encode(rows), CLASSES, RareCombinationConfig())
    assert np.flatnonzero(found.flags).tolist() == [95, 96]
    assert found.scores.argmax() == 95  # a and b are frequent, and meet once; c is rare anyway
    assert found.details["rare_combination_images"].tolist()[-3:] == [5, 1, 1]
    assert found.details["rare_combination_of"].iloc[96] == "b|c"


def test_the_limit_is_a_number_of_images():
    rows = [(0,)] * 5 + [(1,)] * 2 + [(2,)]
    for most, flagged in ((1, 1), (2, 3), (5, 8)):
        found = rare_combinations(CLASSES.encode(rows), CLASSES, RareCombinationConfig(most=most))
        assert found.flags.sum() == flagged


def test_images_without_a_class_are_not_judged():
    found = rare_combinations(np.zeros((3, 3), np.float32), CLASSES, RareCombinationConfig())
    assert np.isnan(found.scores).all()
    assert not found.flags.any()


def test_one_image_and_none():
    assert rare_combinations(CLASSES.encode([(0, 2)]), CLASSES, RareCombinationConfig()).flags.tolist() == [True]
    assert len(rare_combinations(np.zeros((0, 3), np.float32), CLASSES, RareCombinationConfig()).scores) == 0


def test_the_order_of_the_images_does_not_matter():
    rng = np.random.default_rng(0)
    targets = (rng.random((60, 3)) < 0.4).astype(np.float32)
    order = rng.permutation(60)
    found, other = (rare_combinations(each, CLASSES, RareCombinationConfig()) for each in (targets, targets[order]))
    np.testing.assert_array_equal(found.scores[order], other.scores)


def test_combinations_of_the_competition_that_occur_once(sample_data):
    """Counted apart: the strings of train.csv, their numbers sorted; one row names a class twice."""
    with (sample_data / "hpa2021" / "train.csv").open(newline="") as stream:
        labels = [tuple(sorted(set(map(int, row["Label"].split("|"))))) for row in csv.DictReader(stream)]
    expected = {combination for combination, count in Counter(labels).items() if count == 1}
    found = rare_combinations(HPA2021.encode(labels), HPA2021, RareCombinationConfig())
    assert {labels[row] for row in np.flatnonzero(found.flags)} == expected
    assert found.flags.sum() == len(expected) == 55


@pytest.mark.parametrize("most", [0, -1])
def test_wrong_limits(most):
    with pytest.raises(ValueError, match="most"):
        RareCombinationConfig(most=most)
