import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from hpa.classification.class_weights import (
    EffectiveNumber,
    EqualWeights,
    InverseFrequency,
    OneMinusFrequency,
    build_class_weights,
)

NUMBERS = np.repeat([0, 1, 2], [50, 9, 3])
TARGETS = np.eye(3, dtype=np.float32)[NUMBERS]


def test_inverse_frequency_is_proportional_to_sklearns_balanced_weights():
    ours = build_class_weights(InverseFrequency(), TARGETS)
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=NUMBERS)
    np.testing.assert_allclose(ours, theirs / theirs.mean())


def test_one_minus_frequency_of_the_hpa_2021_counts():
    targets = np.zeros((21806, 2), np.float32)
    targets[:8797, 0] = 1  # Nucleoplasm
    targets[:34, 1] = 1  # Negative
    np.testing.assert_allclose(
        build_class_weights(OneMinusFrequency(), targets), [1 - 8797 / 21806, 1 - 34 / 21806], rtol=1e-12
    )


def test_effective_number_is_the_papers_formula_and_lies_between_the_others():
    beta = 0.99
    ours = build_class_weights(EffectiveNumber(beta=beta), TARGETS)
    numbers = np.array([sum(beta**power for power in range(count)) for count in (50, 9, 3)])
    np.testing.assert_allclose(ours, (1 / numbers) / (1 / numbers).mean())
    np.testing.assert_allclose(build_class_weights(EffectiveNumber(beta=0.0), TARGETS), 1)
    np.testing.assert_allclose(
        build_class_weights(EffectiveNumber(beta=1 - 1e-9), TARGETS),
        build_class_weights(InverseFrequency(), TARGETS),
        rtol=1e-5,
    )


@pytest.mark.parametrize("config", [EqualWeights(), OneMinusFrequency(), InverseFrequency(), EffectiveNumber()])
def test_absent_classes_have_finite_weights(config):
    weights = build_class_weights(config, np.pad(TARGETS, ((0, 0), (0, 1))))
    assert np.isfinite(weights).all()
    assert weights[3] == weights.max()


def test_no_targets_are_an_error():
    with pytest.raises(ValueError, match="got none"):
        build_class_weights(EqualWeights(), np.zeros((0, 3), np.float32))
