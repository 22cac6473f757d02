import numpy as np
import pytest

from hpa.labels import HPA2021
from hpa.simulation import CELL_COLUMNS, SimulatedImage, SimulationConfig, image_id, simulate_image
from hpa.simulation.config import FixedFraction

CONFIG = SimulationConfig(size=128, seed=3)
NAMES = list(HPA2021.names)


@pytest.fixture(scope="module")
def images() -> list[SimulatedImage]:
    return [simulate_image(CONFIG, index) for index in range(24)]


def equal(first: SimulatedImage, second: SimulatedImage) -> bool:
    return (
        np.array_equal(first.pixels, second.pixels)
        and np.array_equal(first.cell_map, second.cell_map)
        and np.array_equal(first.nucleus_map, second.nucleus_map)
        and first.cells.equals(second.cells)
        and (first.labels, first.group) == (second.labels, second.group)
    )


def test_an_image_depends_on_seed_and_index_alone(images: list[SimulatedImage]) -> None:
    assert equal(simulate_image(CONFIG, 7), images[7])
    assert equal(simulate_image(CONFIG.model_copy(update={"images": 3}), 7), images[7])
    assert not np.array_equal(simulate_image(CONFIG.model_copy(update={"seed": 4}), 7).pixels, images[7].pixels)
    assert len({image.pixels.tobytes() for image in images}) == len(images)


def test_arrays_have_the_shapes_and_types_promised(images: list[SimulatedImage]) -> None:
    for image in images:
        assert (image.pixels.shape, image.pixels.dtype) == ((4, 128, 128), np.uint8)
        assert (image.cell_map.shape, image.cell_map.dtype) == ((128, 128), np.uint16)
        assert (image.nucleus_map.shape, image.nucleus_map.dtype) == ((128, 128), np.uint16)


def test_the_cell_table_agrees_with_the_maps(images: list[SimulatedImage]) -> None:
    for image in images:
        cells = image.cells
        assert list(cells.columns) == [*CELL_COLUMNS, *NAMES]
        assert (cells[NAMES].dtypes == np.float32).all()
        assert cells["cell_id"].tolist() == list(range(1, len(cells) + 1)) == np.unique(image.cell_map)[1:].tolist()
        np.testing.assert_array_equal(np.unique(image.nucleus_map)[1:], cells["cell_id"])
        for row in cells.itertuples():
            mask = image.cell_map == row.cell_id
            assert row.area == mask.sum()
            assert row.nucleus_area == (image.nucleus_map == row.cell_id).sum() > 0
            edge = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
            assert row.touches_border == edge
        assert (image.cell_map[image.nucleus_map > 0] == image.nucleus_map[image.nucleus_map > 0]).all()
        assert set(cells["line"]) == {image.cell_line}


def test_every_label_holds_for_a_cell(images: list[SimulatedImage]) -> None:
    for image in images:
        assert HPA2021.check(image.labels) == image.labels == image.true_labels
        shown = set(np.flatnonzero(image.cells[NAMES].to_numpy().any(axis=0)))
        assert set(image.labels) <= shown
        assert (image.cells[NAMES].sum(axis=1) >= 1).all()


def test_images_of_an_antibody_share_their_label_and_group(images: list[SimulatedImage]) -> None:
    for start in range(0, 24, 4):
        four = images[start : start + 4]
        assert len({(image.group, image.labels) for image in four}) == 1
    assert len({image.group for image in images}) == 6


def test_ids_are_unique_and_name_the_seed() -> None:
    assert image_id(CONFIG, 12) == "sim3-000012"
    assert len({image_id(CONFIG, index) for index in range(50)}) == 50


def test_nuclei_are_blue_and_cells_bright_in_their_channels(images: list[SimulatedImage]) -> None:
    ratios = []
    for image in images:
        red, _, blue, yellow = image.pixels.astype(float)
        nuclei, cells = image.nucleus_map > 0, image.cell_map > 0
        assert blue[nuclei].mean() > 8 * blue[~nuclei].mean()
        body = np.maximum(red, yellow)
        ratios.append(body[cells & ~nuclei].mean() / body[~cells].mean())
    # Outside the labelled cells lie those that the border cut off from their nuclei.
    assert min(ratios) > 2
    assert np.median(ratios) > 5


def test_positive_cells_are_brighter_than_the_others() -> None:
    config = SimulationConfig(size=128, seed=1, positive_fraction=FixedFraction(value=0.5), mitotic_fraction=0)
    ratios = []
    for index in range(0, 60, 4):
        image = simulate_image(config, index)
        if len(image.labels) > 1 or image.labels[0] in (11, 18):
            continue
        positive = image.cells[NAMES[image.labels[0]]].to_numpy() > 0
        green = np.bincount(image.cell_map.ravel(), image.pixels[1].ravel())[1:] / image.cells["area"].to_numpy()
        if positive.any() and (~positive).any():
            ratios.append(np.median(green[positive]) / max(np.median(green[~positive]), 0.1))
    assert len(ratios) >= 4
    assert np.median(ratios) > 1.3


@pytest.mark.parametrize("size", [32, 101])
def test_other_sizes_show_the_same_field(size: int) -> None:
    image = simulate_image(SimulationConfig(size=size, seed=3), 2)
    assert image.pixels.shape == (4, size, size)
    reference = simulate_image(SimulationConfig(size=256, seed=3), 2)
    assert image.labels == reference.labels
    assert (image.cell_map > 0).mean() == pytest.approx((reference.cell_map > 0).mean(), abs=0.35)


def test_a_smaller_field_shows_fewer_and_larger_cells() -> None:
    small = SimulationConfig(size=128, field=60, seed=3)
    few = np.mean([len(simulate_image(small, index).cells) for index in range(6)])
    many = np.mean([len(simulate_image(CONFIG, index).cells) for index in range(6)])
    assert few < 0.5 * many


def test_spindles_are_in_dividing_cells_only() -> None:
    config = SimulationConfig(size=64, seed=0, mitotic_fraction=0.3)
    dividing = 0
    for index in range(20):
        cells = simulate_image(config, index).cells
        assert not cells.loc[~cells["is_mitotic"], "Mitotic spindle"].any()
        dividing += cells["is_mitotic"].sum()
    assert dividing > 20


def test_a_negative_index_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected an index of 0 or more, but got -1"):
        simulate_image(CONFIG, -1)
