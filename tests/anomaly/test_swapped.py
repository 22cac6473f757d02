import dataclasses

import cv2
import numpy as np
import pytest

from hpa.anomaly.measures import Measures, measure_image, stack_measures
from hpa.anomaly.swapped import SwappedConfig, swapped_channels

CHANNELS = ("threads", "spots", "discs")
IMAGES = 60


def draw(seed: int, order=(0, 1, 2)) -> np.ndarray:
    """Threads, spots and discs, each in a channel of its own."""
    generator = np.random.default_rng(seed)
    planes = np.zeros((3, 64, 64), np.float32)
    for _ in range(10):
        ends = generator.integers(0, 64, 4).tolist()
        cv2.line(planes[0], ends[:2], ends[2:], float(generator.uniform(80, 160)), 1)
        cv2.circle(planes[1], generator.integers(0, 64, 2).tolist(), 2, float(generator.uniform(80, 160)), -1)
    for _ in range(3):
        cv2.circle(planes[2], generator.integers(0, 64, 2).tolist(), 12, float(generator.uniform(80, 160)), -1)
    noisy = planes + generator.normal(0, 4, planes.shape)
    return np.clip(noisy[list(order)], 0, 255).astype(np.uint8)


def measures_of(orders) -> Measures:
    return stack_measures([measure_image(draw(seed, order)) for seed, order in enumerate(orders)])


USUAL = [(0, 1, 2)] * IMAGES
GROUPS = [f"g{row // 2}" for row in range(IMAGES)]


def test_swapped_images_are_found_and_told_which() -> None:
    orders = list(USUAL)
    orders[5], orders[40] = (1, 0, 2), (2, 1, 0)
    found = swapped_channels(measures_of(orders), CHANNELS, GROUPS, SwappedConfig())
    assert found.flags.nonzero()[0].tolist() == [5, 40]
    assert found.details is not None
    assert found.details["swapped_channels_order"].iloc[5] == "spots, threads, discs"
    assert found.details["swapped_channels_order"].iloc[40] == "discs, spots, threads"
    assert (found.details["swapped_channels_order"] == "").sum() == IMAGES - 2
    assert np.delete(found.scores, [5, 40]).max() < 0


def test_the_names_of_the_channels_do_not_matter() -> None:
    """All images in another order are as usual as before: what is usual is learned from the set."""
    orders = [(2, 0, 1)] * IMAGES
    orders[5] = (0, 2, 1)
    found = swapped_channels(measures_of(orders), CHANNELS, GROUPS, SwappedConfig())
    assert found.flags.nonzero()[0].tolist() == [5]


def test_one_channel_few_images_or_one_group_give_no_scores() -> None:
    measures = measures_of(USUAL)
    single = Measures(
        *(getattr(measures, name.name)[:, :1] for name in dataclasses.fields(Measures)[:-1]),
        likeness=measures.likeness[:, :1, :1],
    )
    few = SwappedConfig(least=IMAGES + 1)
    for found in (
        swapped_channels(single, CHANNELS[:1], GROUPS, SwappedConfig()),
        swapped_channels(measures, CHANNELS, GROUPS, few),
        swapped_channels(measures, CHANNELS, ["same"] * IMAGES, SwappedConfig()),
    ):
        assert np.isnan(found.scores).all()
        assert not found.flags.any()


def test_grey_pictures_in_colour_files_are_not_judged() -> None:
    images = [draw(seed) for seed in range(IMAGES)]
    images[3] = np.repeat(images[3][:1], 3, axis=0)
    images[4] = np.zeros_like(images[4])
    found = swapped_channels(stack_measures([measure_image(one) for one in images]), CHANNELS, GROUPS, SwappedConfig())
    assert np.isnan(found.scores).nonzero()[0].tolist() == [3, 4]
    grey = stack_measures([measure_image(np.repeat(draw(seed)[:1], 3, axis=0)) for seed in range(IMAGES)])
    assert np.isnan(swapped_channels(grey, CHANNELS, GROUPS, SwappedConfig()).scores).all()


def test_more_than_six_channels_are_refused() -> None:
    measures = stack_measures([measure_image(np.zeros((7, 8, 8), np.uint8))])
    with pytest.raises(ValueError, match="at most 6 channels, but got 7"):
        swapped_channels(measures, tuple("abcdefg"), ["a"], SwappedConfig())
