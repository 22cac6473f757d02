"""From scored cells to a submission, its score and its time."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hpa.commands.running import FAILED, ConfigOption, Overrides, explained, run_configured

PANEL = "Submissions"
"""Heading in `hpa --help`."""

app = typer.Typer()


@app.command("run_pipeline", rich_help_panel=PANEL)
def run_pipeline(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Run the whole chain: from images with labels to a scored submission of cells.

    **In**: images with labels (`data`), and images to predict (`test`); the simulated atlas without any setting.

    **Out**: `out/` with a folder for every step, `submission/submission.csv`, `metrics.json` and `report.html`.

    **Example**: `hpa run_pipeline --config configs/pipeline/demo.yaml`
    """
    from hpa.stages.pipeline import run_pipeline as stage

    run_configured(stage.PipelineConfig, stage.run, config, overrides)


@app.command("build_submission", rich_help_panel=PANEL)
def build_submission(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Write a submission: every cell's mask with a confidence for every class.

    **In**: label maps (`cells`, of segment_cells), and `probabilities` of cells, or of images for all of their cells.

    **Out**: `submissions/<name>/` with `submission.csv`, `check.json`, and `score.json` where a truth is given.

    **Example**: `hpa build_submission cells=work/test/cells probabilities=runs/test name=first`
    """
    from hpa.stages.submission import build_submission as stage

    run_configured(stage.BuildSubmissionConfig, stage.run, config, overrides)


@app.command("check_submission", rich_help_panel=PANEL)
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
    with explained():
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


@app.command("score_submission", rich_help_panel=PANEL)
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
    with explained():
        from hpa.stages.submission import score_submission as stage

        found, interval = stage.run(truth, prediction, verified, json, rounds)
        typer.echo(stage.as_text(found, interval))


@app.command("write_truth", rich_help_panel=PANEL)
def write_truth(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Write true label maps and labels in the submission's form, to score submissions against.

    **In**: `label_maps` named by image, and `labels` of cells, or of images for all of their cells.

    **Out**: the CSV `out`.

    **Example**: `hpa write_truth label_maps=masks labels=work/hpa2021/index/labels.parquet out=truth.csv`
    """
    from hpa.stages.submission import write_truth as stage

    run_configured(stage.WriteTruthConfig, stage.run, config, overrides)


@app.command("time_budget", rich_help_panel=PANEL)
def time_budget(config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Measure a few images of each size, and say how long a whole test set takes and what to drop.

    **In**: test images (`cells.data`), a segmenter, finished runs, and the number of images to come.

    **Out**: `out/` with `costs.csv` (seconds per image, size and step) and `plans.csv` (hours, and whether they fit).

    **Example**: `hpa time_budget cells.data.source.folder=test cells.data.source.kind=kaggle2021 runs=[runs/b7]`
    """
    from hpa.stages.submission import time_budget as stage

    run_configured(stage.TimeBudgetConfig, stage.run, config, overrides)
