"""How like two sets of images are: figures that need no masks, so that real and simulated are measured alike."""

import cv2
import numpy as np
import pandas as pd
from skimage.filters import threshold_otsu

from hpa.arrays import FloatPlane, Mask, Pixels

CHANNELS = ("red", "green", "blue", "yellow")


def image_figures(pixels: Pixels, pixel: float) -> dict[str, float]:
    """Intensity and size figures of one image.

    Nuclei are connected regions of the smoothed blue channel above 0.8 of Otsu's threshold and 15 µm² or larger;
    cytoplasm is where red or yellow, smoothed over 1 µm, exceed a tenth of their 99th percentile, less the nuclei.

    Args:
        pixels: red, green, blue, yellow.
        pixel: side of a pixel, µm.

    Returns:
        Per channel `mean_`, `p50_` and `p99_`; `nucleus_` and `cytoplasm_`, the mean grey level there; `grain_`, the
        standard deviation of what a 3 × 3 median takes away, relative to the mean, where the channel is at home.
        `nuclei` (number), `nucleus_area` (median, µm²), `nuclei_share` and `cell_share` (parts of the field).
    """
    nuclei = _nuclei(pixels[2], pixel)
    _, marks, stats, _ = cv2.connectedComponentsWithStats(nuclei.astype(np.uint8), connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA] * pixel**2
    large = np.flatnonzero(areas >= 15)
    nuclei = np.isin(marks, large + 1)
    body = _smooth(np.maximum(pixels[0], pixels[3]), 1 / pixel)
    cells = (body > max(4.0, 0.1 * float(np.percentile(np.maximum(pixels[0], pixels[3]), 99)))) | nuclei
    cytoplasm = cells & ~nuclei
    figures = {
        "nuclei": float(len(large)),
        "nucleus_area": float(np.median(areas[large])) if len(large) else 0.0,
        "nuclei_share": float(nuclei.mean()),
        "cell_share": float(cells.mean()),
    }
    for name, plane in zip(CHANNELS, pixels, strict=True):
        home = nuclei if name == "blue" else cells if name == "green" else cytoplasm
        middle, high = np.percentile(plane, [50, 99])
        rest = plane.astype(np.float32) - cv2.medianBlur(np.ascontiguousarray(plane), 3)
        figures |= {
            f"mean_{name}": float(plane.mean()),
            f"p50_{name}": float(middle),
            f"p99_{name}": float(high),
            f"nucleus_{name}": float(plane[nuclei].mean()) if nuclei.any() else 0.0,
            f"cytoplasm_{name}": float(plane[cytoplasm].mean()) if cytoplasm.any() else 0.0,
            f"grain_{name}": float(rest[home].std() / max(float(plane[home].mean()), 0.5)) if home.any() else 0.0,
        }
    return figures


def compare(first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str] = ("real", "simulated")) -> pd.DataFrame:
    """Quartiles of every figure of two sets of images, side by side.

    Args:
        first, second: one row per image, columns as `image_figures` names them.
        names: of the two sets, for the columns.

    Returns:
        One row per figure: `<name>_q25`, `<name>_q50`, `<name>_q75` of both, and `overlap`: the part of the second
        set's images between the 5th and 95th percentile of the first (0.9 where the two are alike).
    """
    table = {}
    for column in first.columns:
        row: dict[str, float] = {}
        for name, values in zip(names, (first[column], second[column]), strict=True):
            row |= {f"{name}_q{q}": float(np.percentile(values, q)) for q in (25, 50, 75)}
        low, high = np.percentile(first[column], [5, 95])
        row["overlap"] = float(((second[column] >= low) & (second[column] <= high)).mean())
        table[column] = row
    return pd.DataFrame.from_dict(table, orient="index")


def _nuclei(blue: np.ndarray, pixel: float) -> Mask:
    smooth = _smooth(blue, 0.5 / pixel)
    if smooth.max() <= smooth.min():
        return np.zeros(blue.shape, bool)
    mask = smooth > max(0.8 * threshold_otsu(smooth), 2.0)  # type: ignore[no-untyped-call]
    opened = cv2.morphologyEx(
        mask.astype(np.uint8), cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)), iterations=2
    )
    return opened.astype(bool)


def _smooth(plane: np.ndarray, sigma: float) -> FloatPlane:
    smooth: FloatPlane = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), max(sigma, 0.3))
    return smooth
