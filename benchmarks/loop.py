"""Images/s of the training loop against a bare PyTorch loop on tensors in memory; the same model, rounds in turn.

    python benchmarks/loop.py [--model tf_efficientnet_lite0] [--size 128] [--batch 16] [--steps 6] [--rounds 6]

The bare loop indexes a tensor, computes the loss, clips, and steps the same optimiser: nothing else. The loop of
hpa.training takes every sample by itself from its task, collates, seeds, schedules, clips, looks at the loss and keeps
its history, with its default settings. One bare round runs in each epoch's validation, so that both see the same
machine. Prints images/s of each round, the median ratio after a first round of warm-up, and the ratio of the best
rounds, which other programs on the machine disturb less; the goal is 95 %.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import default_collate

from hpa.training import Batch, LoopConfig, MachineConfig, Sample, Step, make_accelerator, train
from hpa.training.optimizer import build_optimizer


class Network(nn.Module):
    """A timm network on uint8 images."""

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        self.network = timm.create_model(name, num_classes=classes, in_chans=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of uint8 images."""
        logits: torch.Tensor = self.network(images.float() / 255)
        return logits


class InMemory:
    """Images and targets in memory, and the bare loop as validation."""

    def __init__(self, options: argparse.Namespace, config: LoopConfig, accelerator: Accelerator) -> None:
        generator = np.random.default_rng(0)
        count = options.batch * options.steps
        self.images = generator.integers(0, 256, (count, 4, options.size, options.size), dtype=np.uint8)
        self.targets = (generator.random((count, 19)) < 0.1).astype(np.float32)
        self.config = config
        self.bare = Network(options.model, 19).to(accelerator.device)
        self.optimizer = build_optimizer(self.bare, config)
        self.rates: list[float] = []

    def order(self, epoch: int) -> np.ndarray:
        """A shuffle of each epoch's own."""
        return np.random.default_rng(epoch).permutation(len(self.images))

    def sample(self, index: int, epoch: int) -> Sample:
        """One image and its targets."""
        return {"images": self.images[index], "targets": self.targets[index]}

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stacked."""
        batch: Batch = default_collate(list(samples))
        return batch

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> torch.Tensor:
        """Binary cross-entropy."""
        return nn.functional.binary_cross_entropy_with_logits(model(batch["images"]), batch["targets"])

    def validate(self, model: nn.Module, accelerator: Accelerator) -> Mapping[str, float]:
        """One epoch of the bare loop; its images/s."""
        order = torch.from_numpy(self.order(len(self.rates))).to(accelerator.device)
        images = torch.from_numpy(self.images).to(accelerator.device)
        targets = torch.from_numpy(self.targets).to(accelerator.device)
        self.bare.train()
        start = time.perf_counter()
        for indices in torch.split(order, self.config.batch_size):
            with accelerator.autocast():
                logits = self.bare(images[indices])
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets[indices])
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.bare.parameters(), self.config.clip or torch.inf)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        self.rates.append(len(order) / (time.perf_counter() - start))
        return {"bare": self.rates[-1]}


def main() -> None:
    """Run the rounds and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--precision", default="no", choices=["no", "bf16"])
    parser.add_argument("--loaders", type=int, default=None, help="worker processes; the loop's default if not given")
    parser.add_argument("--threads", type=int, default=None, help="torch threads of the model; all cores if not given")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    config = LoopConfig(epochs=options.rounds + 1, batch_size=options.batch, precision=options.precision)
    accelerator = make_accelerator(config.precision)
    task = InMemory(options, config, accelerator)
    with tempfile.TemporaryDirectory() as folder:
        machine = MachineConfig(loaders=options.loaders)
        history = train(Network(options.model, 19), task, config, Path(folder), machine, accelerator)
    ours = [row.samples_per_second for row in history.epochs][1:]
    bare = task.rates[1:]
    for number, (one, other) in enumerate(zip(ours, bare, strict=True), start=1):
        print(f"round {number}: loop {one:8.1f} images/s, bare {other:8.1f} images/s, ratio {one / other:.3f}")
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    print(
        f"{options.model} at {options.size} px, batch {options.batch}, {options.precision}, {accelerator.device}, "
        f"{torch.get_num_threads()} threads: median ratio {statistics.median(ratios):.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f}); best rounds {max(ours):.1f} against {max(bare):.1f} images/s, "
        f"ratio {max(ours) / max(bare):.3f}; limited by the model's forward and backward pass"
    )


if __name__ == "__main__":
    main()
