"""What a dataset's images are like: sizes, bit depths, intensities per channel and class, beside another dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa.arrays import Targets
from hpa.report.curves import intensity_histograms
from hpa.report.formats import percent
from hpa.report.gallery import Example
from hpa.report.heatmaps import intensity_maps
from hpa.report.page import Block, Figure, Note, Section, Table

SIZES = 12
"""Rows of the table of sizes; the rest is summed up."""

STATISTICS = {"mean": "mean", "std": "spread (standard deviation)", "p99": "99th percentile"}
"""Column prefix of the index to its name."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Another dataset to show beside the one described.

    Attributes:
        name: what to call it.
        images: its ImageTable with the index's intensity columns.
        channels: its channels; only those of the same name are compared.
        examples: some of its images, shown beside some of this one's.
    """

    name: str
    images: pd.DataFrame
    channels: tuple[str, ...]
    examples: tuple[Example, ...] = ()


def size_section(name: str, images: pd.DataFrame, reference: Reference | None) -> Section:
    """Widths and heights, bit depths and where the images come from."""
    sets = {name: images} | ({reference.name: reference.images} if reference else {})
    blocks: list[Block] = []
    for title, columns in (("Width × height", ["width", "height"]), ("Bit depth", ["bit_depth"])):
        counts = pd.DataFrame({each: table.groupby(columns).size() for each, table in sets.items()}).fillna(0)
        # By the larger of the shares, so that a small reference is not cut off the end.
        order = (counts / counts.sum()).max(axis=1).sort_values(ascending=False, kind="stable").index
        counts = counts.loc[order].astype(int)
        labels = [
            f"{key[0]:,} × {key[1]:,} pixels" if len(columns) == 2 else f"{key} bit"
            for key in counts.index.to_flat_index()
        ]
        if len(counts) > SIZES:
            rest = counts.iloc[SIZES - 1 :]
            labels = [*labels[: SIZES - 1], f"{len(rest):,} other sizes"]
            counts = pd.concat([counts.iloc[: SIZES - 1], rest.sum().to_frame().T])
        frame = pd.DataFrame({title.lower(): labels})
        for each, table in sets.items():
            frame[f"images: {each}" if reference else "images"] = [
                f"{count:,} ({percent(count / len(table))})" for count in counts[each]
            ]
        blocks.append(Table(title, frame, numeric=list(frame.columns[1:])))
    lead = (
        f"As the files hold them, before any resizing: {_span(images, 'width')} wide, {_span(images, 'height')} high."
    )
    return Section("Sizes and bit depths", blocks, lead)


def _span(images: pd.DataFrame, column: str) -> str:
    low, high = int(images[column].min()), int(images[column].max())
    return f"{low:,} pixels" if low == high else f"{low:,} to {high:,} pixels"


def intensity_section(
    name: str,
    images: pd.DataFrame,
    channels: Sequence[str],
    targets: Targets | None,
    classes: Sequence[str],
    reference: Reference | None,
) -> Section:
    """Histograms per channel, a table of intensity figures, and a map of class by intensity."""
    sets = {name: (images, tuple(channels))}
    if reference:
        shared = tuple(channel for channel in channels if channel in reference.channels)
        sets[reference.name] = (reference.images, shared)
    shares = {
        each: {channel: histogram_shares(table, channel) for channel in present}
        for each, (table, present) in sets.items()
    }
    blocks: list[Block] = []
    if reference and not sets[reference.name][1]:
        blocks.append(Note(f"{reference.name} has no channel of the same name, so no intensities are compared."))
        shares.pop(reference.name)
    blocks += [
        Figure(
            "intensity_histograms",
            intensity_histograms(shares),
            "How bright the pixels are",
            "How to read it: the line is the middle image's share of pixels at each intensity, the band holds nine "
            "images of ten; a high left end is dark background, a rise at the right end is overexposure. Shares are "
            "logarithmic.",
        ),
        Table(
            "Intensity per image",
            _figures({each: (table, present) for each, (table, present) in sets.items()}, bool(reference)),
            "Over the images: the middle value, and in brackets the range that holds nine images of ten. "
            "0 is black, 255 the brightest value.",
            list(STATISTICS.values()),
        ),
    ]
    if targets is not None:
        maps = {channel: class_shares(shares[name][channel], targets) for channel in channels}
        blocks.append(
            Figure(
                "intensity_by_class",
                intensity_maps(maps, classes),
                "How bright the pixels are, class by class",
                "How to read it: a row is the mean histogram of the images with that class; rows that look alike mean "
                "that brightness alone does not tell the classes apart. Grey rows have no image.",
            )
        )
    return Section("Intensities", blocks)


def histogram_shares(images: pd.DataFrame, channel: str) -> np.ndarray:
    """The stored histograms of a channel as shares of each image's pixels, float64 (images, bins)."""
    counts = np.stack([np.asarray(row, np.float64) for row in images[f"hist_{channel}"]])
    shares: np.ndarray = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def class_shares(shares: np.ndarray, targets: Targets) -> np.ndarray:
    """Mean histogram over the images of each class, (classes, bins); NaN for a class without images.

    >>> class_shares(np.array([[1.0, 0.0], [0.0, 1.0]]), np.float32([[1, 0], [1, 0]])).tolist()
    [[0.5, 0.5], [nan, nan]]
    """
    counts = targets.sum(axis=0, dtype=np.float64)[:, None]
    means = np.full((targets.shape[1], shares.shape[1]), np.nan)
    np.divide(targets.T.astype(np.float64) @ shares, counts, out=means, where=counts > 0)
    return means


def _figures(sets: Mapping[str, tuple[pd.DataFrame, tuple[str, ...]]], several: bool) -> pd.DataFrame:
    rows = []
    for channel in dict.fromkeys(channel for _, present in sets.values() for channel in present):
        for name, (images, present) in sets.items():
            if channel in present:
                row = {"channel": channel, "dataset": name}
                for prefix, title in STATISTICS.items():
                    low, middle, high = np.quantile(images[f"{prefix}_{channel}"].to_numpy(float), (0.05, 0.5, 0.95))
                    row[title] = f"{middle:.1f} ({low:.1f} to {high:.1f})"
                rows.append(row)
    frame = pd.DataFrame(rows)
    return frame if several else frame.drop(columns="dataset")
