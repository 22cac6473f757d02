"""Which network to trust and why: explanations, comparisons, ensembles, agreement of annotators."""

import typer

from hpa.commands.running import ConfigOption, Overrides, run_configured

PANEL = "Judging and joining networks"
"""Heading in `hpa --help`."""

app = typer.Typer()


@app.command("explain", rich_help_panel=PANEL)
def explain(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Say why a trained network answers as it does: attribution maps, judged, and pages to look at.

    **In**: a finished `run` of train_image_level, or with `level=cell` of train_cell_level or train_bags, and its data
    set (`data`); cells and true labels (`cells`, `labels`) where they are known.

    **Out**: `out/report.html`, `out/pages/`, raw maps in `out/maps/*.npz`, and `out/comparison.csv` of the methods.

    **Example**: `hpa explain run=runs/demo out=runs/explanations`
    """
    from hpa.stages.explanation import explain as stage

    run_configured(stage.ExplainConfig, stage.run, config, overrides)


@app.command("compare", rich_help_panel=PANEL)
def compare(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train variants of a configuration under one budget, and say which is better, by how much, and how surely.

    **In**: a `base` configuration of train_image_level, `variants` or a `grid` of its settings, and perhaps `test`
    images that no variant learns from.

    **Out**: `out/report.html`, `out/table.csv` and `out/pairs.csv` with intervals, a run per variant in `out/runs/`.

    **Example**: `hpa compare --config configs/compare/demo.yaml`
    """
    from hpa.stages.comparison import compare as stage

    run_configured(stage.CompareConfig, stage.run, config, overrides)


@app.command("search", rich_help_panel=PANEL)
def search(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Look for good settings of a training with Optuna; several processes can share one search.

    **In**: a `base` configuration of train_image_level, the `space` of settings, a budget in trials or hours.

    **Out**: `out/report.html`, `out/trials.csv`, `out/best.yaml` to train with, and the study (`out/study.db`).

    **Example**: `hpa search --config configs/search/demo.yaml`
    """
    from hpa.stages.comparison import search as stage

    run_configured(stage.SearchConfig, stage.run, config, overrides)


@app.command("ensemble", rich_help_panel=PANEL)
def ensemble(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Join classifiers of images into one: mean, confidence-weighted, rank, fitted weights or stacking.

    What is fitted is measured across folds; `fitted` applies an earlier fit to predictions of new images. One member
    with `moving=macro_recall` moves its thresholds towards rare classes.

    **In**: `members`, each of one or more runs or tables of probabilities, and their data set (`data`).

    **Out**: `out/probabilities.parquet`, and a page of what each member adds and whose errors coincide.

    **Example**: `hpa ensemble --config configs/ensemble/stacking.yaml`
    """
    from hpa.stages.comparison import ensemble as stage

    run_configured(stage.EnsembleConfig, stage.run, config, overrides)


@app.command("annotators", rich_help_panel=PANEL)
def annotators(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Compare the labels that several people gave the same images: agreement, soft labels, hard images.

    **In**: a dataset (`data`) whose table has a column for each annotator.

    **Out**: `out/decisions.parquet` for train_image_level, `out/findings.parquet` for denoise, and a page.

    **Example**: `hpa annotators --config configs/annotators/chaoyang.yaml data.source.folder=/data/chaoyang`
    """
    from hpa.stages.anomalies import annotators as stage

    run_configured(stage.AnnotatorsConfig, stage.run, config, overrides)
