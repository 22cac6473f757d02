import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.labels import HPA2021
from hpa.simulation.config import BetaFraction, FixedFraction, SimulationConfig
from hpa.simulation.labelling import (
    CYTOSOL,
    DISPERSED_IN_MITOSIS,
    MICROTUBULES,
    MITOTIC_SPINDLE,
    NEGATIVE,
    REAL_COUNTS,
    REAL_IMAGES,
    REAL_LABELS_PER_IMAGE,
    Antibody,
    _antibody_fraction,
    cell_classes,
    draw_classes,
    image_fractions,
    make_antibody,
)
from hpa.simulation.streams import Stream, stream

DRAWS = 12_000


@pytest.fixture(scope="module")
def real_draws() -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [draw_classes(rng, real=True) for _ in range(DRAWS)]


def test_the_real_counts_fit_together() -> None:
    assert sum(REAL_LABELS_PER_IMAGE) == REAL_IMAGES
    assert len(REAL_COUNTS) == len(HPA2021)
    # The competition's table: every image's labels counted once per class.
    assert sum(REAL_COUNTS) == sum(count * (i + 1) for i, count in enumerate(REAL_LABELS_PER_IMAGE))


def test_real_frequencies_give_every_class_its_share(real_draws: list[tuple[int, ...]]) -> None:
    found = np.bincount([label for classes in real_draws for label in classes], minlength=19) / DRAWS
    expected = np.array(REAL_COUNTS) / REAL_IMAGES
    spread = np.sqrt(expected * (1 - expected) / DRAWS)
    assert (np.abs(found - expected) < 4.5 * spread).all()


def test_the_number_of_labels_follows_the_real_one(real_draws: list[tuple[int, ...]]) -> None:
    found = np.bincount([len(classes) for classes in real_draws], minlength=6)[1:] / DRAWS
    np.testing.assert_allclose(found, np.array(REAL_LABELS_PER_IMAGE) / REAL_IMAGES, atol=0.02)


def test_drawn_classes_are_valid_labels(real_draws: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(1)
    for classes in real_draws[:2000] + [draw_classes(rng, real=False) for _ in range(2000)]:
        assert HPA2021.check(classes) == classes


def test_balanced_frequencies_are_equal() -> None:
    rng = np.random.default_rng(2)
    draws = [draw_classes(rng, real=False) for _ in range(DRAWS)]
    found = np.bincount([label for classes in draws for label in classes], minlength=19)
    assert found.max() / found.min() < 1.25


def test_an_antibody_depends_on_its_number_alone() -> None:
    config = SimulationConfig(seed=4)
    assert make_antibody(config, 3) == make_antibody(config.model_copy(update={"images": 9, "size": 64}), 3)
    assert len({make_antibody(config, number).classes for number in range(40)}) > 15
    assert make_antibody(config, 3) != make_antibody(SimulationConfig(seed=5), 3)


def test_a_fixed_fraction_holds_in_every_image() -> None:
    config = SimulationConfig(positive_fraction=FixedFraction(value=0.25))
    antibody = make_antibody(config, 0)
    assert set(image_fractions(config, antibody, np.random.default_rng(0))) == {0.25}


masks = st.lists(st.booleans(), min_size=1, max_size=30)
labels = st.sets(st.integers(0, 17), min_size=1, max_size=4)


@given(labels, masks, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_cell_truth_rules(classes: set[int], dividing: list[bool], fraction: float, seed: int) -> None:
    mitotic = np.array(dividing)
    ordered = tuple(sorted(classes))
    truth = cell_classes(
        ordered, [fraction] * len(ordered), mitotic, np.arange(len(mitotic), dtype=float), np.random.default_rng(seed)
    )
    assert truth.any(axis=1).all()
    alone = truth[:, NEGATIVE]
    assert not truth[alone][:, :NEGATIVE].any()
    assert not truth[~mitotic, MITOTIC_SPINDLE].any()
    assert not truth[mitotic][:, [*DISPERSED_IN_MITOSIS, MICROTUBULES]].any()
    allowed = {*ordered, NEGATIVE, CYTOSOL, MITOTIC_SPINDLE}
    assert set(np.flatnonzero(truth.any(axis=0))) <= allowed
    for label in classes:
        shows = ~mitotic if label in DISPERSED_IN_MITOSIS or label == MICROTUBULES else np.ones_like(mitotic)
        if label == MITOTIC_SPINDLE:
            assert truth[mitotic, label].all()
        elif shows.any():
            assert truth[:, label].any()


def test_every_cell_of_a_negative_image_is_negative() -> None:
    truth = cell_classes((NEGATIVE,), [0.7], np.array([False, True]), np.ones(2), np.random.default_rng(0))
    assert truth[:, NEGATIVE].all()
    assert truth.sum() == 2


def test_an_image_without_cells_has_no_truth() -> None:
    truth = cell_classes((1,), [0.7], np.zeros(0, bool), np.zeros(0), np.random.default_rng(0))
    assert truth.shape == (0, 19)


def test_fractions_are_like_those_of_the_real_cells(sample_data) -> None:
    """Labels of simulated cells for the images of the real table: same share of cells that carry an image's label,
    same share of Negative cells, same share that equal their image's label."""
    table = pd.read_csv(sample_data / "weak_truth" / "cells.csv", dtype={"image_label": str, "cell_label": str})
    config = SimulationConfig(positive_fraction=BetaFraction())
    rng = np.random.default_rng(0)
    real, simulated = [], []
    for _, image in table.groupby("image_id"):
        classes = HPA2021.parse(image["image_label"].iloc[0])
        truth = np.zeros((len(image), 19), bool)
        for row, text in enumerate(image["cell_label"]):
            truth[row, list(HPA2021.parse(text))] = True
        real.append(_figures(truth, classes))
        for _ in range(8):
            number = int(rng.integers(10**6))
            drawn = antibody_of(config, classes, number)
            fractions = image_fractions(config, drawn, rng)
            mitotic = np.zeros(len(image), bool)
            if MITOTIC_SPINDLE in classes:
                mitotic = rng.random(len(image)) < fractions[classes.index(MITOTIC_SPINDLE)]
                mitotic[0] = True
            simulated.append(_figures(cell_classes(classes, fractions, mitotic, np.ones(len(image)), rng), classes))
    found, expected = np.mean(simulated, axis=0), np.mean(real, axis=0)
    np.testing.assert_allclose(found, expected, atol=0.07)


def antibody_of(config: SimulationConfig, classes: tuple[int, ...], number: int) -> Antibody:
    rng = stream(config.seed, Stream.LABELS, number)
    fractions = tuple(_antibody_fraction(config.positive_fraction, label, rng) for label in classes)
    return Antibody(number, classes, (1.0,) * len(classes), fractions)


def _figures(truth: np.ndarray, classes: tuple[int, ...]) -> tuple[float, float, float]:
    own = np.zeros(19, bool)
    own[list(classes)] = True
    return (
        float(truth[:, list(classes)].mean()),
        float(truth[:, NEGATIVE].mean()),
        float((truth == own).all(axis=1).mean()),
    )
