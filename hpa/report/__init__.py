"""Figures and self-contained HTML pages: the report of a run, the description of a dataset."""

from hpa.report.appearance import Reference
from hpa.report.dataset import dataset_report
from hpa.report.gallery import Example, make_example
from hpa.report.page import (
    Block,
    Card,
    Cards,
    Facts,
    Figure,
    Gallery,
    Note,
    Page,
    Section,
    Table,
    Tile,
    render_page,
    write_page,
)
from hpa.report.pipeline import LabelledCells, pipeline_report
from hpa.report.run import run_report
from hpa.report.segmentation import SegmentedExample, segmentation_report
from hpa.report.segmentation_training import TrueAndFound, segmentation_training_report

__all__ = [
    "Block",
    "Card",
    "Cards",
    "Example",
    "Facts",
    "Figure",
    "Gallery",
    "LabelledCells",
    "Note",
    "Page",
    "Reference",
    "Section",
    "SegmentedExample",
    "Table",
    "Tile",
    "TrueAndFound",
    "dataset_report",
    "make_example",
    "pipeline_report",
    "render_page",
    "run_report",
    "segmentation_report",
    "segmentation_training_report",
    "write_page",
]
