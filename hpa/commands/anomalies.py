"""What is wrong with images, cells and labels: finding it, looking at it, learning from the rest."""

import typer

from hpa.commands.running import ConfigOption, Overrides, run_configured

PANEL = "Anomalies"
"""Heading in `hpa --help`."""

app = typer.Typer()


@app.command("embed", rich_help_panel=PANEL)
def embed(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Turn every image or cell into a vector, in which like ones are near.

    **In**: a dataset (`data`), and for `method.kind` run or unet a finished training.

    **Out**: `out/values.npy` (one float32 row each) and `out/keys.parquet`.

    **Example**: `hpa embed method.kind=backbone out=work/demo/embed`
    """
    from hpa.stages.anomalies import embed as stage

    run_configured(stage.EmbedConfig, stage.run, config, overrides)


@app.command("detect_anomalies", rich_help_panel=PANEL)
def detect_anomalies(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Find images or cells that look wrong, and labels that are contradicted.

    **In**: a dataset (`data`); for some detectors an embedding, or a training's out-of-fold probabilities.

    **Out**: `out/findings.parquet` (per detector a score, higher is worse, and a decision), and a page to look at.

    **Example**: `hpa detect_anomalies out=work/demo/anomalies`
    """
    from hpa.stages.anomalies import detect_anomalies as stage

    run_configured(stage.DetectAnomaliesConfig, stage.run, config, overrides)


@app.command("project", rich_help_panel=PANEL)
def project(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Draw embeddings as maps of points (UMAP, t-SNE, PCA) to zoom into, colour and select from.

    **In**: one or more `embeddings`, their dataset (`data`), and `findings` to colour by, where there are some.

    **Out**: `out/project.html`, a PNG, the points' coordinates, and how well each embedding separates the classes.

    **Example**: `hpa project embeddings.backbone=work/demo/embed findings=work/demo/anomalies`
    """
    from hpa.stages.anomalies import project as stage

    run_configured(stage.ProjectConfig, stage.run, config, overrides)


@app.command("denoise", rich_help_panel=PANEL)
def denoise(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Decide which images training keeps, drops, weighs less or learns with other labels.

    **In**: a dataset with labels (`data`) and `findings`, of detect_anomalies.

    **Out**: `out/decisions.parquet`, which train_image_level reads as `decisions`, and a page of what was decided.

    **Example**: `hpa denoise findings=work/demo/anomalies policy.kind=drop out=work/demo/denoised`
    """
    from hpa.stages.anomalies import denoise as stage

    run_configured(stage.DenoiseConfig, stage.run, config, overrides)
