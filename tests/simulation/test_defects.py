from collections import Counter

import numpy as np
import pytest

from hpa.simulation import DEFECTS, DefectsConfig, SimulatedImage, SimulationConfig, simulate_image
from hpa.simulation.defects import plan_defect, wrong_classes
from hpa.simulation.image import image_id

SIZE = 64
CLEAN = SimulationConfig(size=SIZE, seed=2)


def with_defect(kind: str, share: float = 1.0) -> SimulationConfig:
    return CLEAN.model_copy(update={"defects": DefectsConfig(**{kind: share})})


def pairs(kind: str, number: int = 6, first: int = 8, size: int = SIZE) -> list[tuple[SimulatedImage, SimulatedImage]]:
    """Images with the defect and the same ones without."""
    config = with_defect(kind).model_copy(update={"size": size})
    clean = CLEAN.model_copy(update={"size": size})
    return [(simulate_image(config, index), simulate_image(clean, index)) for index in range(first, first + number)]


def test_there_are_none_by_default() -> None:
    assert all(plan_defect(CLEAN, index) is None for index in range(200))
    assert simulate_image(CLEAN, 0).defect is None


def test_every_defect_has_its_share_and_no_image_has_two() -> None:
    shares = dict(zip(DEFECTS, (0.05, 0.1, 0.15, 0.1, 0.05, 0.2), strict=True))
    config = CLEAN.model_copy(update={"defects": DefectsConfig(**shares)})
    planned = [plan_defect(config, index) for index in range(3000)]
    found = Counter(defect.kind for defect in planned if defect)
    for kind, share in shares.items():
        assert found[kind] / 3000 == pytest.approx(share, abs=0.025)


def test_a_defect_leaves_the_other_images_alone() -> None:
    config = with_defect("saturated", 0.4)
    kinds = set()
    for index in range(12):
        image = simulate_image(config, index)
        kinds.add(image.defect)
        if image.defect is None:
            np.testing.assert_array_equal(image.pixels, simulate_image(CLEAN, index).pixels)
    assert kinds == {None, "saturated"}


def test_a_wrong_label_changes_the_label_only() -> None:
    for image, clean in pairs("wrong_label"):
        assert image.defect == "wrong_label"
        assert image.true_labels == clean.labels
        assert not set(image.labels) & set(image.true_labels)
        np.testing.assert_array_equal(image.pixels, clean.pixels)
        assert image.cells.equals(clean.cells)


def test_a_wrong_label_exists_for_any_truth() -> None:
    for true in ((18,), tuple(range(18))):
        assert not set(wrong_classes(CLEAN, 0, true)) & set(true)


def test_swapped_channels_are_the_same_channels_in_another_order() -> None:
    orders = set()
    for image, clean in pairs("swapped_channels", 8):
        order = [next(k for k in range(4) if np.array_equal(plane, clean.pixels[k])) for plane in image.pixels]
        assert sum(k != place for place, k in enumerate(order)) == 2
        assert image.labels == clean.labels
        orders.add(tuple(order))
    assert len(orders) > 2


def test_an_image_out_of_focus_has_lost_its_detail() -> None:
    for image, clean in pairs("out_of_focus", 4, size=160):

        def detail(pixels: np.ndarray) -> float:
            blue = pixels[2].astype(float)
            return np.abs(np.diff(blue, axis=0)).sum() / blue.sum()

        assert detail(image.pixels) < 0.75 * detail(clean.pixels)
        assert image.cells.equals(clean.cells)


def test_a_saturated_image_has_white_areas() -> None:
    for image, clean in pairs("saturated"):
        assert image.pixels.mean() > 1.1 * clean.pixels.mean()
        assert (image.pixels == 255).sum() >= (clean.pixels == 255).sum()
    assert max((image.pixels[1] == 255).mean() for image, _ in pairs("saturated")) > 0.05


def test_a_nearly_empty_image_has_one_cell_or_none() -> None:
    numbers = []
    for image, clean in pairs("nearly_empty", 10):
        numbers.append(len(image.cells))
        assert image.labels == clean.labels
        assert image.pixels.mean() < 0.5 * clean.pixels.mean() + 1
        assert image.cell_map.max() == len(image.cells)
    assert set(numbers) == {0, 1}


def test_a_duplicate_shows_an_earlier_scene_anew() -> None:
    config = with_defect("duplicate", 0.5)
    seen = 0
    for index in range(4, 24):
        image = simulate_image(config, index)
        if image.defect is None:
            continue
        seen += 1
        plan = plan_defect(config, index)
        assert plan is not None
        assert plan.source is not None
        source = simulate_image(config, plan.source)
        assert image.duplicate_of == source.image_id == image_id(config, plan.source)
        assert source.defect is None
        assert plan.source < index
        assert source.group != image.group
        assert source.labels == image.labels
        np.testing.assert_array_equal(image.cell_map, source.cell_map)
        assert (image.cells["image_id"] == image.image_id).all()
        assert (image.pixels != source.pixels).any()
        assert np.corrcoef(image.pixels[2].ravel(), source.pixels[2].ravel())[0, 1] > 0.97
    assert seen > 4


def test_all_images_may_be_duplicates() -> None:
    config = with_defect("duplicate", 1.0)
    assert all(plan_defect(config, index) is None for index in range(4))
    plans = [plan_defect(config, index) for index in range(4, 40)]
    assert all(plan is not None and plan.source is not None and plan.source < 4 for plan in plans)
