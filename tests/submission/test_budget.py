import numpy as np
import pandas as pd
import pytest

from hpa.submission.budget import COST_COLUMNS, Plan, compare_plans, plans, project, scale_counts


def costs(**changes):
    table = pd.DataFrame(
        [[2048, 2048, 1000, 4.0, 1.0, 0.5, 0.25, 0.5], [3072, 3072, 100, 9.0, 2.0, 1.0, 0.25, 1.0]],
        columns=list(COST_COLUMNS),
    )
    return table.assign(**changes)


def test_a_projection_is_the_sum_over_sizes_of_every_step():
    plan = Plan("", networks=5, views=4, is_fast=False)
    by_hand = 1000 * (4 + 0.5 + 0.5 + 20 * 0.25) + 100 * (9 + 1 + 1 + 20 * 0.25)

    assert project(costs(), plan) == pytest.approx(by_hand)


def test_fast_post_processing_changes_the_segmentation_only():
    full, fast = (project(costs(), Plan("", 1, 1, is_fast)) for is_fast in (False, True))

    assert full - fast == pytest.approx(1000 * 3 + 100 * 7)


def test_every_plan_drops_more_than_the_one_before():
    seconds = [project(costs(), plan) for plan in plans([5, 5], 8, has_fast=True)]

    assert seconds == sorted(seconds, reverse=True)
    assert len(set(seconds)) == len(seconds)


def test_nothing_is_offered_that_is_not_there_to_drop():
    assert [plan.dropped for plan in plans([1], 1, has_fast=False)] == [""]


def test_the_last_plan_is_one_forward_pass():
    last = plans([5, 3], 4, has_fast=True)[-1]

    assert (last.networks, last.views, last.is_fast) == (1, 1, True)
    assert "folds" not in last.dropped
    assert "runs" in last.dropped


def test_the_reserve_decides_what_fits():
    table = compare_plans(costs(), plans([5], 4, has_fast=False), hours=3.5, reserve=0.0)
    assert table["fits"].tolist()[0]

    with_reserve = compare_plans(costs(), plans([5], 4, has_fast=False), hours=3.5, reserve=0.15)
    assert not with_reserve["fits"].tolist()[0]
    assert with_reserve["fits"].tolist()[-1]


def test_counts_keep_their_shares():
    assert np.allclose(scale_counts(pd.Series([10, 30, 60]), 1776), [177.6, 532.8, 1065.6])
