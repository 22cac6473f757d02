"""How hard, and how like real images, the simulated atlas is.

    python benchmarks/simulation_difficulty.py [--images 1200] [--size 256] [--real ../shared/data/hpa2018]

First, what image-level labels cost without looking at structures: logistic regressions on features of rising detail,
in folds that keep antibodies whole, by macro average precision, against a constant predictor. Then, where the
real images are there, intensity and size figures of both sets (quartiles, and the part of the simulated images that
lies between the 5th and 95th percentile of the real ones).
"""

import argparse
import csv
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hpa.arrays import Pixels
from hpa.labels import HPA2021
from hpa.parallel import available_cores
from hpa.simulation import SimulationConfig, simulate_image
from hpa.simulation.likeness import CHANNELS, compare, image_figures

FEATURES = ("means", "statistics", "histograms", "textures")


def features(pixels: Pixels) -> dict[str, np.ndarray]:
    """Four sets of hand-made features, each includes the one before."""
    flat = pixels.reshape(4, -1).astype(np.float32)
    means = flat.mean(axis=1)
    statistics = np.concatenate([means, flat.std(axis=1), *np.percentile(flat, [50, 90, 99, 99.9], axis=1)])
    histograms = np.concatenate([np.histogram(plane, bins=32, range=(0, 256))[0] / plane.size for plane in flat])
    textures = []
    green = pixels[1].astype(np.float32)
    for sigma in (0.7, 1.4, 2.8, 5.6):
        band = cv2.GaussianBlur(green, (0, 0), sigma) - cv2.GaussianBlur(green, (0, 0), 2 * sigma)
        textures += [band.std(), float(np.percentile(np.abs(band), 99.5)) / (band.std() + 1e-3)]
        textures += [float(np.corrcoef(band.ravel(), flat[channel])[0, 1]) for channel in (0, 2, 3)]
    sets = {"means": means, "statistics": statistics}
    sets["histograms"] = np.concatenate([statistics, np.log1p(1e3 * histograms)])
    sets["textures"] = np.concatenate([statistics, np.nan_to_num(textures)])
    return sets


def one(index: int, config: SimulationConfig) -> tuple[dict[str, np.ndarray], tuple[int, ...], str, dict[str, float]]:
    """Features, labels, group and figures of one simulated image."""
    cv2.setNumThreads(1)
    image = simulate_image(config, index)
    return features(image.pixels), image.labels, image.group, image_figures(image.pixels, config.pixel)


def macro_ap(values: np.ndarray, targets: np.ndarray, groups: list[str]) -> tuple[float, np.ndarray]:
    """Macro average precision of out-of-fold logistic regressions, and it per class."""
    scores = np.zeros(targets.shape)
    for train, test in GroupKFold(5).split(values, groups=groups):
        for column in range(targets.shape[1]):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=300))
            if not 0 < targets[train, column].sum() < len(train):
                continue
            model.fit(values[train], targets[train, column])
            scores[test, column] = model.predict_proba(values[test])[:, 1]
    per_class = np.array([average_precision_score(targets[:, k], scores[:, k]) for k in range(targets.shape[1])])
    return float(per_class.mean()), per_class


def real_figures(folder: Path) -> pd.DataFrame:
    """Figures of the 2018 competition's images in a folder with `train.csv` and `train/`."""
    with (folder / "train.csv").open() as stream:
        names = [row["Id"] for row in csv.DictReader(stream)]
    rows = []
    for name in names:
        paths = [folder / "train" / f"{name}_{channel}.png" for channel in CHANNELS]
        if all(path.is_file() for path in paths):
            planes = [np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in paths]
            rows.append(image_figures(np.stack(planes), 163.84 / planes[0].shape[1]))
    return pd.DataFrame(rows)


def main() -> None:
    """Run both measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare", type=int, default=120, help="simulated images at 512 px beside the real ones")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/hpa2018"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    config = SimulationConfig(images=arguments.images, size=arguments.size, seed=arguments.seed)
    with ProcessPoolExecutor(available_cores()) as executor:
        results = list(executor.map(partial(one, config=config), range(config.images), chunksize=8))
        targets = HPA2021.encode([labels for _, labels, _, _ in results])
        groups = [group for _, _, group, _ in results]
        constant = float(targets.mean(axis=0).mean())
        print(
            f"{config.images} images of {config.size} px, {len(set(groups))} antibodies, "
            f"frequencies {config.frequencies}"
        )
        print(f"{'constant':12s} macro AP {constant:.3f}")
        table = {"constant": targets.mean(axis=0)}
        for name in FEATURES:
            value, table[name] = macro_ap(np.stack([sets[name] for sets, *_ in results]), targets, groups)
            print(f"{name:12s} macro AP {value:.3f}, {value / constant:.1f} x constant")
        print(pd.DataFrame(table, index=list(HPA2021.names)).round(3).to_string())
        if not arguments.real.is_dir():
            print(f"{arguments.real}: no real images to compare with")
            return
        # As in the real set: class shares of the competition, and every image from another antibody.
        like = SimulationConfig(
            images=arguments.compare, seed=arguments.seed, frequencies="real", images_per_antibody=1
        )
        simulated = executor.map(partial(one, config=like), range(like.images), chunksize=4)
        print(compare(real_figures(arguments.real), pd.DataFrame([row for *_, row in simulated])).round(2).to_string())


if __name__ == "__main__":
    main()
