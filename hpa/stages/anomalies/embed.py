"""`embed`: an embedding of every image or cell, by a network, by visual words, or from a person's table."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate import Accelerator
from numpy.lib import format as npy

from hpa.anomaly.embedding_rows import require_finite
from hpa.artifacts import atomic_write, file_digest, is_finished, make_record, read_record
from hpa.parallel import open_executor
from hpa.progress import say
from hpa.segmentation import TRAIN_SEGMENTATION
from hpa.stages.anomalies.embed_config import (
    BackboneMethod,
    EmbedConfig,
    RunMethod,
    SiftMethod,
    TableMethod,
    UnetMethod,
)
from hpa.stages.anomalies.embedded_items import Items, open_cells, open_images
from hpa.stages.anomalies.embedders import Embedder, open_backbone, open_unet_encoder, open_words
from hpa.stages.anomalies.embedding_table import open_table
from hpa.stages.anomalies.run_embedder import embed_by_run, open_items_of_run
from hpa.stages.data import index
from hpa.stages.data.building import build_together
from hpa.stages.data.indexed_images import open_index
from hpa.tables import IMAGE_KEY, write_table
from hpa.training import make_accelerator

STAGE = "embed"
VALUES, KEYS = "values.npy", "keys.parquet"
PARTS = ".parts"

AT_ONCE = 4096
"""Items of a part: a killed stage goes on after the last whole one."""

__all__ = ["EmbedConfig", "run"]


@dataclass(frozen=True)
class _Plan:
    """What is to be done, before anything is opened that takes long.

    Attributes:
        keys: of the items.
        inputs: fingerprints.
        start: opens networks or words, given the folder of the artifact.
    """

    keys: pd.DataFrame
    inputs: dict[str, str]
    start: Callable[[Path], contextlib.AbstractContextManager[Embedder]]


def run(config: EmbedConfig) -> Path:
    """Embed every image of a data set, or every cell of a cache, going on where a killed call stopped.

    Returns:
        `config.out`: `values.npy` (float32, a row per item, to be memory-mapped) and `keys.parquet` (image_id; of cells
        cell_id too), which `hpa.tables.read_embeddings` reads; for visual words also `words.npz`.

    Raises:
        ArtifactError: an input is missing or made from other images, or something else stands in the folder.
        ValueError: the method does not fit the items, or gives values that are not finite.
    """
    accelerator = make_accelerator(config.precision)
    plan = _plan(config, accelerator)
    record = make_record(STAGE, config.content(), plan.inputs)
    if is_finished(config.out, record):
        say(f"{config.out} stands already, made from the same configuration")
        return config.out
    with build_together(config.out, record, accelerator) as folder:
        if not (folder / VALUES).is_file():
            with plan.start(folder) as embed:
                _write_parts(embed, len(plan.keys), folder / PARTS, accelerator)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            features = _join(folder, len(plan.keys))
            write_table(folder / KEYS, plan.keys)
            say(f"{config.out}: {len(plan.keys)} {config.level}s, {features} features each")
    return config.out


def _plan(config: EmbedConfig, accelerator: Accelerator) -> _Plan:
    match config.method:
        case RunMethod() as method:
            items, trained = open_items_of_run(config, method, accelerator)
            inputs = {**items.fingerprints, "run": trained.fingerprint}

            def start(folder: Path) -> contextlib.AbstractContextManager[Embedder]:
                return contextlib.nullcontext(embed_by_run(config, method, trained, items, accelerator))

            return _Plan(items.keys, inputs, start)
        case TableMethod() as table:
            keys, inputs = _keys(config, accelerator)
            files = {"table": table.path} | ({"keys": table.keys} if table.keys else {})
            inputs |= {name: file_digest(path) for name, path in files.items()}
            return _Plan(keys, inputs, lambda folder: contextlib.nullcontext(open_table(table, keys)))
        case BackboneMethod() as backbone:
            items = _items(config, accelerator)
            return _Plan(
                items.keys,
                items.fingerprints,
                lambda folder: contextlib.nullcontext(open_backbone(backbone, items, config, accelerator)),
            )
        case UnetMethod() as unet:
            items = _items(config, accelerator)
            inputs = {**items.fingerprints, "run": read_record(unet.run, TRAIN_SEGMENTATION).fingerprint}
            return _Plan(
                items.keys,
                inputs,
                lambda folder: contextlib.nullcontext(open_unet_encoder(unet, items, config, accelerator)),
            )
        case SiftMethod() as sift:
            items = _items(config, accelerator)
            return _Plan(items.keys, items.fingerprints, lambda folder: _words(config, sift, items, folder))


@contextlib.contextmanager
def _words(config: EmbedConfig, method: SiftMethod, items: Items, folder: Path) -> Iterator[Embedder]:
    with open_executor(config.data.workers) as executor:
        yield open_words(method, items, folder, executor)


def _items(config: EmbedConfig, accelerator: Accelerator) -> Items:
    if config.level == "cell":
        return open_cells(config.data, config.cells_cache, False, config.masking, accelerator)
    return open_images(config.data, False, None, accelerator)


def _keys(config: EmbedConfig, accelerator: Accelerator) -> tuple[pd.DataFrame, dict[str, str]]:
    """Keys and fingerprints of items whose pixels are not needed."""
    if config.level == "cell":
        items = open_cells(config.data, config.cells_cache, False, config.masking, accelerator)
        return items.keys, dict(items.fingerprints)
    if accelerator.is_main_process:
        index.run(config.data)
    accelerator.wait_for_everyone()
    indexed = open_index(config.data.index_folder)
    return indexed.table[list(IMAGE_KEY)], {"index": indexed.fingerprint}


def _write_parts(embed: Embedder, count: int, folder: Path, accelerator: Accelerator) -> None:
    """Embed part after part; those that an earlier call wrote stay."""
    starts = [start for start in range(0, count, AT_ONCE) if not _part(folder, start).is_file()]
    accelerator.wait_for_everyone()  # all processes must have looked before the main one writes
    for start in starts:
        values = embed(np.arange(start, min(start + AT_ONCE, count)))
        require_finite(values, start)
        if accelerator.is_main_process:
            with atomic_write(_part(folder, start), "wb") as stream:
                np.save(stream, values, allow_pickle=False)


def _part(folder: Path, start: int) -> Path:
    return folder / f"{start}.npy"


def _join(folder: Path, count: int) -> int:
    """Write what `hpa.tables.write_embeddings` writes, part by part, in bounded memory; gives the features."""
    parts = [_part(folder / PARTS, start) for start in range(0, count, AT_ONCE)]
    if not (folder / VALUES).is_file():
        features = int(np.load(parts[0], mmap_mode="r", allow_pickle=False).shape[1])
        with atomic_write(folder / VALUES, "wb") as stream:
            shape = (count, features)
            npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for part in parts:
                stream.write(np.ascontiguousarray(np.load(part, allow_pickle=False), "<f4").tobytes())
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return int(np.load(folder / VALUES, mmap_mode="r", allow_pickle=False).shape[1])
