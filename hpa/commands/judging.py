"""Which network to trust: agreement of annotators."""

import typer

from hpa.commands.running import ConfigOption, Overrides, run_configured

PANEL = "Judging and joining networks"
"""Heading in `hpa --help`."""

app = typer.Typer()


@app.command("annotators", rich_help_panel=PANEL)
def annotators(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Compare the labels that several people gave the same images: agreement, soft labels, hard images.

    **In**: a dataset (`data`) whose table has a column for each annotator.

    **Out**: `out/decisions.parquet` for train_image_level, `out/findings.parquet` for denoise, and a page.

    **Example**: `hpa annotators --config configs/annotators/chaoyang.yaml data.source.folder=/data/chaoyang`
    """
    from hpa.stages import annotators as stage

    run_configured(stage.AnnotatorsConfig, stage.run, config, overrides)
