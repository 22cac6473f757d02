"""The command line: `hpa STAGE --config FILE [key.path=value ...]`."""

import sys
from collections.abc import Sequence

import typer

from hpa.commands import anomalies, cells, data, images, judging, segmentation, submissions

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Protein localization in human cells: from images with image labels to labelled cells.",
    epilog="Exit status: 0 done, 1 the work failed, 2 wrong configuration. HPA_DEBUG=1 shows tracebacks.",
)
for _group in (data, images, judging, segmentation, cells, anomalies, submissions):
    app.add_typer(_group.app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `hpa` and of the scripts; ends the process with its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and not given[0].startswith("-"):
        given[0] = given[0].replace("-", "_")  # stages are named as their scripts are; dashes are taken for that
    app(args=given, prog_name="hpa")


def run_stage(stage: str) -> None:
    """Entry point of `scripts/<stage>.py`: the stage with the script's own arguments."""
    main([stage, *sys.argv[1:]])


if __name__ == "__main__":
    main()
