"""`describe`: a page about a dataset, to be read before anyone trains on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydantic

from hpa.arrays import Targets
from hpa.artifacts import ArtifactError, build, is_finished, make_record, read_json, read_record
from hpa.config import Config
from hpa.images import BitDepth, ImageError, read_image
from hpa.labels import ClassList
from hpa.parallel import WorkersConfig, map_images, open_executor
from hpa.progress import say
from hpa.report import Example, Reference, dataset_report, make_example
from hpa.stages.data import fold, index
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.tables import IMAGE_COLUMNS, align, class_values, read_table

STAGE = "describe"
PAGE = "describe.html"


class DescribeSettings(Config):
    """What the page shows besides the index.

    Attributes:
        examples: images shown per class.
        seed: decides which of them.
        beside: folder of another dataset that is indexed (its `out`, or the `index` in it), whose sizes and intensities
            are shown beside this one's; such as real images beside the simulated atlas.
        beside_name: what to call it; None for its folder's name.
    """

    examples: int = pydantic.Field(default=5, ge=0, le=50)
    seed: int = 0
    beside: Path | None = None
    beside_name: str | None = None


class DescribeConfig(DatasetConfig):
    """A dataset, and what its page shows.

    Attributes:
        describe: see `DescribeSettings`.
    """

    describe: DescribeSettings = DescribeSettings()


def run(config: DatasetConfig) -> Path:
    """Write `describe.html` and its figures as `figures/*.png`, indexing and dealing folds first where that is missing.

    Folds that cannot be dealt become a warning on the page, and so do example images that cannot be read any more.

    Returns:
        The folder `<out>/describe`.

    Raises:
        ArtifactError: something else stands there, or `beside` holds no index.
        ValueError: the source cannot be used.
    """
    settings = config.describe if isinstance(config, DescribeConfig) else DescribeSettings()
    folder = config.out / STAGE
    index_folder = index.run(config)
    fold_folder, warnings = _deal(config, index_folder)
    inputs = {"index": read_record(index_folder, index.STAGE).fingerprint}
    if fold_folder is not None:
        inputs["fold"] = read_record(fold_folder, fold.STAGE).fingerprint
    beside = _index_of(settings.beside) if settings.beside is not None else None
    if beside is not None:
        inputs["beside"] = read_record(beside, index.STAGE).fingerprint
    record = make_record(STAGE, {"describe": settings}, inputs)
    if is_finished(folder, record):
        say(f"{folder}: made before, nothing to do")
        return folder
    content = _open(index_folder)
    examples, unreadable = _examples(content, _choose(content, settings), config.workers)
    reference, also_unreadable = (None, []) if beside is None else _reference(beside, settings, config.workers)
    with build(folder, record) as partial:
        dataset_report(
            partial / PAGE,
            title=f"Dataset: {config.out.name}",
            subtitle=f"{config.source.kind}, {len(content.images):,} images, described before any training",
            name=config.out.name,
            images=content.images,
            channels=content.channels,
            classes=content.classes.names,
            multi_label=content.classes.multi_label,
            targets=content.targets,
            problems=_read_csv(index_folder / index.PROBLEMS, text=True),
            folds=None if fold_folder is None else _read_csv(fold_folder / fold.REPORT),
            examples=examples,
            reference=reference,
            warnings=[*warnings, *unreadable, *also_unreadable],
            figures=partial / "figures",
        )
    say(f"{folder / PAGE}: written")
    return folder


@dataclass(frozen=True, eq=False)
class _Content:
    """An index artifact, read."""

    images: pd.DataFrame
    targets: Targets | None
    classes: ClassList
    channels: tuple[str, ...]
    bit_depth: BitDepth


def _open(folder: Path) -> _Content:
    plain = read_json(folder / index.CONTENT)
    classes = ClassList.model_validate(plain["classes"])
    images, labels = read_table(folder / index.IMAGES, IMAGE_COLUMNS), read_table(folder / index.LABELS)
    targets = class_values(align(images, labels), classes) if len(labels) else None
    return _Content(images, targets, classes, tuple(plain["channels"]), plain["bit_depth"])


def _deal(config: DatasetConfig, index_folder: Path) -> tuple[Path | None, list[str]]:
    """The fold artifact where there can be one, else why not."""
    if read_table(index_folder / index.LABELS).empty:
        return None, []
    try:
        return fold.run(config), []
    except ArtifactError:
        raise
    except ValueError as error:
        return None, [f"The images cannot be dealt into folds: {error}"]


def _read_csv(path: Path, text: bool = False) -> pd.DataFrame:
    # Class names and IDs such as "NA" or "007" are text.
    return pd.read_csv(path, dtype=str if text else {"class": str}, keep_default_na=False)


def _index_of(folder: Path) -> Path:
    inner = folder / index.STAGE
    return inner if inner.is_dir() else folder


def _reference(folder: Path, settings: DescribeSettings, workers: WorkersConfig) -> tuple[Reference, list[str]]:
    """The other dataset with some of its images, and a warning when they cannot be read."""
    content = _open(folder)
    examples, warnings = _examples(content, _choose_any(content, settings), workers)
    name = settings.beside_name or (folder.resolve().parent.name if folder.name == index.STAGE else folder.name)
    shown = tuple(example for found in examples.values() for example in found)
    return Reference(name, content.images, content.channels, shown), warnings


@dataclass(frozen=True)
class _Show:
    """Makes the example of one image; picklable for worker processes."""

    channels: tuple[str, ...]
    bit_depth: BitDepth

    def __call__(self, key: tuple[str, tuple[str, ...], tuple[str, ...]]) -> Example | str:
        cv2.setNumThreads(1)  # the processes share the cores already
        image_id, paths, names = key
        try:
            return make_example(image_id, read_image(paths, self.channels, self.bit_depth), self.channels, names)
        except ImageError as error:
            return f"{image_id}: {error}"


def _examples(
    content: _Content, chosen: Mapping[str, np.ndarray], workers: WorkersConfig
) -> tuple[dict[str, list[Example]], list[str]]:
    """The examples of the rows chosen under each heading, and a warning when some images cannot be read."""
    images, targets, names = content.images, content.targets, np.asarray(content.classes.names, object)
    keys = [
        (
            images["image_id"].iloc[row],
            tuple(images["paths"].iloc[row]),
            tuple(names[targets[row] > 0].tolist()) if targets is not None else (),
        )
        for row in sorted({int(row) for rows in chosen.values() for row in rows})
    ]
    show = _Show(content.channels, content.bit_depth)
    # A few pictures are read sooner than processes start.
    with open_executor(workers if len(keys) > 12 else WorkersConfig(kind="none")) as executor:
        made = {key[0]: result for key, result in map_images(show, keys, executor, "example images")}
    failed = sorted(result for result in made.values() if isinstance(result, str))
    examples = {}
    for heading, rows in chosen.items():
        found = [made[images["image_id"].iloc[int(row)]] for row in rows]
        examples[heading] = [example for example in found if isinstance(example, Example)]
    warnings = [f"{len(failed)} example images could not be read, the first {failed[0]}"] if failed else []
    return examples, warnings


def _choose(content: _Content, settings: DescribeSettings) -> dict[str, np.ndarray]:
    """Rows to show per class: at random, images with fewer labels first."""
    if content.targets is None:
        return _choose_any(content, settings)
    lots = np.random.default_rng(settings.seed).random(len(content.images))
    order = np.lexsort((lots, content.targets.sum(axis=1)))
    return {
        name: order[content.targets[order, column] > 0][: settings.examples]
        for column, name in enumerate(content.classes.names)
    }


def _choose_any(content: _Content, settings: DescribeSettings) -> dict[str, np.ndarray]:
    rows = np.random.default_rng(settings.seed).permutation(len(content.images))
    return {"Any image": rows[: settings.examples]}
