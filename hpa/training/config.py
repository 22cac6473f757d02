"""Settings of the training loop: what decides the weights, and apart from it what decides only speed and safety."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from hpa.config import Config
from hpa.training.device import Precision

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class LoopConfig(Config):
    """How a model is trained; everything here decides the weights, so records and checkpoints hold it.

    Attributes:
        epochs: passes over the task's order.
        batch_size: most samples of one optimiser step, over all processes and micro-batches together.
        accumulate: micro-batches that a process splits its share of a batch into, to need less memory. Without
            BatchNorm or randomness in the model this changes nothing but rounding.
        precision: `no` (float32), `bf16`, or `fp16` (GPU only). Weights and optimiser state stay float32. On a CPU
            without AMX, bf16 is slower than `no`.
        optimizer: one of timm's names (`timm.optim.list_optimizers()`), such as `adamw`, `sgd`, `lamb`.
        learning_rate: the peak, after the warm-up.
        learning_rate_factors: factor on the learning rate by the start of a parameter's name, the longest match
            winning: `{"backbone": 0.1}` trains the backbone ten times more slowly than the head.
        weight_decay: on weights only, never on biases, norms or other vectors.
        warmup: part of the training during which the learning rate rises linearly from 0.
        final_factor: learning rate at the end of the cosine, as a part of the peak.
        clip: greatest norm of the gradient over all parameters; None leaves it alone.
        ema_decay: decay of the moving average of weights that is validated and kept, with timm's warm-up
            `1 - (1 + step)^(-2/3)`; None validates the weights themselves.
        monitor: validation metric that chooses the best epoch; None takes the last epoch.
        mode: whether more or less of it is better.
        patience: epochs without a better value after which training stops; None never stops early.
        batch_norm: `train` uses batch statistics per micro-batch and process (running statistics are those of the
            first process); `frozen` keeps the running statistics as they came; `synchronised` shares batch statistics
            between GPUs.
        channels_last: memory layout of the convolutions; faster on GPUs in mixed precision, and on CPUs in float32 (1.5
            times as many images/s for tf_efficientnet_lite0 on one core with AVX-512).
        seed: of dropout, drop path and the batch generator; the task has its own for samples.
    """

    epochs: Positive = 10
    batch_size: Positive = 32
    accumulate: Positive = 1
    precision: Precision = "no"
    optimizer: str = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    learning_rate_factors: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Fraction = 0.05
    final_factor: Annotated[float, Field(ge=0, le=1)] = 0.01
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    ema_decay: Fraction | None = None
    monitor: str | None = None
    mode: Literal["max", "min"] = "max"
    patience: Positive | None = None
    batch_norm: Literal["train", "frozen", "synchronised"] = "train"
    channels_last: bool = False
    seed: Annotated[int, Field(ge=0)] = 0

    @pydantic.field_validator("optimizer")
    @classmethod
    def _known(cls, name: str) -> str:
        import timm.optim

        if name.lower() not in timm.optim.list_optimizers():
            raise ValueError("expected one of timm's optimizers (timm.optim.list_optimizers() names them)")
        return name.lower()

    @pydantic.model_validator(mode="after")
    def _monitored(self) -> "LoopConfig":
        if self.patience is not None and self.monitor is None:
            raise ValueError("patience needs `monitor`, the metric to be patient about")
        return self


class MachineConfig(Config):
    """How the loop uses this machine; decides speed and safety only, so no record holds it.

    Attributes:
        loaders: worker processes that make batches, per training process; 0 makes them in the training process, None
            takes none on the CPU (whose cores the model needs) and up to 16 on a GPU.
        prefetch: batches that each worker makes ahead.
        checkpoint_steps: optimiser steps between checkpoints inside an epoch; None for no such rule.
        checkpoint_seconds: seconds between checkpoints inside an epoch; None for no such rule. A checkpoint is
            written at the end of every epoch anyway.
    """

    loaders: Annotated[int, Field(ge=0)] | None = None
    prefetch: Positive = 2
    checkpoint_steps: Positive | None = None
    checkpoint_seconds: Annotated[float, Field(gt=0)] | None = 300.0
