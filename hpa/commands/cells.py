"""Cell labels from image labels, and networks that learn on cells."""

import typer

from hpa.commands.running import ConfigOption, Overrides, run_configured

PANEL = "Cells"
"""Heading in `hpa --help`."""

app = typer.Typer()


@app.command("cache_cells", rich_help_panel=PANEL)
def cache_cells(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Cut every segmented cell out of its image, once, for fast random access.

    **In**: a dataset (`data`) and its label maps (`cells`, of segment_cells).

    **Out**: `out/`, which train_cell_level, train_bags and predict_cells read.

    **Example**: `hpa cache_cells cells=work/hpa2021/cells crops.size=128 out=work/hpa2021/cache_cells`
    """
    from hpa.stages.cells import cache_cells as stage

    run_configured(stage.CacheCellsConfig, stage.run, config, overrides)


@app.command("score_cells", rich_help_panel=PANEL)
def score_cells(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Score cells by an image-level run: the image's probability, or that times the class activation in the cell.

    **In**: a finished `run`, images (`data`) and their label maps (`cells`).

    **Out**: `out/cell_scores.parquet`, out of fold for the images that the run learned from.

    **Example**: `hpa score_cells run=runs/hpa2021_lite0 cells=work/hpa2021/cells out=runs/cam`
    """
    from hpa.stages.cell_level import score_cells as stage

    run_configured(stage.ScoreCellsConfig, stage.run, config, overrides)


@app.command("train_bags", rich_help_panel=PANEL)
def train_bags(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train on bags of cells with the labels of their images (multiple-instance learning).

    **In**: a dataset with labels (`data`) and its cells (`cells_cache`, of cache_cells).

    **Out**: `out/` with a network per fold, out-of-fold scores of every cell and image, and a report.

    **Example**: `hpa train_bags cells_cache=work/hpa2021/cache_cells out=runs/bags`
    """
    from hpa.stages.cell_level import train_bags as stage

    run_configured(stage.TrainBagsConfig, stage.run, config, overrides)


@app.command("make_pseudo_labels", rich_help_panel=PANEL)
def make_pseudo_labels(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Make soft labels of cells from the labels of their images and what networks see in the cells.

    **In**: a dataset with labels (`data`), its label maps (`cells`), and out-of-fold scores (`cell_scores`).

    **Out**: `out/cell_labels.parquet`, which train_cell_level reads, and `metrics.json`.

    **Example**: `hpa make_pseudo_labels cells=work/hpa2021/cells image_scores=runs/hpa2021_lite0`
    """
    from hpa.stages.cell_level import make_pseudo_labels as stage

    run_configured(stage.MakePseudoLabelsConfig, stage.run, config, overrides)


@app.command("true_labels", rich_help_panel=PANEL)
def true_labels(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Give found cells the labels of the true cells that they show, where the truth is known.

    **In**: label maps (`cells`), true label maps and true labels.

    **Out**: `out/cell_labels.parquet`.

    **Example**: `hpa true_labels cells=work/demo/segment_cells out=work/demo/true_labels`
    """
    from hpa.stages.cells import true_labels as stage

    run_configured(stage.TrueLabelsConfig, stage.run, config, overrides)


@app.command("train_cell_level", rich_help_panel=PANEL)
def train_cell_level(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train a classifier of single cells, on pseudo-labels or on true labels.

    **In**: a dataset (`data`), its cells (`cells_cache`) and their `labels`.

    **Out**: `out/` with a network per fold, out-of-fold scores and embeddings of every cell, and `metrics.json`.

    **Example**: `hpa train_cell_level cells_cache=work/hpa2021/cache_cells labels=work/hpa2021/pseudo_labels`
    """
    from hpa.stages.cell_level import train_cell_level as stage

    run_configured(stage.TrainCellLevelConfig, stage.run, config, overrides)


@app.command("predict_cells", rich_help_panel=PANEL)
def predict_cells(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Score every cell of a cache by one or more finished runs, all their folds averaged.

    **In**: `runs` of train_cell_level or train_bags, and cells (`cells_cache`).

    **Out**: `out/cell_scores.parquet`.

    **Example**: `hpa predict_cells runs=[runs/cell_level] cells_cache=work/test/cache_cells out=runs/test_cells`
    """
    from hpa.stages.cell_level import predict_cells as stage

    run_configured(stage.PredictCellsConfig, stage.run, config, overrides)


@app.command("fuse", rich_help_panel=PANEL)
def fuse(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Make one table of scores out of many: of images and cells, of one run or several, weighted by class.

    **In**: `members`, each with the tables of one or more runs.

    **Out**: `out/probabilities.parquet`, which build_submission takes, and the weights.

    **Example**: `hpa fuse --config configs/fusion/image_and_cell.yaml`
    """
    from hpa.stages.cell_level import fuse as stage

    run_configured(stage.FuseConfig, stage.run, config, overrides)
