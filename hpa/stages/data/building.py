"""Building one artifact from several processes of a training."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from hpa.artifacts import Record, build, partial_folder


@contextmanager
def build_together(out: Path, record: Record, accelerator: Accelerator) -> Iterator[Path]:
    """The partial folder on every process; the main one makes it, and renames it when all have finished.

    Raises as `hpa.artifacts.build` does.
    """
    if accelerator.is_main_process:
        with build(out, record) as folder:
            accelerator.wait_for_everyone()
            yield folder
            accelerator.wait_for_everyone()
    else:
        accelerator.wait_for_everyone()
        yield partial_folder(out)
        accelerator.wait_for_everyone()
