"""Soft labels of cells: each rule against what it says, cell by cell."""

import numpy as np
import pytest

from hpa.config import ConfigError, validate
from hpa.labels import ClassList
from hpa.pseudolabels import (
    AtLeastOneRescaling,
    MaximumNegative,
    NegativeOfImage,
    NoRescaling,
    ProductNegative,
    RuleConfig,
    soft_labels,
)

CLASSES = ClassList(names=("a", "b", "c", "Negative"), exclusive="Negative")
PLAIN = RuleConfig(rescaling=NoRescaling(), negative=NegativeOfImage())
IMAGES = np.array([0, 0, 0, 1, 1])
OF_IMAGES = np.float32([[1, 1, 0, 0]] * 3 + [[0, 0, 0, 1]] * 2)
EVIDENCE = np.float32(
    [[0.8, 0.1, 0.9, 0.0], [0.4, 0.3, 0.2, 0.5], [0.0, 0.2, 0.1, 0.9], [0.7, 0.1, 0.1, 0.2], [0.1, 0.0, 0.0, 0.9]]
)


def label(config, **more):
    return soft_labels(IMAGES, OF_IMAGES, EVIDENCE, CLASSES, config, **more)


def test_label_of_image_times_evidence():
    expected = OF_IMAGES * EVIDENCE
    expected[3:, 3] = 1  # every cell of a Negative image is Negative, whatever is seen in it
    np.testing.assert_allclose(label(PLAIN), expected, rtol=1e-6)


def test_default_rule_compares_cells_within_their_image():
    found = label(RuleConfig())
    np.testing.assert_allclose(found[:3, 0], [1, 0.5, 0], rtol=1e-6)
    np.testing.assert_allclose(found[:3, 1], [1 / 3, 1, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(found[:3, 3], [0, 0, 1 / 3], rtol=1e-6)  # 1 - highest of the others
    assert (found[:, 2] == 0).all()
    assert found[3:].tolist() == [[0, 0, 0, 1]] * 2


def test_never_positive_where_the_image_is_not_unless_mined():
    mined = label(PLAIN.model_copy(update={"mining": {"c": 0.85, "a": 0.7}}))
    plain = label(PLAIN)
    assert (plain[OF_IMAGES == 0] == 0).all()
    assert mined[0, 2] == np.float32(0.9)  # the evidence as it is
    assert mined[3, 0] == np.float32(0.7)
    changed = mined != plain
    assert np.argwhere(changed).tolist() == [[0, 2], [3, 0]]


def test_mined_label_is_the_raw_evidence_and_lowers_negative():
    found = label(RuleConfig(mining={"a": 0.7}))
    assert found[3, 0] == np.float32(0.7)
    np.testing.assert_allclose(found[3, 3], 0.3, rtol=1e-5)


def test_floor_raises_only_images_of_one_class():
    images = np.array([0, 0, 1, 1])
    of_images = np.float32([[1, 0, 0, 0]] * 2 + [[1, 1, 0, 0]] * 2)
    evidence = np.float32([[0.9, 0, 0, 0], [0.1, 0, 0, 0]] * 2)
    config = PLAIN.model_copy(update={"single_label_floor": 0.6})
    found = soft_labels(images, of_images, evidence, CLASSES, config)
    np.testing.assert_allclose(found[:, 0], [0.9, 0.6, 0.9, 0.1])
    assert (found[:2, 1:] == 0).all()


def test_doubt_lowers_labels_that_the_image_network_denies():
    in_images = np.float32([[0.9, 0.2, 0.5, 0.1]] * 3 + [[0.5, 0.5, 0.5, 0.4]] * 2)
    config = PLAIN.model_copy(update={"doubt": 0.5})
    found, plain = label(config, image_probabilities=in_images), label(PLAIN)
    np.testing.assert_allclose(found, plain * (1 - 0.5 * (1 - in_images)), rtol=1e-6)
    with pytest.raises(ValueError, match="`doubt` needs the images' out-of-fold probabilities"):
        label(config)


def test_five_levels_round_halves_up():
    evidence = np.float32([[0.1249], [0.125], [0.375], [0.624], [0.875]])
    classes = ClassList(names=("a", "b"))
    config = RuleConfig(rescaling=NoRescaling(), levels=5, negative=NegativeOfImage())
    labels = np.ones((5, 2), np.float32)
    found = soft_labels(np.zeros(5, np.int64), labels, np.repeat(evidence, 2, axis=1), classes, config)
    assert found[:, 0].tolist() == [0, 0.25, 0.5, 0.5, 1]


@pytest.mark.parametrize("negative", [NegativeOfImage(), MaximumNegative(), ProductNegative()])
def test_rounded_labels_have_those_levels_alone(negative):
    config = RuleConfig(rescaling=AtLeastOneRescaling(), levels=5, negative=negative)
    assert set(np.unique(label(config))) <= {0, 0.25, 0.5, 0.75, 1}


def test_negative_by_product():
    found = label(RuleConfig(rescaling=NoRescaling(), negative=ProductNegative()))
    np.testing.assert_allclose(found[:3, 3], [0.2 * 0.9, 0.6 * 0.7, 0.8], rtol=1e-5)


def test_known_labels_stand_and_decide_negative():
    known = np.full((5, 4), np.nan)
    known[0, 0] = 0  # a person says that the strongest cell does not show a
    known[1, 2] = 1  # and that another shows a class that its image lacks
    known[4, 3] = 0.25
    found = label(RuleConfig(), known=known)
    assert found[0, 0] == 0
    np.testing.assert_allclose(found[0, 3], 2 / 3, rtol=1e-6)
    assert found[1, 2] == 1
    assert found[1, 3] == 0
    assert found[4, 3] == 0.25
    untouched = [2, 3]
    np.testing.assert_array_equal(found[untouched], label(RuleConfig())[untouched])


def test_order_of_cells_does_not_matter():
    order = np.array([4, 2, 0, 3, 1])
    config = RuleConfig(levels=5, mining={"c": 0.5})
    shuffled = soft_labels(IMAGES[order], OF_IMAGES[order], EVIDENCE[order], CLASSES, config)
    np.testing.assert_array_equal(shuffled, label(config)[order])


def test_no_cells():
    none = np.zeros((0, 4), np.float32)
    assert soft_labels(np.zeros(0, np.int64), none, none, CLASSES, RuleConfig()).shape == (0, 4)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match=r"mining: expected names of classes, but \['x'\]"):
        label(RuleConfig(mining={"x": 0.5}))
    with pytest.raises(ValueError, match=r"`evidence` from 0 to 1, but row 1 is"):
        soft_labels(
            IMAGES, OF_IMAGES, np.where(np.arange(5)[:, None] == 1, 1.5, EVIDENCE).astype(np.float32), CLASSES, PLAIN
        )
    with pytest.raises(ValueError, match=r"`evidence` of shape \(5, 2\)"):
        soft_labels(IMAGES, OF_IMAGES, EVIDENCE, ClassList(names=("a", "b")), PLAIN)
    with pytest.raises(ValueError, match=r"`evidence` of shape \(4, 4\)"):
        soft_labels(IMAGES[:4], OF_IMAGES, EVIDENCE, CLASSES, PLAIN)
    with pytest.raises(ValueError, match="`evidence` from 0 to 1"):
        soft_labels(IMAGES, OF_IMAGES, np.full((5, 4), np.nan, np.float32), CLASSES, PLAIN)
    with pytest.raises(ValueError, match="'maximum' needs a class list with `exclusive`"):
        soft_labels(IMAGES, OF_IMAGES, EVIDENCE, ClassList(names=("a", "b", "c", "d")), RuleConfig())
    with pytest.raises(ValueError, match="`known` labels from 0 to 1"):
        label(PLAIN, known=np.full((5, 4), 2.0))
    with pytest.raises(ConfigError, match="mining.a"):
        validate(RuleConfig, {"mining": {"a": 1.5}})
    with pytest.raises(ConfigError, match="levels"):
        validate(RuleConfig, {"levels": 1})
