"""The cell lines of the simulated atlas: how large, how long, how dense their cells are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CellLine:
    """How the cells of one line look.

    Areas, coverage and elongation are those of the cells that do not touch the border in the true masks of
    PRBioimages/Singlecell-protein-subcellular-location (104 fields, 0.08 µm/px); nucleus areas follow the nuclei of 50
    images of the 2018 competition (median 168 µm²); processes and clustering are by eye.

    Attributes:
        name: as the atlas writes it.
        weight: how often the line occurs, relative to the others.
        area: median area of a cell, µm².
        spread: standard deviation of the logarithm of the area.
        nucleus: median area of a nucleus, µm².
        roundness: short over long axis of a cell.
        processes: mean number of long thin extensions of a cell.
        ruggedness: relative size of the irregularities of an outline.
        coverage: mean part of the field that cells cover.
        clustering: part of the cells that grow beside another.
    """

    name: str
    weight: float
    area: float
    spread: float
    nucleus: float
    roundness: float
    processes: float
    ruggedness: float
    coverage: float
    clustering: float


CELL_LINES = (
    CellLine("U-2 OS", 34.0, 1089.0, 0.44, 212.0, 0.56, 0.5, 0.16, 0.53, 0.5),
    CellLine("A-431", 30.0, 1080.0, 0.50, 224.0, 0.66, 0.1, 0.10, 0.65, 0.8),
    CellLine("U-251 MG", 18.0, 676.0, 0.50, 184.0, 0.56, 0.9, 0.18, 0.37, 0.4),
    CellLine("HEK 293", 6.0, 563.0, 0.45, 146.0, 0.62, 0.5, 0.14, 0.66, 0.8),
    CellLine("PC-3", 6.0, 456.0, 0.46, 156.0, 0.57, 0.4, 0.12, 0.41, 0.5),
    CellLine("RH-30", 4.0, 487.0, 0.41, 156.0, 0.54, 0.6, 0.12, 0.35, 0.4),
    CellLine("A549", 2.0, 648.0, 0.39, 178.0, 0.65, 0.2, 0.12, 0.38, 0.5),
    CellLine("HaCaT", 2.0, 1400.0, 0.31, 234.0, 0.69, 0.1, 0.10, 0.46, 0.8),
    CellLine("SH-SY5Y", 2.0, 256.0, 0.41, 100.0, 0.53, 0.7, 0.14, 0.49, 0.7),
)
"""Nine of the atlas's lines, weighted as in that set (U-2 OS, A-431 and U-251 MG are the atlas's standard panel)."""


def line_named(name: str) -> CellLine:
    """The cell line of that name; raises ValueError when there is none."""
    for line in CELL_LINES:
        if line.name == name:
            return line
    raise ValueError(f"expected a cell line out of {[line.name for line in CELL_LINES]}, but got {name!r}")
