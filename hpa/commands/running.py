"""How a command runs a stage: configuration in, folder out, expected errors as messages."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any

import typer

from hpa import progress
from hpa.config import Config, ConfigError, load_config
from hpa.console import Console

FAILED = 1
"""Exit status of a command that could not do its work: bad data, a missing artifact, a full disk."""
MISUSED = 2
"""Exit status of a wrong configuration or command line."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with what differs from the defaults.", metavar="FILE")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Overrides, applied last, such as `loop.epochs=3`.", metavar="[KEY=VALUE]...")
]


def run_configured(
    model: type[Any],
    stage: Callable[[Any], Path],
    path: Path | None,
    overrides: list[str] | None,
    section: str | None = None,
) -> None:
    """Load the configuration, run the stage, print its folder last; turn expected errors into messages."""
    with explained():
        config: Config = load_config(model, path, overrides or [], section)
        folder = stage(config)
        if _is_main_process():
            typer.echo(folder)


@contextlib.contextmanager
def explained() -> Iterator[None]:
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
