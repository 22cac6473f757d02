"""`project`: embeddings in the plane, as a page to explore, figures and tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.anomaly.projection import build_projection
from hpa.anomaly.projection_config import ProjectionConfig
from hpa.anomaly.projection_rows import sample_rows
from hpa.anomaly.separation import Separation, measure_separation
from hpa.arrays import Bool, EmbeddingArray, Float32, Int64
from hpa.artifacts import ArtifactError, atomic_write, build, file_digest, is_finished, make_record, write_json
from hpa.progress import say
from hpa.report.formats import count_of, number, percent
from hpa.report.scatter_figure import class_maps, number_maps
from hpa.report.scatter_items import CLASS, Column, Panel, ScatterItems
from hpa.report.scatter_page import write_scatter_page
from hpa.stages.anomalies.item_thumbnails import make_thumbnails
from hpa.stages.anomalies.project_config import ProjectConfig
from hpa.stages.anomalies.projected_items import ProjectedItems, open_items
from hpa.tables import read_embeddings, read_table, write_table

STAGE = "project"
PAGE, METRICS, COORDINATES, FIGURES = "project.html", "metrics.json", "coordinates", "figures"

__all__ = ["ProjectConfig", "run"]


@dataclass(frozen=True, eq=False)
class _Embedding:
    """One embedding; `rows` says where each item of the data set is in it, -1 where it is not."""

    keys: pd.DataFrame
    vectors: EmbeddingArray
    rows: Int64[np.ndarray, " data_items"]


def run(config: ProjectConfig) -> Path:
    """Map embeddings to the plane, going on with the map that a killed call had not finished.

    Returns:
        `config.out`: `coordinates/<name>.parquet` (keys, x, y: all rows of the embedding), `project.html`,
        `figures/classes.png` and, with findings, `figures/anomaly.png`, and `metrics.json`: separation of the classes
        in each embedding and in its map.

    Raises:
        ArtifactError: embeddings, cells or findings are missing, or something else stands in the folder.
        ValueError: an embedding is of other items, cannot be projected, or shares no item with the others; an optional
            package is missing.
    """
    items = open_items(config)
    folders = {name: _folder(path) for name, path in config.embeddings.items()}
    inputs = items.inputs | {f"embedding {name}": _digest(folder) for name, folder in folders.items()}
    record = make_record(STAGE, config.content(), inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    embeddings = {name: _open(folder, items) for name, folder in folders.items()}
    shared = np.flatnonzero(np.logical_and.reduce([each.rows >= 0 for each in embeddings.values()]))
    if not len(shared):
        raise ValueError(f"embeddings: {', '.join(embeddings)} have no {config.level} in common; show them one by one")
    if len(shared) < len(items.keys):
        say(f"{config.out}: {len(shared)} of {count_of(len(items.keys), config.level)} are in every embedding")
    shown = shared[sample_rows(len(shared), config.page.items, config.page.seed)]
    if len(shown) < len(shared):
        say(f"{config.out}: the page shows {len(shown)} of them, drawn at random")
    with build(config.out, record) as folder:
        metrics, panels = {}, []
        for name, embedding in embeddings.items():
            places = _coordinates(folder / COORDINATES / f"{name}.parquet", embedding, config.method, name)
            found = _separations(embedding, places, items, shared, config)
            metrics[name] = {
                "items": len(embedding.keys),
                "features": int(embedding.vectors.shape[1]),
                **{of: {**each.metrics, "per_class": _per_class(each, items)} for of, each in found.items()},
            }
            note = _note(config.method, embedding)
            panels.append(Panel(name, places[embedding.rows[shown]], _facts(found.get("embedding")), note))
        write_json(folder / METRICS, {"shared_items": len(shared), "shown_items": len(shown), "embeddings": metrics})
        _show(folder, config, items, shown, panels)
    say(f"{config.out / PAGE}: {count_of(len(shown), config.level)} in {count_of(len(panels), 'map')}")
    return config.out


def _folder(path: Path) -> Path:
    """Where an embedding's files are: the folder itself, or a run's `embeddings`."""
    inner = path / "embeddings"
    return inner if inner.is_dir() and not (path / "values.npy").is_file() else path


def _digest(folder: Path) -> str:
    try:
        return "-".join(file_digest(folder / name) for name in ("values.npy", "keys.parquet"))
    except OSError as error:
        raise ArtifactError(f"{folder}: holds no embedding ({error.strerror}); `hpa embed` makes one") from None


def _open(folder: Path, items: ProjectedItems) -> _Embedding:
    """An embedding, once it is certain that it is one of these items."""
    keys, values = read_embeddings(folder)
    names = list(items.keys.columns)
    level = "cells" if "cell_id" in keys.columns else "images"
    if ("cell_id" in names) != ("cell_id" in keys.columns) or not set(names) <= set(keys.columns):
        raise ValueError(f"{folder}: is an embedding of {level}, keyed by {list(keys.columns)}; set `level` to that")
    found, wanted = pd.MultiIndex.from_frame(keys[names]), pd.MultiIndex.from_frame(items.keys)
    if not found.is_unique:
        raise ValueError(f"{folder}: expected every item once, but {found[found.duplicated()][0]} repeats")
    unknown = wanted.get_indexer(found) < 0
    if unknown.any():
        raise ValueError(
            f"{folder}: {int(unknown.sum())} of its {level} are not in the data set, such as {found[unknown][0]}; give "
            "the `data` section that the embedding was made with"
        )
    return _Embedding(keys[names], values, found.get_indexer(wanted).astype(np.int64))


def _coordinates(
    path: Path, embedding: _Embedding, method: ProjectionConfig, name: str
) -> Float32[np.ndarray, "rows 2"]:
    """The map of an embedding's rows, from the file where an earlier call wrote it."""
    if not path.is_file():
        say(f"{name}: {method.kind} of {len(embedding.keys)} rows of {embedding.vectors.shape[1]} features")
        try:
            found = build_projection(method).fit_transform(embedding.vectors)
        except ValueError as error:
            raise ValueError(f"embeddings.{name}: {error}") from None
        write_table(path, embedding.keys.reset_index(drop=True).assign(x=found[:, 0], y=found[:, 1]))
    places: Float32[np.ndarray, "rows 2"] = read_table(path, ["x", "y"])[["x", "y"]].to_numpy(np.float32)
    return places


def _separations(
    embedding: _Embedding,
    places: Float32[np.ndarray, "rows 2"],
    items: ProjectedItems,
    shared: Int64[np.ndarray, " shared"],
    config: ProjectConfig,
) -> Mapping[str, Separation]:
    """Separation in the embedding and in its map, of the same items for every embedding."""
    if items.targets is None:
        return {}
    labelled = shared[(items.targets[shared] >= 0.5).any(axis=1)]
    chosen = labelled[sample_rows(len(labelled), config.separation.sample, config.separation.seed)]
    rows, targets = embedding.rows[chosen], items.targets[chosen]
    groups = [items.groups[item] for item in chosen.tolist()]
    in_plane = config.separation.model_copy(update={"metric": "euclidean"})
    return {
        "embedding": measure_separation(np.array(embedding.vectors[rows]), targets, config.separation, groups),
        "map": measure_separation(places[rows], targets, in_plane, groups),
    }


def _per_class(found: Separation, items: ProjectedItems) -> dict[str, dict[str, float | int | None]]:
    return {
        name: {key: None if pd.isna(value) else value for key, value in row.items()}
        for name, row in zip(items.classes.names, found.per_class.to_dict("records"), strict=True)
    }


def _facts(found: Separation | None) -> list[tuple[str, str]]:
    """The separation scores that stand beside a map's name."""
    if found is None or not found.items:
        return []
    by_chance = f"{percent(found.accuracy)} (by chance {percent(found.accuracy_by_chance)})"
    return [("silhouette", number(found.silhouette, 2)), ("neighbours right", by_chance)]


def _note(method: ProjectionConfig, embedding: _Embedding) -> str:
    names = {"umap": "UMAP", "tsne": "t-SNE", "pca": "principal components"}
    text = f"{names[method.kind]} of {embedding.vectors.shape[1]:,} features"
    sample = getattr(method, "sample", len(embedding.keys))
    rest = f", learned from {sample:,} of {len(embedding.keys):,}" if sample < len(embedding.keys) else ""
    return text + rest


def _show(
    folder: Path, config: ProjectConfig, items: ProjectedItems, shown: Int64[np.ndarray, " shown"], panels: list[Panel]
) -> None:
    """Write the page and the figures."""
    page = config.page
    labels: Bool[np.ndarray, "shown classes"] | None = None if items.targets is None else items.targets[shown] >= 0.5
    columns = [
        Column(column.name, column.kind, np.asarray(column.values)[shown], column.about) for column in items.columns
    ]
    details = {
        about: {name: [texts[item] for item in shown.tolist()] for name, texts in own.items()}
        for about, own in items.details.items()
    }
    thumbnails = None
    if page.thumbnail is not None:
        budget = int(page.megabytes * 1e6 * 3 / 4)  # as text, three bytes take four
        thumbnails = make_thumbnails(
            items.pixels, items.rows[shown], panels[0].coordinates, budget, page.thumbnail, config.data.workers
        )
    keys = items.keys.iloc[shown].reset_index(drop=True)
    content = ScatterItems(keys, items.classes.names, labels, columns, details, thumbnails)
    subtitle = f"{count_of(len(shown), config.level)} of {config.data.out.name}; point at one to see it"
    title = "Map of an embedding" if len(panels) == 1 else f"Maps of {len(panels)} embeddings"
    write_scatter_page(folder / PAGE, title, subtitle, content, panels, CLASS)
    drawn = np.zeros((len(shown), len(items.classes)), bool) if labels is None else labels
    figures = {"classes": class_maps(panels, items.classes.names, drawn)}
    scores = [column for column in columns if column.about and column.kind == "number"]
    if scores:
        chosen = next((column for column in scores if column.about == "combined"), scores[0])
        figures["anomaly"] = number_maps(panels, chosen.name, np.asarray(chosen.values, np.float32))
    for name, png in figures.items():
        with atomic_write(folder / FIGURES / f"{name}.png", "wb") as stream:
            stream.write(png)
