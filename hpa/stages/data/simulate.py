"""`simulate`: write a simulated atlas in the layout of the 2021 competition, and its truth."""

import csv
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import pandas as pd

from hpa.artifacts import build, is_finished, make_record, require_space, write_text
from hpa.config import Config
from hpa.images import CHANNELS, write_png
from hpa.parallel import WorkersConfig, map_images, open_executor
from hpa.progress import say
from hpa.simulation import SimulatedImage, SimulationConfig, image_id, simulate_image
from hpa.tables import read_table, write_table

STAGE = "simulate"
TRAIN = "train.csv"
ROWS = ".rows"
"""Folder of per-image truth while the stage runs; an image is finished when its cells are there."""


class SimulateConfig(Config):
    """Configuration of `simulate`.

    Attributes:
        out: folder of the artifact.
        simulation: what to draw.
        workers: where to draw it.
    """

    out: Path = Path("work/demo/simulate")
    simulation: SimulationConfig = SimulationConfig()
    workers: WorkersConfig = WorkersConfig()


def run(config: SimulateConfig) -> Path:
    """Write the atlas, going on where a killed run stopped; the bytes are the same either way.

    The folder holds `train.csv` (ID, Label: classes separated by `|`), `train/{ID}_{channel}.png` (8 bit),
    `truth/cell_maps/{ID}.png` and `truth/nucleus_maps/{ID}.png` (uint16), `truth/cells.parquet`
    (`hpa.simulation.CELL_COLUMNS`, then one float32 column per class) and `truth/images.parquet` (image_id, label,
    true_label, group, cell_line, defect, duplicate_of).

    Returns:
        The folder.

    Raises:
        ArtifactError: something else stands there, or the disk is too small.
        OSError: the folder cannot be written.
    """
    simulation = config.simulation
    record = make_record(STAGE, {"simulation": simulation})
    if is_finished(config.out, record):
        say(f"{config.out}: simulated before, nothing to do")
        return config.out
    with build(config.out, record) as folder:
        drawn = (folder / TRAIN).is_file()  # a run that was killed while it tidied up
        missing = (index for index in range(simulation.images) if not _rows(folder, simulation, index)[1].is_file())
        todo = [] if drawn else list(missing)
        # PNGs of simulated channels take at most half of the raw bytes; label maps are small.
        require_space(folder, len(todo) * simulation.size**2 * 2, f"simulating {len(todo)} images")
        for part in ("train", "truth/cell_maps", "truth/nucleus_maps", ROWS):
            (folder / part).mkdir(parents=True, exist_ok=True)
        with open_executor(config.workers) as executor:
            done = simulation.images - len(todo)
            for _ in map_images(_Writer(simulation, folder), todo, executor, "simulated images", done=done):
                pass
        if not drawn:
            _gather(simulation, folder)
        shutil.rmtree(folder / ROWS, ignore_errors=True)
    say(f"{config.out}: {simulation.images} simulated images")
    return config.out


@dataclass(frozen=True)
class _Writer:
    """Draws and writes one image; picklable for worker processes."""

    simulation: SimulationConfig
    folder: Path

    def __call__(self, index: int) -> None:
        cv2.setNumThreads(1)  # the processes share the cores already
        image = simulate_image(self.simulation, index)
        for channel, plane in zip(CHANNELS, image.pixels, strict=True):
            write_png(self.folder / "train" / f"{image.image_id}_{channel}.png", plane)
        write_png(self.folder / "truth" / "cell_maps" / f"{image.image_id}.png", image.cell_map)
        write_png(self.folder / "truth" / "nucleus_maps" / f"{image.image_id}.png", image.nucleus_map)
        image_rows, cell_rows = _rows(self.folder, self.simulation, index)
        write_table(image_rows, _image_table(image))
        write_table(cell_rows, image.cells)


def _rows(folder: Path, simulation: SimulationConfig, index: int) -> tuple[Path, Path]:
    name = image_id(simulation, index)
    return folder / ROWS / f"{name}.image.parquet", folder / ROWS / f"{name}.cells.parquet"


def _image_table(image: SimulatedImage) -> pd.DataFrame:
    def written(classes: tuple[int, ...]) -> str:
        return "|".join(map(str, classes))

    values = {
        "image_id": image.image_id,
        "label": written(image.labels),
        "true_label": written(image.true_labels),
        "group": image.group,
        "cell_line": image.cell_line,
        "defect": image.defect or "",
        "duplicate_of": image.duplicate_of or "",
    }
    return pd.DataFrame({key: pd.Series([value], dtype="str") for key, value in values.items()})


def _gather(simulation: SimulationConfig, folder: Path) -> None:
    """Join the rows of all images in order; `train.csv` comes last and says that all is there."""
    rows = [_rows(folder, simulation, index) for index in range(simulation.images)]
    images = pd.concat([read_table(path) for path, _ in rows], ignore_index=True)
    cells = pd.concat([read_table(path) for _, path in rows], ignore_index=True)
    write_table(folder / "truth" / "images.parquet", images)
    write_table(folder / "truth" / "cells.parquet", cells)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["ID", "Label"])
    writer.writerows(zip(images["image_id"], images["label"], strict=True))
    write_text(folder / TRAIN, text.getvalue())
