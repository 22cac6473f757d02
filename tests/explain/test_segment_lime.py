import numpy as np
import pytest

from hpa.explain.perturbation_config import Lime
from hpa.explain.segment_lime import draw_coalitions, segment_lime


def weighted_ridge(coalitions, outcomes, width, penalty):
    """The regression written out; Ribeiro et al. 2016, eq. 1 with their image kernel."""
    seen = coalitions.astype(float)
    cosine = seen.sum(1) / np.maximum(np.sqrt(seen.sum(1) * seen.shape[1]), 1e-12)
    weights = np.sqrt(np.exp(-((1 - cosine) ** 2) / width**2))
    design = np.column_stack([seen, np.ones(len(seen))])
    shrinkage = penalty * np.eye(design.shape[1])
    shrinkage[-1, -1] = 0  # the intercept is free
    solution = np.linalg.solve(
        design.T @ (weights[:, None] * design) + shrinkage, design.T @ (weights[:, None] * outcomes)
    )
    residual = outcomes - design @ solution
    centred = outcomes - np.average(outcomes, axis=0, weights=weights)
    return solution, 1 - weights @ residual**2 / (weights @ centred**2)


def game(coalitions):
    seen = coalitions.astype(float)
    return np.column_stack([seen @ [3, -1, 0, 2.0] + 5, seen[:, 0] * seen[:, 1] - seen[:, 3]])


@pytest.mark.parametrize(("width", "penalty"), [(0.25, 1.0), (0.6, 10.0)])
def test_the_models_are_weighted_ridges(width, penalty):
    config = Lime(samples=60, kernel_width=width, penalty=penalty)
    found = segment_lime(game, 4, config)
    coalitions = draw_coalitions(4, 60, 0)
    solution, fit = weighted_ridge(coalitions, game(coalitions), width, penalty)
    np.testing.assert_allclose(found.coefficients, solution[:4].T, atol=1e-10)
    np.testing.assert_allclose(found.intercepts, solution[4], atol=1e-10)
    np.testing.assert_allclose(found.fit, fit, atol=1e-10)
    assert found.output.tolist() == game(np.ones((1, 4), bool))[0].tolist()


def test_a_linear_network_is_found_again():
    found = segment_lime(game, 4, Lime(samples=100, penalty=1e-9))
    np.testing.assert_allclose(found.coefficients[0], [3, -1, 0, 2], atol=1e-6)
    assert found.intercepts[0] == pytest.approx(5)
    assert found.fit[0] == pytest.approx(1)
    assert found.fit[1] < 0.99


def test_only_the_greatest_may_have_a_coefficient():
    found = segment_lime(game, 4, Lime(samples=200, features=2))
    assert np.flatnonzero(found.coefficients[0]).tolist() == [0, 3]
    assert (np.count_nonzero(found.coefficients, axis=1) == 2).all()
    assert np.count_nonzero(segment_lime(game, 4, Lime(samples=200, features=9)).coefficients[1]) == 4


def test_one_segment():
    found = segment_lime(lambda seen: 2.0 * seen, 1, Lime(samples=50, penalty=1e-9))
    assert found.coefficients[0, 0] == pytest.approx(2)


def test_draws_depend_on_the_seed_alone():
    one, two, other = draw_coalitions(30, 100, 0), draw_coalitions(30, 100, 0), draw_coalitions(30, 100, 1)
    assert (one == two).all()
    assert (one != other).any()
    assert one[0].all()
    assert 0.45 < one[1:].mean() < 0.55
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    segment_lime(game, 4, Lime(samples=20))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
