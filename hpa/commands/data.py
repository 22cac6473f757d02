"""Data sets: simulated or indexed, dealt into folds, cached, described."""

import typer

from hpa.commands.running import ConfigOption, Overrides, run_configured

PANEL = "Data"
"""Heading in `hpa --help`."""

app = typer.Typer()


@app.command("simulate", rich_help_panel=PANEL)
def simulate(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Write a simulated atlas whose cells' truth is known.

    **In**: nothing.

    **Out**: `out/` in the Kaggle 2021 layout (`train.csv`, `train/`), and `truth/` with label maps, cell labels and
    planted defects.

    **Example**: `hpa simulate out=work/atlas simulation.images=500`
    """
    from hpa.stages.data import simulate as stage

    run_configured(stage.SimulateConfig, stage.run, config, overrides)


@app.command("index", rich_help_panel=PANEL)
def index(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Check every image of a dataset once.

    **In**: a source (`source.kind`: kaggle2021, kaggle2018, class_folders, table, npz or simulated).

    **Out**: `out/index/` with `images.parquet`, `labels.parquet` and `problems.csv`, which lists what was left out.

    **Example**: `hpa index --config configs/data/hpa2021.yaml source.folder=train source.csv=train.csv`
    """
    from hpa.stages.data import dataset
    from hpa.stages.data import index as stage

    run_configured(dataset.DatasetConfig, stage.run, config, overrides, section="data")


@app.command("fold", rich_help_panel=PANEL)
def fold(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Share the images out into folds that keep groups whole and classes balanced.

    **In**: the index (made first where it is missing).

    **Out**: `out/fold/` with `folds.parquet` and `report.csv`: how far each fold is from its share of each class.

    **Example**: `hpa fold --config configs/data/hpa2021.yaml fold.folds=5`
    """
    from hpa.stages.data import dataset
    from hpa.stages.data import fold as stage

    run_configured(dataset.DatasetConfig, stage.run, config, overrides, section="data")


@app.command("cache", rich_help_panel=PANEL)
def cache(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Resize every image once and store the pixels for fast random access.

    **In**: the index (made first where it is missing).

    **Out**: `out/cache-SIZE/` with `pixels.npy`; says how much disk it takes before it starts.

    **Example**: `hpa cache --config configs/data/hpa2021.yaml cache.size=600`
    """
    from hpa.stages.data import cache as stage
    from hpa.stages.data import dataset

    run_configured(dataset.DatasetConfig, stage.run, config, overrides, section="data")


@app.command("describe", rich_help_panel=PANEL)
def describe(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Draw a page about a dataset, to be read before anyone trains on it.

    **In**: the index, and the folds where they stand (made first where they are missing).

    **Out**: `out/describe/describe.html`: labels, sizes, intensities, examples, folds, problems, duplicates.

    **Example**: `hpa describe --config configs/data/hpa2021.yaml source.folder=train source.csv=train.csv`
    """
    from hpa.stages.data import describe as stage

    run_configured(stage.DescribeConfig, stage.run, config, overrides, section="data")
