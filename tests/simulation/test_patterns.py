import numpy as np
import pytest

from hpa.labels import HPA2021
from hpa.simulation.cell import Cell, cut_out
from hpa.simulation.cell_lines import line_named
from hpa.simulation.layout import draw_layout
from hpa.simulation.outlines import shape_cell
from hpa.simulation.patterns import draw_pattern
from hpa.simulation.placement import place_cells
from hpa.simulation.stains import draw_dna, draw_er, draw_microtubules
from hpa.simulation.style import Style, draw_style
from hpa.simulation.textures import smooth_noise

PIXEL = 0.16
NAMES = HPA2021.names
PLAIN = Style(0.5, 0.5, 0.5, 0.3)


def make_cell(seed: int, mitotic: bool = False) -> Cell:
    rng = np.random.default_rng(seed)
    line, size = line_named("U-2 OS"), 512
    plans = place_cells(line, size, PIXEL, 0.0, rng)
    plans = [shape_cell(plan, line, mitotic, PIXEL, rng) for plan in plans]
    layout = draw_layout(plans, size, PIXEL, smooth_noise((size, size), 10.0, rng))
    cell = cut_out(layout, 1, PIXEL, rng)
    assert cell is not None
    return cell


def pattern(name: str, cell: Cell, style: Style = PLAIN, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tubules, er = draw_microtubules(cell, rng), draw_er(cell, rng)
    return draw_pattern(NAMES.index(name), cell, style, tubules, er, rng)


@pytest.fixture(scope="module", params=[0, 1, 2])
def cell(request) -> Cell:
    return make_cell(request.param)


@pytest.fixture(scope="module")
def dividing() -> Cell:
    return make_cell(5, mitotic=True)


def share(plane: np.ndarray, where: np.ndarray) -> float:
    return float(plane[where].sum() / plane.sum())


def near(cell: Cell, point: tuple[float, float], micrometres: float) -> np.ndarray:
    return cell.distance_from(point) * PIXEL < micrometres


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mitotic", [False, True])
def test_light_is_finite_not_negative_and_in_the_cell(name: str, mitotic: bool) -> None:
    cell = make_cell(7, mitotic)
    far = ~cell.mask & (cell.distance_from(cell.center) > 0)
    for seed in range(3):
        plane = pattern(name, cell, draw_style(np.random.default_rng(seed)), seed)
        assert plane.dtype == np.float32
        assert plane.shape == cell.shape
        assert np.isfinite(plane).all()
        assert plane.min() >= 0
        assert plane.max() < 8
        assert plane[far].sum() <= 0.12 * plane.sum()


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_pattern_is_bright_and_depends_on_its_seed_alone(name: str, cell: Cell, dividing: Cell) -> None:
    subject = dividing if name == "Mitotic spindle" else cell
    first, again, other = (pattern(name, subject, seed=seed) for seed in (0, 0, 1))
    assert first.max() > 0.4
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_negative_is_dark(cell: Cell) -> None:
    assert not pattern("Negative", cell).any()


@pytest.mark.parametrize(
    "name", ["Nucleoplasm", "Nuclear speckles", "Nuclear bodies", "Nucleoli", "Nucleoli fibrillar center"]
)
def test_nuclear_patterns_lie_in_the_nucleus(name: str, cell: Cell) -> None:
    assert share(pattern(name, cell), cell.outside < 0.5) > 0.97


@pytest.mark.parametrize(
    "name",
    [
        "Endoplasmic reticulum",
        "Golgi apparatus",
        "Intermediate filaments",
        "Mitochondria",
        "Cytosol",
        "Vesicles and punctate cytosolic patterns",
        "Aggresome",
        "Plasma membrane",
    ],
)
def test_cytoplasmic_patterns_lie_around_the_nucleus(name: str, cell: Cell) -> None:
    plane = pattern(name, cell)
    bright = plane > 0.5 * plane.max()
    assert bright[cell.depth > 1].sum() < 0.1 * bright.sum()


def test_the_nuclear_membrane_is_a_rim(cell: Cell) -> None:
    plane = pattern("Nuclear membrane", cell)
    rim = (cell.depth > 0) & (cell.depth < 0.5)
    assert plane[rim].mean() > 2 * plane[cell.depth > 1.5].mean()


def test_nucleoli_hold_their_patterns(cell: Cell) -> None:
    inside = cell.nucleoli.plane > 0.5
    rest = cell.nucleus & (cell.nucleoli.plane < 0.01)
    assert pattern("Nucleoli", cell)[inside].mean() > 3 * pattern("Nucleoli", cell)[rest].mean()
    assert (
        pattern("Nucleoli fibrillar center", cell)[inside].mean()
        > pattern("Nucleoli fibrillar center", cell)[rest].mean()
    )
    for name in ("Nucleoplasm", "Nuclear speckles"):
        assert pattern(name, cell)[inside].mean() < 0.8 * pattern(name, cell)[rest].mean()


def test_fibrillar_centers_are_smaller_than_nucleoli(cell: Cell) -> None:
    def size(name: str) -> int:
        plane = pattern(name, cell)
        return int((plane > 0.5 * plane.max()).sum())

    assert size("Nucleoli fibrillar center") < size("Nucleoli")


@pytest.mark.parametrize(("name", "reach"), [("Centrosome", 2.0), ("Aggresome", 6.0), ("Golgi apparatus", 14.0)])
def test_what_lies_at_the_centrosome_does(name: str, reach: float, cell: Cell) -> None:
    plane = pattern(name, cell)
    bright = plane > 0.5 * plane.max()
    assert bright[near(cell, cell.centrosome, reach)].sum() > 0.85 * bright.sum()


def test_the_plasma_membrane_is_the_edge(cell: Cell) -> None:
    plane = pattern("Plasma membrane", cell)
    edge = cell.mask & (cell.edge < 0.5)
    assert plane[edge].mean() > 2 * plane[cell.edge > 3].mean()


def test_microtubules_and_reticulum_follow_their_reference_channels(cell: Cell) -> None:
    rng = np.random.default_rng(0)
    tubules, er = draw_microtubules(cell, rng), draw_er(cell, rng)
    for name, reference, other in (("Microtubules", tubules, er), ("Endoplasmic reticulum", er, tubules)):
        plane = draw_pattern(NAMES.index(name), cell, PLAIN, tubules, er, rng)[cell.cytoplasm]
        own = np.corrcoef(plane, reference[cell.cytoplasm])[0, 1]
        assert own > 0.7
        assert own > np.corrcoef(plane, other[cell.cytoplasm])[0, 1] + 0.2


def test_only_dividing_cells_have_a_spindle(cell: Cell, dividing: Cell) -> None:
    assert pattern("Mitotic spindle", cell).max() < 0.5
    plane = pattern("Mitotic spindle", dividing)
    bright = plane > 0.5 * plane.max()
    assert bright[near(dividing, dividing.center, 7)].sum() > 0.95 * bright.sum()


def test_a_spindle_is_longer_than_wide(dividing: Cell) -> None:
    plane = pattern("Mitotic spindle", dividing)
    y, x = np.nonzero(plane > 0.5 * plane.max())
    along = np.array([np.cos(dividing.axis), np.sin(dividing.axis)])
    offset = np.stack([x - dividing.center[0], y - dividing.center[1]], axis=1)
    assert (offset @ along).std() > 1.2 * (offset @ [-along[1], along[0]]).std()


def test_structures_that_mitosis_disperses_become_cytosol(dividing: Cell) -> None:
    cytosol = pattern("Cytosol", dividing)
    for name in ("Nucleoplasm", "Nuclear membrane", "Golgi apparatus"):
        assert np.corrcoef(pattern(name, dividing).ravel(), cytosol.ravel())[0, 1] > 0.8


def test_patterns_of_one_cell_differ(cell: Cell) -> None:
    planes = {name: pattern(name, cell)[cell.mask] for name in NAMES[:-1] if name != "Mitotic spindle"}
    for first, one in planes.items():
        for second, two in planes.items():
            if first < second:
                assert np.corrcoef(one, two)[0, 1] < 0.93, (first, second)


def test_dna_is_in_the_nucleus_and_dark_in_nucleoli(cell: Cell, dividing: Cell) -> None:
    plane = draw_dna(cell, np.random.default_rng(0))
    assert share(plane, cell.outside < 0.5) > 0.97
    assert plane[cell.nucleoli.plane > 0.5].mean() < 0.7 * plane[cell.nucleus].mean()
    assert draw_dna(dividing, np.random.default_rng(0))[dividing.nucleus].mean() > 1.2 * plane[cell.nucleus].mean()


def test_an_unknown_class_is_an_error(cell: Cell) -> None:
    empty = np.zeros(cell.shape, np.float32)
    for number in (-1, 19):
        with pytest.raises(ValueError, match="expected a class number from 0 to 18"):
            draw_pattern(number, cell, PLAIN, empty, empty, np.random.default_rng(0))


def test_a_cell_that_lies_outside_cannot_be_cut_out() -> None:
    rng = np.random.default_rng(0)
    line = line_named("U-2 OS")
    plans = [shape_cell(plan, line, False, PIXEL, rng) for plan in place_cells(line, 256, PIXEL, 0.0, rng)]
    layout = draw_layout(plans, 256, PIXEL, np.zeros((256, 256), np.float32))
    empty = type(layout)(layout.plans, np.zeros_like(layout.owner), layout.nucleus)
    assert cut_out(empty, 1, PIXEL, rng) is None
