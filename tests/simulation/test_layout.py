import numpy as np
import pytest
from skimage.measure import label

from hpa.simulation.cell_lines import CELL_LINES, line_named
from hpa.simulation.layout import Layout, draw_layout
from hpa.simulation.outlines import shape_cell
from hpa.simulation.placement import place_cells
from hpa.simulation.textures import smooth_noise

PIXEL = 0.64


def make_layout(seed: int, name: str = "U-2 OS", mitotic: bool = False, coverage: float = 0.5) -> Layout:
    rng = np.random.default_rng(seed)
    line = line_named(name)
    plans = [shape_cell(plan, line, mitotic, PIXEL, rng) for plan in place_cells(line, 256, PIXEL, coverage, rng)]
    return draw_layout(plans, 256, PIXEL, smooth_noise((256, 256), 3.0, rng))


@pytest.mark.parametrize("name", [line.name for line in CELL_LINES])
@pytest.mark.parametrize("mitotic", [False, True])
def test_every_cell_is_one_piece_and_holds_its_nucleus(name: str, mitotic: bool) -> None:
    layout = make_layout(1, name, mitotic)
    assert layout.owner.max() <= len(layout.plans)
    assert not layout.nucleus[layout.owner == 0].any()
    for number in np.unique(layout.owner)[1:]:
        assert label(layout.owner == number, connectivity=1).max() == 1
        plan = layout.plans[number - 1]
        if 0 <= plan.x < 256 and 0 <= plan.y < 256:
            assert layout.owner[int(plan.y), int(plan.x)] == number
            assert layout.nucleus[int(plan.y), int(plan.x)]


def test_nuclei_have_the_planned_area_inside_the_field() -> None:
    ratios = []
    for seed in range(4):
        layout = make_layout(seed)
        for number, plan in enumerate(layout.plans, start=1):
            if 30 < plan.x < 226 and 30 < plan.y < 226:
                area = (layout.nucleus & (layout.owner == number)).sum()
                ratios.append(area / (np.pi * plan.nucleus_radius**2))
    assert np.median(ratios) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("coverage", [0.25, 0.6])
def test_cells_cover_what_was_asked(coverage: float) -> None:
    covered = np.mean([(make_layout(seed, coverage=coverage).owner > 0).mean() for seed in range(12)])
    assert covered == pytest.approx(coverage, abs=0.12)


def test_a_field_is_never_without_a_cell() -> None:
    rng = np.random.default_rng(0)
    plans = place_cells(line_named("HaCaT"), 256, PIXEL, 0.0, rng)
    assert len(plans) == 1
    assert 0 <= plans[0].x < 256
    assert 0 <= plans[0].y < 256


def test_dense_lines_have_more_and_smaller_cells() -> None:
    few, many = make_layout(3, "HaCaT"), make_layout(3, "SH-SY5Y")
    assert len(many.plans) > 3 * len(few.plans)


def test_an_unknown_line_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected a cell line out of"):
        line_named("HeLa Kyoto")
