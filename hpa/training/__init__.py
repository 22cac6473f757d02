"""The training loop and what belongs to it: tasks, checkpoints, history, inference."""

from hpa.training.checkpoints import BEST, LAST, CheckpointError, load_weights, save_weights
from hpa.training.config import LoopConfig, MachineConfig
from hpa.training.device import Precision, make_accelerator
from hpa.training.divergence import TrainingDivergedError
from hpa.training.history import Epoch, History, seconds_trained
from hpa.training.inference import infer
from hpa.training.loop import train
from hpa.training.task import Batch, Sample, StatefulTask, Step, Task

__all__ = [
    "BEST",
    "LAST",
    "Batch",
    "CheckpointError",
    "Epoch",
    "History",
    "LoopConfig",
    "MachineConfig",
    "Precision",
    "Sample",
    "StatefulTask",
    "Step",
    "Task",
    "TrainingDivergedError",
    "infer",
    "load_weights",
    "make_accelerator",
    "save_weights",
    "seconds_trained",
    "train",
]
