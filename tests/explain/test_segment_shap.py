import itertools
import math

import numpy as np
import pytest

from hpa.explain.perturbation_config import KernelShap, PartitionShap
from hpa.explain.segment_game import build_players
from hpa.explain.segment_shap import hierarchy, kernel_shap, partition_shap
from hpa.explain.segments import Segments


def grid(rows, columns, side=4):
    """Players in a grid of squares."""
    numbers = np.kron(np.arange(rows * columns).reshape(rows, columns), np.ones((side, side), np.int64))
    return build_players(Segments(numbers, np.zeros(rows * columns, np.int64)), 1, False)


class Game:
    """A game with interactions of every order, two classes; counts what it is asked."""

    def __init__(self, players, seed=0):
        generator = np.random.default_rng(seed)
        self.linear = generator.normal(size=(players, 2))
        self.pairs = generator.normal(size=(players, players, 2)) / players
        self.asked = set()

    def __call__(self, coalitions):
        self.asked |= {row.tobytes() for row in coalitions}
        seen = coalitions.astype(float)
        values = seen @ self.linear + np.einsum("ni,nj,ijc->nc", seen, seen, self.pairs)
        return np.tanh(values) + 0.3


def shapley(game, players):
    """Shapley 1953: the mean over all orders of what each player adds on arrival."""
    coalitions = np.array(list(itertools.product([False, True], repeat=players)))
    outcome = dict(zip(map(tuple, coalitions), game(coalitions), strict=True))
    values = np.zeros((2, players))
    for player in range(players):
        for others in coalitions[~coalitions[:, player]]:
            size = others.sum()
            weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            joined = others.copy()
            joined[player] = True
            values[:, player] += weight * (outcome[tuple(joined)] - outcome[tuple(others)])
    return values


def owen(game, clustering, players):
    """Owen values of a binary hierarchy, from their definition: orders in which every group arrives as one."""

    def orders(node):
        if node < players:
            return [[node]]
        left, right = (int(child) for child in clustering[node - players, :2])
        pairs = list(itertools.product(orders(left), orders(right)))
        return [first + second for first, second in pairs] + [second + first for first, second in pairs]

    values, count = np.zeros((2, players)), 0
    for order in orders(2 * players - 2):
        steps = np.zeros((players + 1, players), bool)
        for place, player in enumerate(order):
            steps[place + 1 :, player] = True
        values[:, order] += np.diff(game(steps), axis=0).T
        count += 1
    return values / count


@pytest.mark.parametrize("players", [2, 3, 5, 8])
def test_kernel_shap_is_exact_where_all_coalitions_are_evaluated(players):
    game = Game(players)
    found = kernel_shap(game, grid(1, players), KernelShap(evaluations=2**players))
    assert len(game.asked) == 2**players
    np.testing.assert_allclose(found.contributions, shapley(game, players), atol=1e-9)


@pytest.mark.parametrize("explain", [kernel_shap, partition_shap])
@pytest.mark.parametrize("evaluations", [4, 40, 300])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 4)])
def test_values_sum_to_output_minus_base(explain, evaluations, shape):
    players = grid(*shape)
    config = KernelShap(evaluations=evaluations) if explain is kernel_shap else PartitionShap(evaluations=evaluations)
    game = Game(len(players))
    found = explain(game, players, config)
    ends = game(np.array([[False] * len(players), [True] * len(players)]))
    assert found.contributions.shape == (2, len(players))
    np.testing.assert_array_equal([found.base, found.output], ends)
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.output - found.base, atol=1e-8)
    least = 4 * len(players) + 2 if explain is kernel_shap else 0
    assert len(game.asked) <= max(evaluations, least)


def test_partition_shap_gives_owen_values_where_the_hierarchy_is_exhausted():
    players = grid(2, 3)
    game = Game(6)
    found = partition_shap(game, players, PartitionShap(evaluations=1000))
    expected = owen(game, hierarchy(players), 6)
    np.testing.assert_allclose(found.contributions, expected, atol=1e-9)
    assert abs(expected - shapley(game, 6)).max() > 0.01, "the two must differ for this test to say something"


@pytest.mark.parametrize("evaluations", [30, 400])
def test_an_additive_game_gives_each_its_own(evaluations):
    # Of sampled kernel SHAP too: its least squares have no residual then.
    players = grid(4, 5)
    worth = np.random.default_rng(0).normal(size=(20, 1))
    found = kernel_shap(lambda seen: seen @ worth, players, KernelShap(evaluations=evaluations))
    np.testing.assert_allclose(found.contributions, worth.T, atol=1e-8)
    exhausted = partition_shap(lambda seen: seen @ worth, players, PartitionShap(evaluations=1000))
    np.testing.assert_allclose(exhausted.contributions, worth.T, atol=1e-8)


def test_more_evaluations_come_nearer_to_the_shapley_values():
    game = Game(10)
    exact = shapley(game, 10)

    def distance(evaluations):
        found = [kernel_shap(game, grid(2, 5), KernelShap(evaluations=evaluations, seed=seed)) for seed in range(5)]
        return np.mean([abs(one.contributions - exact).mean() for one in found])

    assert distance(400) < 0.5 * distance(60)


def test_draws_depend_on_the_seed_alone_and_leave_numpys_own_alone():
    players = grid(3, 4)
    for explain, config in ((kernel_shap, KernelShap), (partition_shap, PartitionShap)):
        np.random.seed(5)  # noqa: NPY002
        before = np.random.get_state()[1].tolist()  # noqa: NPY002
        one = explain(Game(12), players, config(evaluations=60))
        assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
        np.random.seed(6)  # noqa: NPY002
        two = explain(Game(12), players, config(evaluations=60))
        np.testing.assert_array_equal(one.contributions, two.contributions)
    other = kernel_shap(Game(12), players, KernelShap(evaluations=60, seed=1))
    same = kernel_shap(Game(12), players, KernelShap(evaluations=60, seed=0))
    assert abs(other.contributions - same.contributions).max() > 1e-6


def test_numpys_random_numbers_are_restored_after_an_exception():
    calls = []

    def failing(coalitions):
        calls.append(len(coalitions))
        if len(calls) > 2:
            raise RuntimeError("no more")
        return np.zeros((len(coalitions), 1))

    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    with pytest.raises(RuntimeError, match="no more"):
        partition_shap(failing, grid(2, 2), PartitionShap())
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_neighbours_join_first_and_channels_last():
    numbers = np.repeat([0, 1, 2, 3], [4, 4, 4, 30])[None]
    players = build_players(Segments(numbers, np.zeros(4, np.int64)), 2, True)
    joints = hierarchy(players)
    groups = {number: {number} for number in range(8)}
    for number, (left, right, _, size) in enumerate(joints):
        groups[8 + number] = groups[int(left)] | groups[int(right)]
        assert len(groups[8 + number]) == size
    assert {int(joints[-1, 0]), int(joints[-1, 1])} == {12, 13}
    assert sorted(map(sorted, (groups[12], groups[13]))) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert {0, 1, 2} in groups.values()
