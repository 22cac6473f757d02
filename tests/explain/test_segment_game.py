import numpy as np
import pytest
import torch

from hpa.explain.segment_game import SegmentGame, build_players
from hpa.explain.segments import Segments

NUMBERS = np.array([[0, 0, 1], [-1, 2, 1]])
SEGMENTS = Segments(NUMBERS, np.zeros(3, np.int64))
IMAGE = torch.arange(1.0, 13.0).reshape(2, 2, 3)


def totals(images):
    """Sum and sum of squares of every image."""
    return torch.stack([images.sum(dim=(1, 2, 3)), (images**2).sum(dim=(1, 2, 3))], dim=1)


def expected(coalition, players, baseline):
    """Sum and sum of squares, pixel by pixel."""
    pixels = []
    for channel in range(2):
        for row in range(2):
            for column in range(3):
                owner = players.numbers[channel if len(players.numbers) > 1 else 0, row, column]
                is_seen = owner < 0 or coalition[owner]
                pixels.append(float((IMAGE if is_seen else baseline)[channel, row, column]))
    return [sum(pixels), sum(pixel**2 for pixel in pixels)]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("sample", [1, 2])
def test_outcomes_of_all_coalitions(per_channel, batch_size, sample):
    players = build_players(SEGMENTS, 2, per_channel)
    assert len(players) == (6 if per_channel else 3)
    baselines = torch.stack([torch.full_like(IMAGE, -1.0), IMAGE.flip(0)])[:sample]
    game = SegmentGame(totals, IMAGE, baselines, players, batch_size)
    coalitions = np.array(np.meshgrid(*[[False, True]] * len(players))).reshape(len(players), -1).T
    outcomes = game(coalitions)
    for coalition, outcome in zip(coalitions, outcomes, strict=True):
        oracle = np.mean([expected(coalition, players, baseline) for baseline in baselines], axis=0)
        assert outcome == pytest.approx(oracle)
    assert game.evaluations == len(coalitions) * sample


def test_no_coalition_is_evaluated_twice():
    players = build_players(SEGMENTS, 2, False)
    game = SegmentGame(totals, IMAGE, torch.zeros(1, 2, 2, 3), players, 4)
    coalitions = np.array([[True, False, True], [False, False, False], [True, False, True]])
    first = game(coalitions)
    assert game.evaluations == 2
    second = game(coalitions[::-1])
    assert game.evaluations == 2
    assert (first[::-1] == second).all()
    assert (first[0] == first[2]).all()
    assert first[0, 0] != first[1, 0]


def test_batches_are_no_larger_than_asked_for():
    sizes = []

    def score(images):
        sizes.append(len(images))
        return totals(images)

    game = SegmentGame(score, IMAGE, torch.zeros(3, 2, 2, 3), build_players(SEGMENTS, 2, False), 4)
    game(np.array([[True, False, True], [False, False, False], [True, True, True]]))
    assert sizes == [4, 4, 1]


def test_painting_spreads_a_value_or_repeats_it():
    players = build_players(SEGMENTS, 2, False)
    values = np.array([[2.0, 4.0, 3.0]])
    assert players.paint(values, density=True).tolist() == [[[[1, 1, 2], [0, 3, 2]]]]
    assert players.paint(values, density=False).tolist() == [[[[2, 2, 4], [0, 3, 4]]]]


def test_players_of_each_channel():
    players = build_players(SEGMENTS, 2, True)
    assert players.segments.tolist() == [0, 1, 2, 0, 1, 2]
    assert players.channels.tolist() == [0, 0, 0, 1, 1, 1]
    assert players.sizes.tolist() == [2, 2, 1, 2, 2, 1]
    assert players.numbers.tolist() == [[[0, 0, 1], [-1, 2, 1]], [[3, 3, 4], [-1, 5, 4]]]
    painted = players.paint(np.arange(6.0)[None], density=False)
    assert painted[0, 1].tolist() == [[3, 3, 4], [0, 5, 4]]


def test_centres_are_parts_of_the_longer_side():
    centres = build_players(SEGMENTS, 2, False).centres
    np.testing.assert_allclose(centres, [[0, 0.5 / 3, -1], [0.5 / 3, 2 / 3, -1], [1 / 3, 1 / 3, -1]])
