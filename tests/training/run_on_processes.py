"""A program for test_processes.py: trains toys as one process of several, or until it kills itself."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from conftest import ToyTask
from torch import nn

from hpa.training import (
    CheckpointError,
    LoopConfig,
    MachineConfig,
    TrainingDivergedError,
    infer,
    make_accelerator,
    train,
)

HERE = MachineConfig(loaders=0, checkpoint_seconds=None)
PLAIN = LoopConfig(epochs=2, batch_size=8, learning_rate=0.05, monitor="loss", mode="min", ema_decay=0.5)


def build(dropout, norm):
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(8) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(6, 8), middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))


# name: model, task, configuration on two processes, configuration on one that does the same
CASES = {
    "plain": ((0.0, False), {"mixing": False}, PLAIN, PLAIN),
    "one sample a step": (
        (0.0, False),
        {"mixing": False, "samples": 3},
        PLAIN.model_copy(update={"batch_size": 1}),
        PLAIN.model_copy(update={"batch_size": 1}),
    ),
    "accumulated": ((0.0, False), {"mixing": False}, PLAIN.model_copy(update={"accumulate": 3}), PLAIN),
    "random": ((0.3, False), {"mixing": True}, PLAIN, PLAIN.model_copy(update={"accumulate": 2})),
    "average of batch norm": ((0.0, True), {"mixing": False}, PLAIN, None),
}


class Watching(ToyTask):
    """Keeps what each process saw."""

    def validate(self, model, accelerator):
        metrics = super().validate(model, accelerator)
        self.own = [*getattr(self, "own", []), metrics["loss"]]
        return metrics


class Stopping(ToyTask):
    def loss(self, model, batch, step):
        if (step.epoch, step.step) == (1, 1):
            raise KeyboardInterrupt
        return super().loss(model, batch, step)


class OneSided(ToyTask):
    """Diverges on the second process alone."""

    def loss(self, model, batch, step):
        loss = super().loss(model, batch, step)
        rank = int(os.environ["RANK"])
        return loss * float("nan") if (step.epoch, step.step, rank) == (0, 1, 1) else loss


class Dying(ToyTask):
    def loss(self, model, batch, step):
        if (step.epoch, step.step) == (1, 2):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch, step)


def run_cases(folder: Path) -> None:
    results = {}
    for name, (model, task, config, _) in CASES.items():
        watching = Watching(**task)
        history = train(build(*model), watching, config, folder / name, HERE)
        results[name] = {"losses": history.step_losses, "own": watching.own}
    machine = HERE.model_copy(update={"checkpoint_steps": 1})
    stopped = folder / "stopped"
    try:
        train(build(0.3, True), Stopping(), PLAIN, stopped, machine)
    except KeyboardInterrupt:
        results["stopped"] = len(list(stopped.glob("last.safetensors")))
    train(build(0.3, True), ToyTask(), PLAIN, stopped, machine)
    train(build(0.3, True), ToyTask(), PLAIN, folder / "whole", machine)
    try:
        train(build(0.0, False), OneSided(), PLAIN, folder / "diverged", HERE)
    except TrainingDivergedError as error:
        results["diverged"] = str(error)
    accelerator = make_accelerator()
    own = folder / f"own{accelerator.process_index}"  # a folder that is not shared: only the first has a checkpoint
    own.mkdir()
    if accelerator.is_main_process:
        (own / "last.safetensors").write_bytes((stopped / "last.safetensors").read_bytes())
    try:
        train(build(0.3, True), ToyTask(), PLAIN, own, HERE)
    except CheckpointError as error:
        results["not shared"] = str(error)
    for count in (1, 5):
        found = infer(
            nn.Identity(),
            lambda model, batch: {"index": batch["index"]},
            lambda index, epoch: {"index": index},
            np.arange(count)[::-1] * 10,
            accelerator,
            batch_size=2,
            machine=HERE,
        )
        results[f"infer {count}"] = found["index"].tolist()
    results["processes"] = accelerator.num_processes
    (folder / f"results{accelerator.process_index}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, out = sys.argv[1], Path(sys.argv[2])
    if what == "cases":
        run_cases(out)
    else:
        train(build(0.3, True), Dying(), PLAIN, out, MachineConfig(loaders=1, checkpoint_steps=2))
