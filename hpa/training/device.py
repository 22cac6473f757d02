"""Where a training runs: accelerate's accelerator, made so that one process can train several times."""

from typing import Annotated, Literal

import pydantic
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from hpa.training.freed_memory import keep_freed_memory

# In YAML a bare `no` is false.
Precision = Annotated[
    Literal["no", "bf16", "fp16"], pydantic.BeforeValidator(lambda value: "no" if value is False else value)
]


def make_accelerator(precision: Precision = "no", cpu: bool = False) -> Accelerator:
    """The device, precision and processes of a run.

    The launcher's environment (`torchrun`, `accelerate launch`) decides the processes. Accelerate keeps its precision
    in a process-wide singleton and refuses another one; here the later call wins and the processes stay connected. An
    accelerator made before with another precision is not to be used any more. On the CPU the process keeps the memory
    that it frees (`keep_freed_memory`).

    Args:
        precision: `no` is float32.
        cpu: use no GPU even where there is one.

    Raises:
        ValueError: fp16 without a GPU.
    """
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision=precision, cpu=cpu)
    if precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("precision: fp16 needs a GPU, but this machine offers none; use bf16 or no")
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    # The loop splits batches itself; a launcher's own number would divide the loss once more.
    accelerator.gradient_accumulation_steps = 1
    return accelerator
