"""MedMNIST-style npz files: arrays `<split>_images` and `<split>_labels`."""

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from hpa.datasets.listing import Entry, Listing, MissingSourceError, Problems, SourceConfig, hash_inputs, make_listing
from hpa.images import GREY, RGB
from hpa.labels import ClassList, LabelError
from hpa.npz import array_shapes, member_path, read_array


class Npz(SourceConfig):
    """An npz file of images and labels; a row of labels is one number, or 0 and 1 per class.

    Attributes:
        file: the npz file.
        splits: which parts are taken, in MedMNIST train, val and test.
        classes: names by number; None for the numbers themselves.
        channels: None for grey or red, green, blue, as the arrays are.
    """

    kind: Literal["npz"] = "npz"
    file: Path
    splits: tuple[str, ...] = pydantic.Field(default=("train",), min_length=1)
    classes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None


def list_npz(source: Npz) -> Listing:
    """List the images of an npz file; ids are the split and the row, such as `train_000017`.

    Raises:
        ValueError: the file or an array is missing or damaged, splits differ in kind, or no image is left.
    """
    if not source.file.is_file():
        raise MissingSourceError(f"{source.file}: there is no such npz file; set source.file")
    shapes = array_shapes(source.file)
    images = {split: _image_shape(source, shapes, split) for split in source.splits}
    labels = {
        split: read_array(source.file, f"{split}_labels") for split in source.splits if f"{split}_labels" in shapes
    }
    if labels and len(labels) < len(images):
        raise ValueError(
            f"{source.file}: of the splits {list(images)} only {list(labels)} have labels; take them apart"
        )
    flat = {split: _check_labels(source, split, values, images[split]) for split, values in labels.items()}
    classes = _class_list(source, flat)
    channels = source.channels or (GREY if all(len(shape) == 3 for shape in images.values()) else RGB)
    problems = Problems()
    entries = []
    for split, shape in images.items():
        for row in range(shape[0]):
            image_id = f"{split}_{row:06d}"
            try:
                numbers = _numbers(flat[split][row], classes) if flat else None
            except LabelError as error:
                problems.add(image_id, "bad_label", str(error), row)
                continue
            path = member_path(source.file, f"{split}_images", row)
            entries.append(Entry(image_id, (path,), numbers, {"split": split}))
    return make_listing(
        entries,
        problems,
        source=source,
        kind=source.kind,
        where=f"{source.file} with the splits {list(source.splits)}",
        classes=classes,
        channels=channels,
        group_columns=(),
        fingerprint=hash_inputs([], _checksums(source.file)),
    )


def _image_shape(source: Npz, shapes: dict[str, tuple[int, ...]], split: str) -> tuple[int, ...]:
    shape = shapes.get(f"{split}_images")
    if shape is None:
        raise ValueError(f"{source.file}: no array {split + '_images'!r} for source.splits; there are {sorted(shapes)}")
    if len(shape) not in (3, 4):
        raise ValueError(f"{source.file}: expected {split}_images x height x width (x planes), but got {shape}")
    return shape


def _check_labels(source: Npz, split: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Labels as (images, 1) numbers or (images, classes) of 0 and 1."""
    if values.ndim not in (1, 2) or len(values) != shape[0]:
        raise ValueError(
            f"{source.file}: expected {split}_labels for {shape[0]} images, but got the shape {values.shape}"
        )
    if not np.issubdtype(values.dtype, np.integer) and values.dtype != np.bool_:
        raise ValueError(f"{source.file}: expected {split}_labels of whole numbers, but got {values.dtype}")
    return values if values.ndim == 2 else values[:, np.newaxis]


def _class_list(source: Npz, labels: dict[str, np.ndarray]) -> ClassList:
    widths = {values.shape[1] for values in labels.values()}
    if len(widths) > 1:
        raise ValueError(f"{source.file}: the splits have labels of {sorted(widths)} columns")
    multi_label = bool(widths and widths.pop() > 1)
    if source.classes is not None:
        names = source.classes
    elif not labels:
        raise ValueError(f"{source.file}: images without labels need source.classes")
    else:
        first = next(iter(labels.values()))
        highest = max((int(values.max()) for values in labels.values() if values.size), default=0)
        count = first.shape[1] if multi_label else max(2, highest + 1)
        if count > 1000:
            raise ValueError(f"{source.file}: labels up to {highest} are too many classes; set source.classes")
        names = tuple(str(number) for number in range(count))
    if multi_label and len(names) != next(iter(labels.values())).shape[1]:
        raise ValueError(f"{source.file}: {len(names)} names in source.classes do not fit the labels")
    return ClassList(names=names, multi_label=multi_label)


def _numbers(label: np.ndarray, classes: ClassList) -> tuple[int, ...]:
    if not classes.multi_label:
        return classes.check([int(label[0])])
    if not np.isin(label, (0, 1)).all():
        raise LabelError(f"expected 0 or 1 for each class, but got {label.tolist()}")
    # A row without any class is data here: "no finding" in MedMNIST's chest X-rays.
    return tuple(int(number) for number in np.flatnonzero(label))


def _checksums(file: Path) -> dict[str, int]:
    """The checksums that the file itself keeps of its arrays: they tell a change without reading all of it."""
    with zipfile.ZipFile(file) as archive:
        return {info.filename: info.CRC << 64 | info.file_size for info in archive.infolist()}
