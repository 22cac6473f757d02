"""Everything that a killed run needs to go on as if nothing had happened, in the folder's last checkpoint."""

from pathlib import Path
from typing import Any

import pydantic
import torch

from hpa.training.checkpoints import (
    LAST,
    CheckpointError,
    fill_module,
    load_tensors,
    remove_leftovers,
    save_tensors,
)
from hpa.training.optimizer_state import fill_optimizer, flatten_optimizer
from hpa.training.run import LoopState, Run
from hpa.training.task import StatefulTask

FORMAT = 1


def save_snapshot(run: Run) -> None:
    """Replace the last checkpoint; called on every process, written by the main one.

    Raises:
        OSError: a full disk or a folder that cannot be written; the earlier checkpoint is as it was.
    """
    memory = run.task.state(run.accelerator) if isinstance(run.task, StatefulTask) else {}
    if not run.accelerator.is_main_process:
        return
    slots, plain = flatten_optimizer(run.optimizer)
    parts = {"model": run.model.state_dict(), "optimizer": slots, "task": memory}
    if run.average is not None:
        parts["average"] = run.average.module.state_dict()
    scaler = run.accelerator.scaler
    save_tensors(
        run.folder / LAST,
        {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()},
        {
            "format": FORMAT,
            "config": run.config.model_dump(mode="json"),
            "state": run.state.model_dump(mode="json"),
            "optimizer": plain,
            "scaler": scaler.state_dict() if scaler is not None else None,
        },
    )


def load_snapshot(run: Run) -> None:
    """Take up the last checkpoint where there is one; called on every process, to all of which it must be visible.

    Raises:
        CheckpointError: the file is no checkpoint, of another model or configuration, or not seen by all processes.
    """
    path = run.folder / LAST
    if run.accelerator.is_main_process:
        remove_leftovers(run.folder)
    run.accelerator.wait_for_everyone()  # the main process may still be writing what a failed run left
    if path.exists():
        run.state = _filled(run, path)
    places = run.accelerator.gather(torch.tensor([[run.state.epoch, run.state.step]], device=run.accelerator.device))
    if not (places == places[0]).all():
        raise CheckpointError(
            f"{path}: the processes found different checkpoints (epoch and step {places.tolist()}); "
            "the run's folder must be one that all machines share"
        )


def _filled(run: Run, path: Path) -> LoopState:
    """The checkpoint's state; its tensors go into the run."""
    tensors, meta = load_tensors(path)
    _require_ours(path, meta, run.config.model_dump(mode="json"))
    try:
        state = LoopState.model_validate(meta.get("state"))
    except pydantic.ValidationError as error:
        raise CheckpointError(
            f"{path}: the run's state in it is damaged ({error.error_count()} problems); remove it to start again"
        ) from None
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "optimizer": {}, "task": {}, "average": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    fill_module(run.model, parts["model"], str(path))
    fill_optimizer(run.optimizer, parts["optimizer"], meta.get("optimizer"))
    if run.average is not None:
        fill_module(run.average.module, parts["average"], str(path))
    if isinstance(run.task, StatefulTask):
        run.task.load_state(parts["task"])
    if run.accelerator.scaler is not None and meta.get("scaler"):
        run.accelerator.scaler.load_state_dict(meta["scaler"])
    return state


def _require_ours(path: Path, meta: dict[str, Any], config: dict[str, Any]) -> None:
    found = meta.get("config")
    if meta.get("format") != FORMAT or not isinstance(found, dict):
        raise CheckpointError(
            f"{path}: expected a run's checkpoint of format {FORMAT}, but got {meta.get('format')!r}; it may hold "
            "weights alone or be another version's, remove it to start again"
        )
    differing = sorted(key for key in found.keys() | config.keys() if found.get(key) != config.get(key))
    if differing:
        shown = "; ".join(f"{key}: there {found.get(key)!r}, now {config.get(key)!r}" for key in differing)
        raise CheckpointError(
            f"{path}: is of a run with other settings ({shown}); give another folder or remove this one"
        )
