"""Cells extracted by hand against cells that `segment_cells` cuts out of whole fields: accuracy, masks, explanations.

    python benchmarks/hand_or_segmented.py [--fields 60] [--lines "U-2 OS" "HEK 293"] [--size 256] [--cell 96]
        [--epochs 8] [--folds 3] [--seed 0] [--keep DIR] [key=value ...]

Simulated fields of two cell lines, which stand for healthy and metastatic cells; the true masks are what a careful hand
would draw. Both ways every cell is cut out alone, blackened around, as a red, green and blue picture in a folder of its
class, and a network per fold learns to tell the classes; all cells of a field share a fold. Printed: how well the found
masks agree with the true ones; accuracy on all cells of either way, and on those that both have (IoU 0.5 and more),
with the difference drawn again by field; and of Grad-CAM on those cells, how much of its evidence lies in the cell, as
a multiple of the cell's part of the picture, and how often it points there. Overrides go to both trainings.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from hpa.arrays import LabelMap
from hpa.artifacts import atomic_write
from hpa.config import load_config
from hpa.crops import CropConfig, crop_cells
from hpa.evaluation import decide, match_instances
from hpa.evaluation.paired import Predictor, compare, intervals, resample
from hpa.explain.attribution import attribute
from hpa.explain.gradient_config import GradCam
from hpa.explain.localization import localize
from hpa.images import CHANNELS, read_image
from hpa.labels import ClassList
from hpa.segmentation import read_label_map
from hpa.simulation import SimulationConfig
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cells_config import CELLS, SegmentCellsConfig, label_map_path
from hpa.stages.data import simulate
from hpa.stages.data.dataset_config import DatasetConfig, SimulatedSource
from hpa.stages.image_level import train_image_level
from hpa.stages.image_level.train_image_level import TrainImageLevelConfig
from hpa.stages.image_level.trained_run import open_run
from hpa.tables import class_values, read_table

CONFIG = Path(__file__).parents[1] / "configs" / "image_level" / "healthy_metastatic.yaml"
WAYS = ("hand", "segmented")
IOU = 0.5


def main() -> None:
    """Simulate, segment, cut, train, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--lines", nargs=2, default=["U-2 OS", "HEK 293"], help="the two classes")
    parser.add_argument("--size", type=int, default=256, help="side of a field, pixels")
    parser.add_argument("--cell", type=int, default=96, help="side of a cell's picture, pixels")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder that keeps all, to go on after a kill")
    parser.add_argument("overrides", nargs="*", help="for both trainings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        fields = simulate_fields(work, options)
        pairs = cut_cells(work, fields, options)
        runs = {way: train(work, way, options) for way in WAYS}
        measure(work, runs, pairs, options)


def simulate_fields(work: Path, options: argparse.Namespace) -> pd.DataFrame:
    """Draw fields of both lines and segment them; image_id, cell_line."""
    settings = SimulationConfig(
        images=options.fields,
        size=options.size,
        field=options.size * 0.32,
        seed=options.seed,
        cell_lines=tuple(options.lines),
        images_per_antibody=1,
    )
    data = DatasetConfig(out=work / "fields", source=SimulatedSource(simulation=settings))
    simulate.run(simulate.SimulateConfig(out=data.simulate_folder, simulation=settings, workers=data.workers))
    segment_cells.run(SegmentCellsConfig(data=data, out=work / "cells", examples=0))
    return read_table(data.simulate_folder / "truth" / "images.parquet", ["image_id", "cell_line"])


def cut_cells(work: Path, fields: pd.DataFrame, options: argparse.Namespace) -> pd.DataFrame:
    """Write every cell of both ways; the pairs of cells that both have: hand and segmented (image ids), field, iou."""
    truth = work / "fields" / "simulate"
    crops = CropConfig(size=options.cell, neighbours="masked")
    rows, counts = [], []
    for image_id, line in zip(fields["image_id"], fields["cell_line"], strict=True):
        pixels = read_image([truth / "train" / f"{image_id}_{name}.png" for name in CHANNELS], CHANNELS)
        true_map = read_label_map(truth / "truth" / "cell_maps" / f"{image_id}.png")
        found_map = read_label_map(label_map_path(work / "cells", CELLS, image_id))
        kind = f"class{options.lines.index(line)}"
        for way, cell_map in zip(WAYS, (true_map, found_map), strict=True):
            write_cells(work / way / kind, image_id, pixels[:3], cell_map, crops)
        matched = match_instances(true_map, found_map, IOU)
        counts.append((matched.true_count, matched.predicted_count, len(matched.ious)))
        rows += [
            (f"{kind}_{image_id}_{true}", f"{kind}_{image_id}_{found}", image_id, iou)
            for true, found, iou in zip(matched.true_ids, matched.predicted_ids, matched.ious, strict=True)
        ]
    true, found, both = np.sum(counts, axis=0)
    pairs = pd.DataFrame(rows, columns=[*WAYS, "field", "iou"])
    print(
        f"masks: {true} true cells, {found} found, {both} pairs at IoU {IOU}: precision {both / found:.3f}, "
        f"recall {both / true:.3f}, mean IoU of the pairs {pairs['iou'].mean():.3f}"
    )
    return pairs


def write_cells(folder: Path, image_id: str, pixels: np.ndarray, cell_map: LabelMap, crops: CropConfig) -> None:
    """One PNG per cell, named by field and cell."""
    numbers = [int(number) for number in np.unique(cell_map)[1:]]
    for number, crop in zip(numbers, crop_cells(pixels, cell_map, crops, numbers), strict=True):
        path = folder / f"{image_id}_{number}.png"
        if not path.exists():
            done, content = cv2.imencode(".png", np.ascontiguousarray(crop[::-1].transpose(1, 2, 0)))
            assert done
            with atomic_write(path, "wb") as stream:
                stream.write(content.tobytes())


def train(work: Path, way: str, options: argparse.Namespace) -> Path:
    """A network per fold on the cells of one way."""
    own = [f"data.out={work / way}_data", f"data.source.folder={work / way}", f"out={work / way}_run"]
    own += [f"data.cache.size={options.cell}", f"data.fold.folds={options.folds}", f"loop.epochs={options.epochs}"]
    # Crops of a field share its fold; small dark pictures of different cells have near hashes.
    own += ["folds=all", "data.index.duplicate_distance=null", f"loop.seed={options.seed}"]
    return train_image_level.run(load_config(TrainImageLevelConfig, CONFIG, [*own, *options.overrides]))


def measure(work: Path, runs: dict[str, Path], pairs: pd.DataFrame, options: argparse.Namespace) -> None:
    """Accuracy on all cells, on those of both ways, and where Grad-CAM looks."""
    classes = ClassList(names=("class0", "class1"), multi_label=False)
    tables = {way: read_table(run / train_image_level.OUT_OF_FOLD).set_index("image_id") for way, run in runs.items()}
    for way, table in tables.items():
        truth = truth_of(table.index.tolist())
        values = class_values(table, classes)
        print(f"{way}: accuracy {(values.argmax(axis=1) == truth).mean():.3f} on all its {len(truth)} cells")
    pairs = pairs[pairs["hand"].isin(tables["hand"].index) & pairs["segmented"].isin(tables["segmented"].index)]
    truth = truth_of(pairs["hand"].tolist())
    targets = np.eye(2, dtype=np.float32)[truth]
    predictors = {}
    for way in WAYS:
        values = class_values(tables[way].loc[pairs[way]], classes)
        predictors[way] = Predictor(values, decide(values, classes))
    found = resample(targets, predictors, "accuracy", pairs["field"].to_numpy())
    for row in intervals(found).itertuples():
        print(f"{row.name}: accuracy {row.value:.3f} ({row.low:.3f}-{row.high:.3f}) on the {len(pairs)} common cells")
    difference = compare(found, baseline="hand").iloc[0]
    print(f"segmented - hand: {difference['difference']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})")
    alike = (predictors["hand"].decisions == predictors["segmented"].decisions).all(axis=1).mean()
    print(f"the same answer on {alike:.1%} of them")
    for way in WAYS:
        explain(work, way, runs[way], tables[way], pairs[way].tolist())


def explain(work: Path, way: str, run: Path, table: pd.DataFrame, image_ids: list[str], most: int = 200) -> None:
    """Grad-CAM of each cell by the network that held it out, against the cell's mask."""
    opened = open_run(run, train_image_level.STAGE)
    energies, areas, hits = [], [], []
    chosen = image_ids[:: max(1, len(image_ids) // most)]
    for fold, model in zip(opened.content.folds, opened.networks(), strict=True):
        own = [image_id for image_id in chosen if table.loc[image_id, "fold"] == fold]
        if not own:
            continue
        files = [work / way / name.partition("_")[0] / f"{name.partition('_')[2]}.png" for name in own]
        pixels = np.stack([read_image([file], ("red", "green", "blue")) for file in files])
        maps = attribute(model, torch.from_numpy(pixels), torch.from_numpy(truth_of(own)), GradCam())
        inside = pixels.max(axis=1) > 0
        places = localize(maps.maps.sum(axis=1), inside)
        energies.append(places.energy)
        areas.append(places.area)
        hits.append(places.hit)
    energy, area, hit = (np.concatenate(parts) for parts in (energies, areas, hits))
    if not np.isfinite(energy).any():
        print(f"{way}: Grad-CAM has no positive evidence on any cell")
        return
    print(
        f"{way}: Grad-CAM, {np.isfinite(energy).sum()} cells: {np.nanmean(energy):.3f} of the evidence in the cell, "
        f"{np.nanmean(energy / area):.2f} times its part of the picture; points there in {np.nanmean(hit):.1%}"
    )


def truth_of(image_ids: list[str]) -> np.ndarray:
    """Class numbers, which the names of the cells' folders begin with."""
    return np.array([int(image_id[len("class")]) for image_id in image_ids], np.int64)


if __name__ == "__main__":
    main()
