"""Image-level training and prediction."""

import typer

from hpa.commands.running import ConfigOption, Overrides, run_configured

PANEL = "Whole images"
"""Heading in `hpa --help`."""

app = typer.Typer()


@app.command("train_image_level", rich_help_panel=PANEL)
def train_image_level(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train a classifier on whole images: the main job.

    **In**: a dataset (`data.source`); index, folds and cache are made first where they are missing.

    **Out**: `out/` with a checkpoint per fold, out-of-fold probabilities, embeddings, `metrics.json`, `report.html`.

    **Example**: `hpa train_image_level --config configs/image_level/demo.yaml loop.epochs=12 out=runs/longer`
    """
    from hpa.stages.image_level import train_image_level as stage

    run_configured(stage.TrainImageLevelConfig, stage.run, config, overrides)


@app.command("predict", rich_help_panel=PANEL)
def predict(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Predict the classes of new images with one or more finished runs, all their folds averaged.

    **In**: `runs`, and a dataset with or without labels (`data.source`).

    **Out**: `out/` with `probabilities.parquet`, `embeddings/`, and `metrics.json` and a report where labels are known.

    **Example**: `hpa predict runs=[runs/demo] data.source.kind=kaggle2021 data.source.folder=test out=runs/test`
    """
    from hpa.stages.image_level import predict as stage

    run_configured(stage.PredictConfig, stage.run, config, overrides)
