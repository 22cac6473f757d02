"""What lies in a field of view before a camera sees it: cells, their truth, and the light of the four channels."""

from dataclasses import dataclass, replace

import numpy as np

from hpa.arrays import Bool, Float32, Int64, LabelMap
from hpa.labels import HPA2021
from hpa.simulation.brightness import Brightness, draw_brightness
from hpa.simulation.cell import Cell, cut_out
from hpa.simulation.cell_lines import CellLine, line_named
from hpa.simulation.config import SimulationConfig
from hpa.simulation.labelling import MITOTIC_SPINDLE, NEGATIVE, Antibody, cell_classes, image_fractions
from hpa.simulation.layout import Layout, draw_layout
from hpa.simulation.outlines import shape_cell
from hpa.simulation.patterns import draw_pattern
from hpa.simulation.placement import Plan, place_cells
from hpa.simulation.stains import draw_dna, draw_er, draw_microtubules
from hpa.simulation.streams import Stream, stream
from hpa.simulation.style import draw_style
from hpa.simulation.textures import as_light, smooth_noise

RED, GREEN, BLUE, YELLOW = range(4)


@dataclass(frozen=True)
class Scene:
    """A field of view and its truth.

    Attributes:
        light: float32 (4, height, width), grey levels before the optics.
        cell_map: cell numbers 1, 2, ...; 0 outside cells and in those whose nucleus is not in the field.
        nucleus_map: same numbers, in the nuclei only.
        truth: bool (cells, classes), row i for cell i + 1.
        mitotic: which cells divide.
        line: name of the cell line.
        brightness: of the image's channels.
    """

    light: Float32[np.ndarray, "channels height width"]
    cell_map: LabelMap
    nucleus_map: LabelMap
    truth: Bool[np.ndarray, "cells classes"]
    mitotic: Bool[np.ndarray, " cells"]
    line: str
    brightness: Brightness


def make_scene(config: SimulationConfig, index: int, antibody: Antibody, nearly_empty: bool = False) -> Scene:
    """The scene of one image; the same for the same seed, index and antibody."""
    rng = stream(config.seed, Stream.SCENE, index)
    line = _draw_line(config, rng)
    fractions = image_fractions(config, antibody, stream(config.seed, Stream.CELL_LABELS, index))
    plans = _plans(config, line, antibody, fractions, nearly_empty, rng)
    shape = (config.size, config.size)
    wrinkles = smooth_noise(shape, 2.2 / config.pixel, rng) + 0.5 * smooth_noise(shape, 0.7 / config.pixel, rng)
    layout = draw_layout(plans, config.size, config.pixel, wrinkles)
    shown = _with_nucleus(layout)
    numbers = np.zeros(len(plans) + 1, np.uint16)
    numbers[shown] = np.arange(1, len(shown) + 1)
    cell_map = numbers[layout.owner]
    mitotic = np.array([plans[number - 1].mitotic for number in shown], bool)
    truth = cell_classes(
        antibody.classes,
        fractions,
        mitotic,
        np.bincount(cell_map.ravel(), minlength=len(shown) + 1)[1:].astype(np.float64),
        stream(config.seed, Stream.CELL_LABELS, index, 1),
    )
    brightness = draw_brightness(config, index, antibody)
    light = _light(config, index, antibody, layout, numbers, truth, fractions, brightness)
    return Scene(
        light, cell_map, np.where(layout.nucleus, cell_map, 0).astype(np.uint16), truth, mitotic, line.name, brightness
    )


def _draw_line(config: SimulationConfig, rng: np.random.Generator) -> CellLine:
    lines = [line_named(name) for name in config.cell_lines]
    weights = np.array([line.weight for line in lines], float)
    return lines[int(rng.choice(len(lines), p=weights / weights.sum()))]


def _plans(
    config: SimulationConfig,
    line: CellLine,
    antibody: Antibody,
    fractions: tuple[float, ...],
    nearly_empty: bool,
    rng: np.random.Generator,
) -> list[Plan]:
    size, pixel = config.size, config.pixel
    # Cultures differ: in the real images the median nucleus varies by a quarter from image to image.
    scale = float(np.exp(0.28 * np.clip(rng.standard_normal(), -2, 2)))
    line = replace(line, area=line.area * scale, nucleus=line.nucleus * scale)
    if nearly_empty:
        plans = place_cells(line, size, pixel, 0.0, rng)[: int(rng.integers(0, 2))]
    else:
        # The parts of the field covered in the real set have this spread around their line's mean.
        coverage = float(np.clip(rng.normal(line.coverage, 0.13), 0.12, 0.92))
        plans = place_cells(line, size, pixel, coverage, rng)
    centres = np.array([(plan.x, plan.y) for plan in plans]).reshape(-1, 2)
    clear = min(8 / pixel, size / 4)
    inside = np.flatnonzero(((centres > clear) & (centres < size - clear)).all(axis=1))
    mitotic = rng.random(len(plans)) < config.mitotic_fraction
    if MITOTIC_SPINDLE in antibody.classes and len(inside):
        fraction = fractions[antibody.classes.index(MITOTIC_SPINDLE)]
        mitotic[inside[rng.random(len(inside)) < fraction]] = True
        mitotic[rng.choice(inside)] = True
    return [shape_cell(plan, line, bool(divides), pixel, rng) for plan, divides in zip(plans, mitotic, strict=True)]


def _with_nucleus(layout: Layout) -> Int64[np.ndarray, " cells"]:
    """Numbers (1 + position) of the cells with at least a tenth of their nucleus in the field: the others are not
    told apart by nuclei, so that no truth or segmentation knows them as cells."""
    area = np.bincount(np.where(layout.nucleus, layout.owner, 0).ravel(), minlength=len(layout.plans) + 1)[1:]
    expected = np.array([np.pi * plan.nucleus_radius**2 for plan in layout.plans])
    # A dividing cell's chromosomes take a third of the area that its nucleus took.
    expected *= np.array([0.3 if plan.mitotic else 1.0 for plan in layout.plans])
    return np.flatnonzero(area >= np.maximum(0.1 * expected, 1)).astype(np.int64) + 1


def _light(
    config: SimulationConfig,
    index: int,
    antibody: Antibody,
    layout: Layout,
    numbers: LabelMap | np.ndarray,
    truth: Bool[np.ndarray, "cells classes"],
    fractions: tuple[float, ...],
    brightness: Brightness,
) -> Float32[np.ndarray, "channels height width"]:
    light = np.zeros((4, config.size, config.size), np.float32)
    for position in range(len(layout.plans)):
        rng = stream(config.seed, Stream.PIXELS, index, position)
        cell = cut_out(layout, position + 1, config.pixel, rng)
        if cell is None:
            continue
        number = int(numbers[position + 1])
        if number:
            shown = truth[number - 1]
        else:
            shown = np.zeros(len(HPA2021), bool)
            shown[[label for label, part in zip(antibody.classes, fractions, strict=True) if rng.random() < part]] = (
                True
            )
        tubules, er = draw_microtubules(cell, rng), draw_er(cell, rng)
        crop = (slice(None), *cell.box)
        stain = brightness.cell_factors(rng)
        planes = np.zeros((4, *cell.shape), np.float32)
        planes[RED] = tubules * stain[RED]
        planes[GREEN] = _protein(config, cell, antibody, shown, tubules, er, brightness, rng) * stain[GREEN]
        planes[BLUE] = draw_dna(cell, rng) * stain[BLUE]
        planes[YELLOW] = er * stain[YELLOW]
        light[crop] += planes
    return light * np.array(brightness.channels, np.float32)[:, None, None]


def _protein(
    config: SimulationConfig,
    cell: Cell,
    antibody: Antibody,
    shown: Bool[np.ndarray, " classes"],
    tubules: Float32[np.ndarray, "height width"],
    er: Float32[np.ndarray, "height width"],
    brightness: Brightness,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "height width"]:
    """All patterns of a cell, and the unspecific staining that every cell has."""
    flat = cell.height * cell.soft_mask
    total = flat * (1 - (1 - brightness.unspecific_nucleus) * cell.soft_nucleus) * brightness.unspecific
    weights = dict(zip(antibody.classes, brightness.classes, strict=True))
    for label in np.flatnonzero(shown):
        if label == NEGATIVE:
            continue
        # A class that the image does not have is its dispersed form in a dividing cell.
        source = int(label) if label in weights else antibody.classes[0]
        style = draw_style(stream(config.seed, Stream.STYLE, antibody.number, source))
        # What was in a small structure is spread over the whole cell.
        spread = 0.3 if int(label) not in weights else 1.0
        total = total + spread * weights[source] * draw_pattern(int(label), cell, style, tubules, er, rng)
    return as_light(total)
