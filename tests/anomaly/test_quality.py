import dataclasses

import numpy as np

from hpa.anomaly.findings import ShareDecision, ValueDecision
from hpa.anomaly.measures import Measures
from hpa.anomaly.quality import (
    NearlyEmptyConfig,
    OutOfFocusConfig,
    SaturatedConfig,
    nearly_empty,
    out_of_focus,
    saturated,
)

IMAGES = 60


def usual() -> Measures:
    generator = np.random.default_rng(0)
    return Measures(
        sharpness=generator.normal([-1, -2, -3], 0.2, (IMAGES, 3)).astype(np.float32),
        coverage=generator.uniform(0.5, 1, (IMAGES, 3)).astype(np.float32),
        clipped=np.zeros((IMAGES, 3), np.float32),
        shape=np.zeros((IMAGES, 3, 16), np.float32),
        likeness=np.ones((IMAGES, 3, 3, 5), np.float32),
    )


def changed(name: str, rows, values) -> Measures:
    figures = usual()
    column = getattr(figures, name).copy()
    column[rows] = values
    return dataclasses.replace(figures, **{name: column})


def test_blur_in_most_channels_is_found_and_in_one_is_not() -> None:
    blurred = changed("sharpness", 7, [-4, -5, -3])
    assert out_of_focus(blurred, OutOfFocusConfig()).flags.nonzero()[0].tolist() == [7]
    one = changed("sharpness", 7, [-1, -9, -3])
    assert not out_of_focus(one, OutOfFocusConfig()).flags.any()


def test_each_channel_is_compared_with_its_own_kind() -> None:
    """A coarse channel is less sharp than a fine one by nature."""
    scores = out_of_focus(usual(), OutOfFocusConfig()).scores
    assert abs(np.median(scores)) < 0.5


def test_channels_without_detail_do_not_count() -> None:
    found = out_of_focus(changed("sharpness", [3, 4], [[-4, np.nan, np.nan], [np.nan] * 3]), OutOfFocusConfig())
    assert found.flags.nonzero()[0].tolist() == [3]
    assert np.isnan(found.scores[4])
    nothing = out_of_focus(changed("sharpness", slice(None), np.nan), OutOfFocusConfig())
    assert np.isnan(nothing.scores).all()
    assert not nothing.flags.any()


def test_equal_images_are_in_focus() -> None:
    found = out_of_focus(changed("sharpness", slice(None), -1.5), OutOfFocusConfig())
    assert found.scores.tolist() == [0] * IMAGES


def test_saturation_names_the_channel() -> None:
    found = saturated(changed("clipped", [2, 9], [[0, 0.3, 0.1], [0.01, 0, 0]]), ("r", "g", "b"), SaturatedConfig())
    assert found.flags.nonzero()[0].tolist() == [2]
    assert found.scores[2] == np.float32(0.3)
    assert found.details is not None
    assert found.details["saturated_channel"].iloc[[2, 9]].tolist() == ["g", ""]


def test_an_image_is_empty_where_no_channel_covers_anything() -> None:
    found = nearly_empty(changed("coverage", [1, 2], [[0.1, 0, 0.15], [0, 0, 0.9]]), NearlyEmptyConfig())
    assert found.flags.nonzero()[0].tolist() == [1]
    assert found.scores[1] == np.float32(0.85)


def test_decisions_are_a_choice() -> None:
    coverage = changed("coverage", slice(None), np.linspace(0, 1, IMAGES)[:, None])
    share = nearly_empty(coverage, NearlyEmptyConfig(decision=ShareDecision(share=0.5)))
    assert share.flags.sum() == IMAGES // 2
    assert nearly_empty(coverage, NearlyEmptyConfig(decision=ValueDecision(threshold=1.0))).flags.sum() == 1
