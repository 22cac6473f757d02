"""The command line: `hpa STAGE --config FILE [key.path=value ...]`. The only place that prints to a person."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hpa import progress
from hpa.config import Config, ConfigError, load_config
from hpa.console import Console

FAILED = 1
"""Exit status of a command that could not do its work: bad data, a missing artifact, a full disk."""
MISUSED = 2
"""Exit status of a wrong configuration or command line."""


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Protein localization in human cells: from images with image labels to labelled cells.",
    epilog="Exit status: 0 done, 1 the work failed, 2 wrong configuration. HPA_DEBUG=1 shows tracebacks.",
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with what differs from the defaults.", metavar="FILE")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Overrides, applied last, such as `loop.epochs=3`.", metavar="[KEY=VALUE]...")
]


@app.command("simulate")
def simulate(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Write a simulated atlas whose cells' truth is known.

    **In**: nothing.

    **Out**: `out/` in the Kaggle 2021 layout (`train.csv`, `train/`), and `truth/` with label maps, cell labels and
    planted defects.

    **Example**: `hpa simulate out=work/atlas simulation.images=500`
    """
    from hpa.stages import simulate as stage

    _run(stage.SimulateConfig, stage.run, config, overrides)


@app.command("index")
def index(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Check every image of a dataset once.

    **In**: a source (`source.kind`: kaggle2021, kaggle2018, class_folders, table, npz or simulated).

    **Out**: `out/index/` with `images.parquet`, `labels.parquet` and `problems.csv`, which lists what was left out.

    **Example**: `hpa index --config configs/data/hpa2021.yaml source.folder=train source.csv=train.csv`
    """
    from hpa.stages import dataset
    from hpa.stages import index as stage

    _run(dataset.DatasetConfig, stage.run, config, overrides, section="data")


@app.command("fold")
def fold(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Share the images out into folds that keep groups whole and classes balanced.

    **In**: the index (made first where it is missing).

    **Out**: `out/fold/` with `folds.parquet` and `report.csv`: how far each fold is from its share of each class.

    **Example**: `hpa fold --config configs/data/hpa2021.yaml fold.folds=5`
    """
    from hpa.stages import dataset
    from hpa.stages import fold as stage

    _run(dataset.DatasetConfig, stage.run, config, overrides, section="data")


@app.command("cache")
def cache(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Resize every image once and store the pixels for fast random access.

    **In**: the index (made first where it is missing).

    **Out**: `out/cache-SIZE/` with `pixels.npy`; says how much disk it takes before it starts.

    **Example**: `hpa cache --config configs/data/hpa2021.yaml cache.size=600`
    """
    from hpa.stages import cache as stage
    from hpa.stages import dataset

    _run(dataset.DatasetConfig, stage.run, config, overrides, section="data")


@app.command("describe")
def describe(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Draw a page about a dataset, to be read before anyone trains on it.

    **In**: the index, and the folds where they stand (made first where they are missing).

    **Out**: `out/describe/describe.html`: labels, sizes, intensities, examples, folds, problems, duplicates.

    **Example**: `hpa describe --config configs/data/hpa2021.yaml source.folder=train source.csv=train.csv`
    """
    from hpa.stages import describe as stage

    _run(stage.DescribeConfig, stage.run, config, overrides, section="data")


@app.command("train_image_level")
def train_image_level(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train a classifier on whole images: the main job.

    **In**: a dataset (`data.source`); index, folds and cache are made first where they are missing.

    **Out**: `out/` with a checkpoint per fold, out-of-fold probabilities, embeddings, `metrics.json`, `report.html`.

    **Example**: `hpa train_image_level --config configs/image_level/demo.yaml loop.epochs=12 out=runs/longer`
    """
    from hpa.stages import train_image_level as stage

    _run(stage.TrainImageLevelConfig, stage.run, config, overrides)


@app.command("predict")
def predict(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Predict the classes of new images with one or more finished runs, all their folds averaged.

    **In**: `runs`, and a dataset with or without labels (`data.source`).

    **Out**: `out/` with `probabilities.parquet`, `embeddings/`, and `metrics.json` and a report where labels are known.

    **Example**: `hpa predict runs=[runs/demo] data.source.kind=kaggle2021 data.source.folder=test out=runs/test`
    """
    from hpa.stages import predict as stage

    _run(stage.PredictConfig, stage.run, config, overrides)


@app.command("run_pipeline")
def run_pipeline(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Run the whole chain: from images with labels to a scored submission of cells.

    **In**: images with labels (`data`), and images to predict (`test`); the simulated atlas without any setting.

    **Out**: `out/` with a folder for every step, `submission/submission.csv`, `metrics.json` and `report.html`.

    **Example**: `hpa run_pipeline --config configs/pipeline/demo.yaml`
    """
    from hpa.stages import run_pipeline as stage

    _run(stage.PipelineConfig, stage.run, config, overrides)


@app.command("train_bags")
def train_bags(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train on bags of cells with the labels of their images (multiple-instance learning).

    **In**: a dataset with labels (`data`) and its cells (`cells_cache`, of cache_cells).

    **Out**: `out/` with a network per fold, out-of-fold scores of every cell and image, and a report.

    **Example**: `hpa train_bags cells_cache=work/hpa2021/cache_cells out=runs/bags`
    """
    from hpa.stages import train_bags as stage

    _run(stage.TrainBagsConfig, stage.run, config, overrides)


@app.command("train_cell_level")
def train_cell_level(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train a classifier of single cells, on pseudo-labels or on true labels.

    **In**: a dataset (`data`), its cells (`cells_cache`) and their `labels`.

    **Out**: `out/` with a network per fold, out-of-fold scores and embeddings of every cell, and `metrics.json`.

    **Example**: `hpa train_cell_level cells_cache=work/hpa2021/cache_cells labels=work/hpa2021/pseudo_labels`
    """
    from hpa.stages import train_cell_level as stage

    _run(stage.TrainCellLevelConfig, stage.run, config, overrides)


@app.command("cache_cells")
def cache_cells(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Cut every segmented cell out of its image, once, for fast random access.

    **In**: a dataset (`data`) and its label maps (`cells`, of segment_cells).

    **Out**: `out/`, which train_cell_level, train_bags and predict_cells read.

    **Example**: `hpa cache_cells cells=work/hpa2021/cells crops.size=128 out=work/hpa2021/cache_cells`
    """
    from hpa.stages import cache_cells as stage

    _run(stage.CacheCellsConfig, stage.run, config, overrides)


@app.command("score_cells")
def score_cells(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Score cells by an image-level run: the image's probability, or that times the class activation in the cell.

    **In**: a finished `run`, images (`data`) and their label maps (`cells`).

    **Out**: `out/cell_scores.parquet`, out of fold for the images that the run learned from.

    **Example**: `hpa score_cells run=runs/hpa2021_lite0 cells=work/hpa2021/cells out=runs/cam`
    """
    from hpa.stages import score_cells as stage

    _run(stage.ScoreCellsConfig, stage.run, config, overrides)


@app.command("predict_cells")
def predict_cells(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Score every cell of a cache by one or more finished runs, all their folds averaged.

    **In**: `runs` of train_cell_level or train_bags, and cells (`cells_cache`).

    **Out**: `out/cell_scores.parquet`.

    **Example**: `hpa predict_cells runs=[runs/cell_level] cells_cache=work/test/cache_cells out=runs/test_cells`
    """
    from hpa.stages import predict_cells as stage

    _run(stage.PredictCellsConfig, stage.run, config, overrides)


@app.command("make_pseudo_labels")
def make_pseudo_labels(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Make soft labels of cells from the labels of their images and what networks see in the cells.

    **In**: a dataset with labels (`data`), its label maps (`cells`), and out-of-fold scores (`cell_scores`).

    **Out**: `out/cell_labels.parquet`, which train_cell_level reads, and `metrics.json`.

    **Example**: `hpa make_pseudo_labels cells=work/hpa2021/cells image_scores=runs/hpa2021_lite0`
    """
    from hpa.stages import make_pseudo_labels as stage

    _run(stage.MakePseudoLabelsConfig, stage.run, config, overrides)


@app.command("true_labels")
def true_labels(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Give found cells the labels of the true cells that they show, where the truth is known.

    **In**: label maps (`cells`), true label maps and true labels.

    **Out**: `out/cell_labels.parquet`.

    **Example**: `hpa true_labels cells=work/demo/segment_cells out=work/demo/true_labels`
    """
    from hpa.stages import true_labels as stage

    _run(stage.TrueLabelsConfig, stage.run, config, overrides)


@app.command("fuse")
def fuse(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Make one table of scores out of many: of images and cells, of one run or several, weighted by class.

    **In**: `members`, each with the tables of one or more runs.

    **Out**: `out/probabilities.parquet`, which build_submission takes, and the weights.

    **Example**: `hpa fuse --config configs/fusion/image_and_cell.yaml`
    """
    from hpa.stages import fuse as stage

    _run(stage.FuseConfig, stage.run, config, overrides)


@app.command("train_segmentation")
def train_segmentation(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Train a U-Net that finds cells and nuclei.

    **In**: images with label maps (`source`): the simulated atlas, or folders of images and label maps.

    **Out**: `out/` with the network, `metrics.json` of the images held out, and a page with their outlines.

    **Example**: `hpa train_segmentation source.kind=folder source.images=fields source.cells=masks out=runs/unet`
    """
    from hpa.stages import train_segmentation as stage

    _run(stage.TrainSegmentationConfig, stage.run, config, overrides)


@app.command("segment_cells")
def segment_cells(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Find every cell and its nucleus.

    **In**: a dataset (`data.source`); for `segmenter.kind` dpn_unet or unet their weights; watershed needs none.

    **Out**: `out/` with uint16 label maps in `cells/` and `nuclei/`, the table `cells.parquet`, and a page to look at.

    **Example**: `hpa segment_cells data.source.kind=kaggle2021 data.source.folder=test out=work/test/cells`
    """
    from hpa.stages import segment_cells as stage

    _run(stage.SegmentCellsConfig, stage.run, config, overrides)


@app.command("convert_hpacellseg")
def convert_hpacellseg(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="As published: a pickled network (.pth).")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="Takes its weights.")],
) -> None:
    """Turn hpacellseg's published networks into plain weights; nothing in the file is run.

    **In**: `dpn_unet_nuclei_v1.pth`, `dpn_unet_cell_3ch_v1.pth` or `dpn_unet_cell_v2.pth`.

    **Out**: a safetensors file for `segmenter.kind=dpn_unet`.

    **Example**: `hpa convert-hpacellseg dpn_unet_nuclei_v1.pth nuclei.safetensors`
    """
    with _explained():
        from hpa.segmentation import convert_hpacellseg as convert

        convert(source, target)
        typer.echo(target)


@app.command("build_submission")
def build_submission(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Write a submission: every cell's mask with a confidence for every class.

    **In**: label maps (`cells`, of segment_cells), and `probabilities` of cells, or of images for all of their cells.

    **Out**: `submissions/<name>/` with `submission.csv`, `check.json`, and `score.json` where a truth is given.

    **Example**: `hpa build_submission cells=work/test/cells probabilities=runs/test name=first`
    """
    from hpa.stages import build_submission as stage

    _run(stage.BuildSubmissionConfig, stage.run, config, overrides)


@app.command("check_submission")
def check_submission(
    submission: Annotated[Path, typer.Argument(metavar="FILE", help="The submission's CSV.")],
    sample: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The competition's sample submission, for IDs and sizes.")
    ] = None,
) -> None:
    """List everything that is wrong with a submission.

    **In**: a CSV of the competition's form.

    **Out**: one line per problem with its row; exit status 1 if there is any.

    **Example**: `hpa check-submission submissions/first/submission.csv --sample sample_submission.csv`
    """
    problems = []
    with _explained():
        from hpa.labels import HPA2021
        from hpa.submission import check_submission as check

        problems = check(submission, HPA2021, sample)
        for problem in problems:
            typer.echo(str(problem))
        wrong = sum(problem.severity == "error" for problem in problems)
        notes = len(problems) - wrong
        found = f"{wrong} problem{'s' if wrong != 1 else ''}" if wrong else "no problems"
        typer.echo(f"{submission}: {found}" + (f", {notes} remark{'s' if notes != 1 else ''}" if notes else ""))
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(FAILED)


@app.command("score_submission")
def score_submission(
    truth: Annotated[Path, typer.Option(metavar="FILE", help="True masks and classes, in the submission's form.")],
    prediction: Annotated[Path, typer.Option(metavar="FILE", help="The submission.")],
    verified: Annotated[
        Literal["all", "gt"],
        typer.Option(help="Which false positives count: all, or those of classes that the image has."),
    ] = "all",
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Takes the figures as JSON.")] = None,
    rounds: Annotated[int, typer.Option(min=0, help="Resamplings of the images for the interval.")] = 1000,
) -> None:
    """Score a submission with the competition's metric: mAP over the classes, masks matched at IoU 0.6.

    **In**: two CSVs of the competition's form.

    **Out**: mAP with its interval over images, AP and counts per class, by image size, and at the border or inside.

    **Example**: `hpa score-submission --truth truth.csv --prediction submissions/first/submission.csv`
    """
    with _explained():
        from hpa.stages import score_submission as stage

        found, interval = stage.run(truth, prediction, verified, json, rounds)
        typer.echo(stage.as_text(found, interval))


@app.command("write_truth")
def write_truth(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Write true label maps and labels in the submission's form, to score submissions against.

    **In**: `label_maps` named by image, and `labels` of cells, or of images for all of their cells.

    **Out**: the CSV `out`.

    **Example**: `hpa write_truth label_maps=masks labels=work/hpa2021/index/labels.parquet out=truth.csv`
    """
    from hpa.stages import write_truth as stage

    _run(stage.WriteTruthConfig, stage.run, config, overrides)


@app.command("time_budget")
def time_budget(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Measure a few images of each size, and say how long a whole test set takes and what to drop.

    **In**: test images (`cells.data`), a segmenter, finished runs, and the number of images to come.

    **Out**: `out/` with `costs.csv` (seconds per image, size and step) and `plans.csv` (hours, and whether they fit).

    **Example**: `hpa time_budget cells.data.source.folder=test cells.data.source.kind=kaggle2021 runs=[runs/b7]`
    """
    from hpa.stages import time_budget as stage

    _run(stage.TimeBudgetConfig, stage.run, config, overrides)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `hpa` and of the scripts; ends the process with its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and not given[0].startswith("-"):
        given[0] = given[0].replace("-", "_")  # stages are named as their scripts are; dashes are taken for that
    app(args=given, prog_name="hpa")


def run_stage(stage: str) -> None:
    """Entry point of `scripts/<stage>.py`: the stage with the script's own arguments."""
    main([stage, *sys.argv[1:]])


def _run(
    model: type[Any],
    stage: Callable[[Any], Path],
    path: Path | None,
    overrides: list[str] | None,
    section: str | None = None,
) -> None:
    """Load the configuration, run the stage, print its folder last; turn expected errors into messages."""
    with _explained():
        config: Config = load_config(model, path, overrides or [], section)
        folder = stage(config)
        if _is_main_process():
            typer.echo(folder)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Show progress on the terminal, and turn expected errors into a message and an exit status."""
    debug = os.environ.get("HPA_DEBUG") == "1"
    progress.set_reporter(Console() if _is_main_process() else progress.Silent())
    try:
        yield
    except ConfigError as error:
        _complain(
            "the configuration has problems:\n" + "\n".join(f"  {line}" for line in error.problems), MISUSED, debug
        )
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on from here", 130, debug)
    except BrokenProcessPool:
        _complain("a worker process was killed, most often for lack of memory; try workers.count=1", FAILED, debug)
    except OSError as error:
        _complain(_describe_os_error(error), FAILED, debug)
    except ValueError as error:
        _complain(str(error), FAILED, debug)


def _complain(text: str, status: int, debug: bool) -> None:
    if debug:
        raise
    typer.echo(f"hpa: {text}", err=True)
    raise typer.Exit(status)


def _describe_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}the disk is full; free some space and run the same command again, it goes on from here"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}cannot be written or read ({error.strerror}); choose another folder or change its permissions"
    return f"{where}{error.strerror or error}"


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


if __name__ == "__main__":
    main()
