import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.simulation.textures import dots, draw_paths, net, paths, random_points, scatter, smooth_noise

RNG = np.random.default_rng


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_scatter_keeps_light_and_its_centre(seed: int, number: int) -> None:
    rng = RNG(seed)
    points = rng.uniform(1, 18, (number, 2))
    weights = rng.random(number) + 0.1
    plane = scatter(points, weights, (20, 20))
    y, x = np.indices(plane.shape)
    assert plane.sum() == pytest.approx(weights.sum(), rel=1e-4)
    assert (plane * x).sum() / plane.sum() == pytest.approx(np.average(points[:, 0], weights=weights), rel=1e-3)
    assert (plane * y).sum() / plane.sum() == pytest.approx(np.average(points[:, 1], weights=weights), rel=1e-3)


def test_scatter_leaves_out_what_lies_outside() -> None:
    points = np.array([[-5.0, 3], [3, 50], [np.float64(-0.5), 3]])
    assert scatter(points, np.ones(3), (10, 10)).sum() == 0


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_dots_have_the_height_and_width_asked_for(sigma: float) -> None:
    plane = dots(np.array([[30.25, 20.2]]), np.array([sigma]), np.array([0.7]), (50, 60))
    y, x = np.indices(plane.shape)
    assert plane.max() == plane[20, 30] == pytest.approx(0.7, rel=0.12)
    assert np.sqrt((plane * (x - 30) ** 2).sum() / plane.sum()) == pytest.approx(sigma, rel=0.15)
    assert (plane * y).sum() / plane.sum() == pytest.approx(20.2, abs=0.05)


def test_no_dots_is_darkness() -> None:
    assert not dots(np.zeros((0, 2)), np.zeros(0), np.zeros(0), (5, 6)).any()


@pytest.mark.parametrize("sigma", [0.2, 1.0, 6.0])
def test_smooth_noise_is_normalised_and_smoother_with_sigma(sigma: float) -> None:
    noise = smooth_noise((200, 150), sigma, RNG(0))
    assert noise.shape == (200, 150)
    assert abs(noise.mean()) < 0.15
    assert noise.std() == pytest.approx(1, abs=0.15)
    roughness = np.diff(noise, axis=0).std()
    # Of Gaussian noise smoothed with sigma, neighbours differ by about 1 / sigma / sqrt(2).
    assert roughness == pytest.approx(min(np.sqrt(2), 0.71 / sigma), rel=0.35)


def test_a_net_is_between_0_and_1() -> None:
    plane = net((60, 60), 2.0, RNG(1))
    assert 0 <= plane.min() < 0.1 < 0.9 < plane.max() <= 1


def test_random_points_follow_the_density() -> None:
    density = np.zeros((30, 40), np.float32)
    density[10:12, 5:8] = 1
    density[20, 30] = 6
    points = random_points(density, 4000, RNG(2))
    near = np.abs(points - [30, 20]).max(axis=1) <= 0.5
    rest = points[~near]
    assert near.mean() == pytest.approx(0.5, abs=0.04)
    assert (rest.min(axis=0) >= [4.5, 9.5]).all()
    assert (rest.max(axis=0) <= [7.5, 11.5]).all()
    assert random_points(np.zeros((4, 4), np.float32), 5, RNG(0)).shape == (0, 2)


def test_paths_take_equal_steps_and_straight_ones_go_straight() -> None:
    starts = np.array([[5.0, 5.0], [7.0, 7.0]])
    curves = paths(starts, np.array([0.0, np.pi / 2]), 20, 0.5, 0.3, 0.1, RNG(0))
    steps = np.diff(np.concatenate([starts[:, None], curves], axis=1), axis=1)
    np.testing.assert_allclose(np.hypot(steps[..., 0], steps[..., 1]), 0.5, rtol=1e-4)
    straight = paths(starts, np.array([0.0, np.pi / 2]), 20, 0.5, 0.0, 0.0, RNG(0))
    np.testing.assert_allclose(straight[:, -1], [[15, 5], [7, 17]], atol=1e-4)


def test_a_drawn_path_ends_where_it_leaves_what_is_allowed() -> None:
    curve = np.stack([np.arange(2, 38, dtype=float), np.full(36, 10.0)], axis=1)[None]
    allowed = np.ones((20, 40), bool)
    allowed[:, 20:24] = False
    plane = draw_paths(curve, allowed, 1.0, 0.5)
    assert plane[10, 2:20].min() == pytest.approx(0.5)
    assert not plane[:, 20:].any()
