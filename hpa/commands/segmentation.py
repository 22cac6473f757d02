"""Finding cells."""

from pathlib import Path
from typing import Annotated

import typer

from hpa.commands.running import ConfigOption, Overrides, explained, run_configured

PANEL = "Segmentation"
"""Heading in `hpa --help`."""

app = typer.Typer()


@app.command("segment_cells", rich_help_panel=PANEL)
def segment_cells(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Find every cell and its nucleus.

    **In**: a dataset (`data.source`); for `segmenter.kind` dpn_unet or unet their weights; watershed needs none.

    **Out**: `out/` with uint16 label maps in `cells/` and `nuclei/`, the table `cells.parquet`, and a page to look at.

    **Example**: `hpa segment_cells data.source.kind=kaggle2021 data.source.folder=test out=work/test/cells`
    """
    from hpa.stages.cells import segment_cells as stage

    run_configured(stage.SegmentCellsConfig, stage.run, config, overrides)


@app.command("train_segmentation", rich_help_panel=PANEL)
def train_segmentation(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train a U-Net that finds cells and nuclei.

    **In**: images with label maps (`source`): the simulated atlas, or folders of images and label maps.

    **Out**: `out/` with the network, `metrics.json` of the images held out, and a page with their outlines.

    **Example**: `hpa train_segmentation source.kind=folder source.images=fields source.cells=masks out=runs/unet`
    """
    from hpa.stages.cells import train_segmentation as stage

    run_configured(stage.TrainSegmentationConfig, stage.run, config, overrides)


@app.command("convert_hpacellseg", rich_help_panel=PANEL)
def convert_hpacellseg(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="As published: a pickled network (.pth).")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="Takes its weights.")],
) -> None:
    """Turn hpacellseg's published networks into plain weights; nothing in the file is run.

    **In**: `dpn_unet_nuclei_v1.pth`, `dpn_unet_cell_3ch_v1.pth` or `dpn_unet_cell_v2.pth`.

    **Out**: a safetensors file for `segmenter.kind=dpn_unet`.

    **Example**: `hpa convert-hpacellseg dpn_unet_nuclei_v1.pth nuclei.safetensors`
    """
    with explained():
        from hpa.segmentation import convert_hpacellseg as convert

        convert(source, target)
        typer.echo(target)
