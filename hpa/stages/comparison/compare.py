"""`compare`: variants of one training under one budget, measured alike, and which differences are certain."""

from dataclasses import replace
from pathlib import Path

import yaml

from hpa.artifacts import fingerprint, read_json, write_json, write_text
from hpa.progress import say
from hpa.stages.cells.cell_codes import make_codes
from hpa.stages.comparison.compare_config import CompareConfig, folder_name
from hpa.stages.comparison.compare_report import REPORT, write_comparison
from hpa.stages.comparison.compare_tables import Variant
from hpa.stages.comparison.measure_variant import measure_variant
from hpa.stages.comparison.training_budget import Share, share_of
from hpa.stages.data import index
from hpa.stages.data.dataset import Dataset, open_dataset, prepare
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.data.indexed_images import open_index
from hpa.stages.image_level import predict, train_image_level
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.noise_tasks import build_network
from hpa.stages.image_level.trained_run import open_run
from hpa.stages.image_level.training_labels import open_decisions
from hpa.tables import read_table
from hpa.training import TrainingDivergedError, make_accelerator

STAGE = "compare"

__all__ = ["CompareConfig", "run"]


def run(config: CompareConfig) -> Path:
    """Train every variant, measure all alike, and say which is better.

    Variants whose run stands are not trained again, so the same command goes on where it was stopped; a variant that
    diverges is told of in the table, and the others go on. A variant can also be trained by
    `hpa train_image_level --config OUT/configs/NAME.yaml`, on another machine or on several GPUs.

    Returns:
        `config.out`: `configs/NAME.yaml` and `runs/NAME` (what `train_image_level` takes and makes), `measures/NAME`,
        `table.csv` (a row per variant), `folds.csv` (per variant and fold), `robustness.csv`, `pairs.csv` (which is
        better than which), with test images `test.csv` and `test_pairs.csv`, `metrics.json` and `report.html`.

    Raises:
        ArtifactError: something else stands in a folder.
        ValueError: a variant cannot be trained, or the test images are no test of it; found before any training.
    """
    trainings = config.trainings()
    if make_accelerator(config.base.loop.precision).num_processes > 1:
        raise ValueError(
            "compare works in one process; train variants on several by `accelerate launch "
            f"scripts/train_image_level.py --config {config.out}/configs/NAME.yaml`, and compare goes on from there"
        )
    if config.test is not None:
        _check_test(config.test, config.base.data)
    variants: dict[str, Variant] = {}
    for name, training in trainings.items():
        data = _prepared(name, training)
        share = _share(config, name, training, data)
        training = training.model_copy(update={"loop": training.loop.model_copy(update={"epochs": share.epochs})})
        write_text(config.out / "configs" / f"{folder_name(name)}.yaml", _as_file(config, name, training))
        variants[name] = Variant(name, training, share)
    for number, (name, variant) in enumerate(variants.items(), 1):
        say(f"variant {number} of {len(variants)}: {name}, {variant.share.epochs} epochs")
        variants[name] = _trained(config, variant)
    for variant in variants.values():
        if not variant.failure:
            _measure(config, variant)
    write_comparison(config, list(variants.values()))
    say(f"report: {config.out / REPORT}")
    return config.out


def _check_test(test: DatasetConfig, base: DatasetConfig) -> None:
    """Refuse test images that would be found unfit after all the training."""
    prepare(base, "index")
    prepare(test, "index")
    learned, images = open_index(base.index_folder), open_index(test.index_folder)
    if not len(read_table(test.index_folder / index.LABELS)):
        raise ValueError(f"test: {test.out} has no labels; give a source with labels, or leave test out")
    if images.classes != learned.classes:
        raise ValueError(
            f"test: expected the classes {list(learned.classes.names)} of {base.out}, but {test.out} has "
            f"{list(images.classes.names)}; set test.source.classes"
        )
    files = {path for paths in learned.table["paths"] for path in paths}
    again = sum(not files.isdisjoint(paths) for paths in images.table["paths"])
    if again:
        raise ValueError(
            f"test: {again} of {len(images.table)} images of {test.out} are also in {base.out}, from which the "
            "variants learn; give other images, or leave test out"
        )


def _prepared(name: str, training: TrainImageLevelConfig) -> Dataset:
    """The variant's images; its network is built once, since what cannot be built should not be found after hours."""
    prepare(training.data)
    if training.consistency is not None:
        make_codes(training.consistency.cells, training.data)
    data = open_dataset(training.data)
    if data.targets is None:
        raise ValueError(f"{training.data.out}: the images have no labels to learn from; give a source with labels")
    try:
        build_network(training, data)
    except ValueError as error:
        raise ValueError(f"variant {name}: {error}") from None
    return data


def _share(config: CompareConfig, name: str, training: TrainImageLevelConfig, data: Dataset) -> Share:
    labels = None if training.decisions is None else open_decisions(training.decisions, data)
    kept = config.out / "budget" / f"{folder_name(name)}.json"
    try:
        return share_of(config.budget, training, data, labels, kept)
    except ValueError as error:
        raise ValueError(f"variant {name}: {error}") from None


def _trained(config: CompareConfig, variant: Variant) -> Variant:
    """The variant with what became of its training."""
    note = config.out / "failed" / f"{folder_name(variant.name)}.json"
    same = fingerprint(variant.training.model_dump(mode="json"))
    if note.is_file() and (found := read_json(note))["made_from"] == same:
        say(f"{variant.name}: {found['message']} in an earlier call; remove {note} to try again")
        return replace(variant, failure=found["message"])
    try:
        train_image_level.run(variant.training)
    except TrainingDivergedError as error:
        say(f"{variant.name}: {error}")
        message = f"diverged in epoch {error.epoch}, step {error.step}"
        write_json(note, {"made_from": same, "message": message})
        return replace(variant, failure=message)
    return variant


def _measure(config: CompareConfig, variant: Variant) -> None:
    training = variant.training
    run = open_run(training.out, train_image_level.STAGE)
    accelerator = make_accelerator(training.loop.precision)
    folder = config.out / "measures" / folder_name(variant.name)
    say(f"measuring {variant.name}")
    data = open_dataset(training.data)
    measure_variant(folder, training, run, data, config.robustness, config.costs, accelerator)
    if config.test is not None:
        predict.run(
            predict.PredictConfig(
                runs=(training.out,),
                data=config.test,
                out=config.out / "test" / folder_name(variant.name),
                batch_size=training.loop.batch_size,
                precision=training.loop.precision,
                machine=training.machine,
            )
        )


def _as_file(config: CompareConfig, name: str, training: TrainImageLevelConfig) -> str:
    values = yaml.safe_dump(training.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    command = f"hpa train_image_level --config {config.out}/configs/{folder_name(name)}.yaml"
    return f"# Variant of {config.out}: {name}\n#\n#   {command}\n{values}"
