"""Evidence within images: against formulas worked out cell by cell, and by properties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpa.pseudolabels import AtLeastOneRescaling, MaximumRescaling, NoRescaling, RankRescaling, rescale

RULES = (NoRescaling(), MaximumRescaling(), RankRescaling(), AtLeastOneRescaling())

evidences = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.floats(0, 1, width=32))


def posterior_by_enumeration(p):
    """P(cell positive | some cell positive), summed over every outcome of independent cells."""
    total, each = 0.0, np.zeros(len(p))
    for outcome in itertools.product((0, 1), repeat=len(p)):
        if any(outcome):
            chance = np.prod([q if shown else 1 - q for q, shown in zip(p, outcome, strict=True)])
            total += chance
            each += chance * np.array(outcome)
    return each / total


def test_at_least_one_is_the_posterior_of_independent_cells():
    p = np.array([0.3, 0.05, 0.6, 0.01, 0.2])
    found = rescale(p[:, None], np.zeros(5, np.int64), AtLeastOneRescaling())[:, 0]
    np.testing.assert_allclose(found, posterior_by_enumeration(p), rtol=1e-9)


def test_at_least_one_expects_a_positive_cell_however_weak_the_evidence():
    p = np.array([[1e-6], [3e-6], [0.0]])
    found = rescale(p, np.zeros(3, np.int64), AtLeastOneRescaling())[:, 0]
    assert found.sum() >= 1 - 1e-9
    np.testing.assert_allclose(found, [0.25, 0.75, 0], atol=1e-5)


def test_maximum_divides_by_the_images_highest():
    evidence = np.array([[0.2, 0.5], [0.4, 0.1], [0.3, 0.9]])
    found = rescale(evidence, np.array([1, 1, 0]), MaximumRescaling())
    np.testing.assert_allclose(found, [[0.5, 1], [1, 0.2], [1, 1]])


def test_rank_is_the_share_of_cells_with_no_more_evidence():
    evidence = np.array([[0.2], [0.4], [0.2], [0.9]])
    found = rescale(evidence, np.array([0, 0, 0, 0]), RankRescaling())[:, 0]
    brute = [(evidence[:, 0] <= value).mean() for value in evidence[:, 0]]
    np.testing.assert_allclose(found, brute)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(NoRescaling(), 0.0), (MaximumRescaling(), 1.0), (RankRescaling(), 1.0), (AtLeastOneRescaling(), 0.25)],
)
def test_without_any_evidence_all_cells_are_equal(rule, expected):
    assert rescale(np.zeros((4, 1)), np.zeros(4, np.int64), rule)[:, 0].tolist() == [expected] * 4


@settings(max_examples=60, deadline=None)
@given(evidence=evidences, rule=st.sampled_from(RULES), data=st.data())
def test_images_do_not_touch_one_another_and_order_does_not_matter(evidence, rule, data):
    images = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(evidence), max_size=len(evidence))))
    found = rescale(evidence, images, rule)
    assert found.min() >= 0
    assert found.max() <= 1
    for image in np.unique(images):
        here = images == image
        np.testing.assert_allclose(found[here], rescale(evidence[here], np.zeros(here.sum(), np.int64), rule))
        # The order of an image's cells is kept.
        for column in range(2):
            order = np.argsort(evidence[here, column], kind="stable")
            assert (np.diff(found[here, column][order]) >= -1e-12).all()
    shuffled = np.array(data.draw(st.permutations(range(len(evidence)))))
    np.testing.assert_allclose(rescale(evidence[shuffled], images[shuffled], rule), found[shuffled])


@settings(max_examples=60, deadline=None)
@given(evidence=evidences, rule=st.sampled_from((MaximumRescaling(), RankRescaling())))
def test_some_cell_of_every_image_is_positive(evidence, rule):
    found = rescale(evidence, np.zeros(len(evidence), np.int64), rule)
    assert (found.max(axis=0) == 1).all()


def test_certain_evidence_stays_certain():
    found = rescale(np.array([[1.0], [0.5]]), np.zeros(2, np.int64), AtLeastOneRescaling())
    np.testing.assert_allclose(found[:, 0], [1, 0.5])
