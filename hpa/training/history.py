"""What happened in a training, epoch by epoch: for figures, tables and the resumed run."""

import csv
import io
from pathlib import Path

import pydantic
from pydantic import Field

from hpa.artifacts import read_json, write_json, write_text
from hpa.config import Config


class Epoch(Config):
    """One epoch.

    Attributes:
        epoch: counted from 1, as people do.
        loss: mean over the epoch's samples of the loss that was minimised.
        learning_rate: at the epoch's last step, before the groups' factors.
        seconds: training and validation together.
        samples_per_second: training alone, over all processes; 0 where nothing was measured.
        metrics: what the task's validation gave; None where a metric is not defined.
        is_best: whether the monitored metric was the best so far; true in the first epoch, and in every one where
            no metric is monitored.
    """

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    samples_per_second: float
    metrics: dict[str, float | None] = Field(default_factory=dict)
    is_best: bool = True


class History(Config):
    """All epochs of a training.

    Attributes:
        epochs: one row per finished epoch.
        step_losses: per epoch, the loss of each optimiser step (mean over the global batch).
        stopped_early: whether patience ended the training before its last epoch.
    """

    epochs: tuple[Epoch, ...] = ()
    step_losses: tuple[tuple[float, ...], ...] = ()
    stopped_early: bool = False

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept.

        Raises:
            ValueError: no epoch is finished.
        """
        if not self.epochs:
            raise ValueError("expected at least one finished epoch, but the history is empty")
        return [row for row in self.epochs if row.is_best][-1]

    def write(self, folder: Path) -> None:
        """Write history.json (everything) and history.csv (one line per epoch).

        Raises:
            OSError: the folder cannot be written.
        """
        write_json(folder / "history.json", self.model_dump(mode="json"))
        names = sorted({name for row in self.epochs for name in row.metrics})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        own = [name for name in Epoch.model_fields if name != "metrics"]
        writer.writerow([*own, *(f"validation_{name}" for name in names)])
        for row in self.epochs:
            writer.writerow([*(getattr(row, name) for name in own), *(row.metrics.get(name) for name in names)])
        write_text(folder / "history.csv", text.getvalue())

    @classmethod
    def read(cls, folder: Path) -> "History":
        """Read history.json.

        Raises:
            ValueError: the file is not a history.
            OSError: no file.
        """
        try:
            return cls.model_validate(read_json(folder / "history.json"))
        except pydantic.ValidationError as error:
            path = folder / "history.json"
            raise ValueError(f"{path}: is not a training history ({error.error_count()} problems)") from None


def seconds_trained(folder: Path) -> float:
    """Seconds of all epochs whose histories lie in a folder or below it: what an interrupted call has done already."""
    histories = (History.read(file.parent) for file in sorted(folder.rglob("history.json")))
    return sum((epoch.seconds for history in histories for epoch in history.epochs), 0.0)
