"""Embeddings of a small simulated atlas by every method."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from hpa import cli
from hpa.anomaly.alignment import fit_rotation
from hpa.anomaly.sift_words import SiftWords, describe_key_points
from hpa.artifacts import ArtifactError
from hpa.cache import PixelCache
from hpa.cell_cache import CellCache
from hpa.config import ConfigError, load_config
from hpa.segmentation import UnetConfig, open_unet, prepare_pixels
from hpa.stages.anomalies import embed
from hpa.stages.anomalies.embed_config import EmbedConfig
from hpa.stages.cell_level.cell_networks import open_cell_run
from hpa.stages.image_level.trained_run import open_run
from hpa.tables import read_embeddings

DATA = (
    *("data.source.simulation.images=24", "data.source.simulation.size=64", "data.source.simulation.field=60"),
    *("data.fold.folds=2", "data.workers.kind=none"),
)
NETWORK = ("model.name=test_resnet", "model.pretrained.kind=none", "loop.epochs=1", "loop.batch_size=8")


def run(*arguments):
    """Run a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An atlas (work), its run (run), true label maps (cells), crops (cache), a run on them (cell_run), a U-Net."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("house")
    data = [*DATA, f"data.out={folder}/work"]
    loaders = "machine.loaders=0"
    size = "data.cache.size=32"
    run("train_image_level", *data, size, *NETWORK, loaders, "folds=all", "tta=2", f"out={folder}/run")
    maps = f"segmenter.cells={folder}/work/simulate/truth/cell_maps"
    run("segment_cells", *data, "segmenter.kind=labels", maps, "examples=0", f"out={folder}/cells")
    run("cache_cells", *data, f"cells={folder}/cells", "crops.size=24", f"out={folder}/cache")
    labels = [f"cells={folder}/cells", f"image_scores={folder}/run", f"out={folder}/labels"]
    run("make_pseudo_labels", *data, *labels)
    cells = [f"cells_cache={folder}/cache", f"labels={folder}/labels", f"out={folder}/cell_run"]
    run("train_cell_level", *data, *NETWORK, loaders, "tta=1", *cells)
    unet = ["samples.size=32", "samples.pixel_size=0.64", "loop.epochs=1", "model.encoder=test_resnet"]
    unet += ["model.pretrained.kind=none", "model.decoder_channels=[8,8,8,8,8]", "workers.kind=none", loaders]
    unet += ["examples=1", "source.simulation.images=4", "source.simulation.size=64", "source.simulation.field=40.96"]
    run("train_segmentation", *unet, f"out={folder}/unet")
    return folder


def settings(house, *more):
    common = [*DATA, "data.cache.size=32", f"data.out={house}/work", f"cells_cache={house}/cache"]
    small = ["machine.loaders=0", "batch_size=7"]
    return load_config(EmbedConfig, overrides=[*common, *small, *more])


def made(house, out, *more):
    return read_embeddings(embed.run(settings(house, f"out={out}", *more)))


BACKBONE = ("method.kind=backbone", "method.model.name=test_resnet", "method.model.pretrained.kind=none")


def test_a_backbone_gives_its_pooled_features(house, tmp_path):
    keys, values = made(house, tmp_path / "out", *BACKBONE)
    cache = PixelCache.open(house / "work" / "cache-32")
    assert keys["image_id"].tolist() == cache.image_ids
    assert values.dtype == np.float32
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["keys.parquet", "record.json", "values.npy"]
    # One image does not depend on the others, and more views average its orientations.
    _, views = made(house, tmp_path / "views", *BACKBONE, "method.views=2")
    assert not np.allclose(views, values)
    _, alone = made(house, tmp_path / "alone", *BACKBONE, "batch_size=1")
    np.testing.assert_allclose(alone, values, atol=1e-5)
    _, larger = made(house, tmp_path / "larger", *BACKBONE, "method.size=64")
    assert larger.shape == values.shape
    assert not np.allclose(larger, values)


def test_a_backbone_embeds_cells_masked_or_not(house, tmp_path):
    keys, values = made(house, tmp_path / "out", *BACKBONE, "level=cell")
    cache = CellCache.open(house / "cache")
    assert keys.equals(cache.keys)
    assert len(values) == len(cache)
    _, kept = made(house, tmp_path / "kept", *BACKBONE, "level=cell", "masking.neighbours=kept")
    assert not np.allclose(kept, values)


def test_a_run_embeds_out_of_fold_as_it_did_itself(house, tmp_path):
    method = ("method.kind=run", f"method.run={house}/run")
    keys, values = made(house, tmp_path / "plain", *method, "method.align=false")
    own_keys, own = read_embeddings(house / "run" / "embeddings")
    order = pd.Index(own_keys["image_id"]).get_indexer(keys["image_id"])
    np.testing.assert_allclose(values, own[order], atol=1e-5)
    # Aligned, the first fold stays, and the second is turned as all images by both networks say.
    _, aligned = made(house, tmp_path / "aligned", *method)
    folds = own_keys["fold"].to_numpy()[order]
    assert np.array_equal(aligned[folds == 0], values[folds == 0])
    cache = PixelCache.open(house / "work" / "cache-32")
    pixels = torch.from_numpy(np.array(cache.pixels))
    with torch.no_grad():
        first, second = (
            ((model.embeddings(pixels) + model.embeddings(pixels.flip(3))) / 2).numpy()
            for model in open_run(house / "run", "train_image_level").networks()
        )
    rotation = fit_rotation(second, first)
    np.testing.assert_allclose(aligned[folds == 1], rotation(second)[folds == 1], atol=1e-3)


def test_new_images_have_the_mean_over_the_networks(house, tmp_path):
    source = ["data.source.kind=kaggle2021", f"data.source.folder={house}/work/simulate/train"]
    method = ["method.kind=run", f"method.run={house}/run", "method.out_of_fold=false", "method.views=1"]
    new = [*source, f"data.out={tmp_path}/work", "data.workers.kind=none", "machine.loaders=0"]
    config = load_config(EmbedConfig, overrides=[*new, *method, f"out={tmp_path}/out"])
    keys, values = read_embeddings(embed.run(config))
    cache = PixelCache.open(tmp_path / "work" / "cache-32")
    assert keys["image_id"].tolist() == cache.image_ids
    with torch.no_grad():
        pixels = torch.from_numpy(np.array(cache.pixels))
        networks = open_run(house / "run", "train_image_level").networks()
        expected = np.mean([model.embeddings(pixels).numpy() for model in networks], axis=0)
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_cells_of_a_run_are_embedded_out_of_fold(house, tmp_path):
    method = ("level=cell", "method.kind=run", f"method.run={house}/cell_run")
    keys, values = made(house, tmp_path / "out", *method, "method.align=false")
    cache = CellCache.open(house / "cache")
    assert keys.equals(cache.keys)
    own_keys, own = read_embeddings(house / "cell_run" / "embeddings")
    order = pd.MultiIndex.from_frame(own_keys[["image_id", "cell_id"]]).get_indexer(pd.MultiIndex.from_frame(keys))
    np.testing.assert_allclose(values, own[order], atol=1e-5)
    assert open_cell_run(house / "cell_run").folds == (0, 1)


@torch.no_grad()
def test_a_unet_gives_the_mean_of_its_coarsest_features(house, tmp_path):
    _, values = made(house, tmp_path / "out", "method.kind=unet", f"method.run={house}/unet", "method.size=64")
    opened = open_unet(UnetConfig(run=house / "unet"), "cpu")
    pixels = PixelCache.open(house / "work" / "cache-32").pixels[5]
    prepared = torch.from_numpy(prepare_pixels(pixels[[0, 3, 2]], 64, 64)[None])  # red, yellow, blue
    inputs = []
    opened.model.network.encoder.register_forward_hook(lambda module, given, found: inputs.append(found[-1]))
    opened.model(prepared)
    np.testing.assert_allclose(values[5], inputs[0].mean(dim=(2, 3))[0].numpy(), atol=1e-4)
    # Sides that are no multiple of 32 are filled up, and cells are embedded likewise.
    _, odd = made(house, tmp_path / "odd", "method.kind=unet", f"method.run={house}/unet", "method.size=40")
    assert odd.shape == values.shape
    keys, cells = made(house, tmp_path / "cells", "level=cell", "method.kind=unet", f"method.run={house}/unet")
    assert cells.shape == (len(keys), values.shape[1])


SIFT = ("method.kind=sift", "method.words=8", "method.contrast=0.005", "data.cache.size=64")


def test_words_are_learned_and_counted(house, tmp_path):
    _, values = made(house, tmp_path / "out", *SIFT)
    assert values.shape == (24, 8)
    method = settings(house, *SIFT).method
    cache = PixelCache.open(house / "work" / "cache-64")
    described = [describe_key_points(pixels[1:2], method) for pixels in np.array(cache.pixels)]
    words = SiftWords.load(tmp_path / "out" / "words.npz", method)
    np.testing.assert_allclose(values, words.transform(described), atol=1e-6)
    np.testing.assert_allclose(values, SiftWords(method).fit(described).transform(described), atol=1e-6)
    _, both = made(house, tmp_path / "both", *SIFT, "method.channels=[red,green]", "method.sample=10")
    assert both.shape == (24, 16)
    keys, cells = made(house, tmp_path / "cells", *SIFT, "level=cell", "method.channels=[red]")
    assert cells.shape == (len(keys), 8)
    with pytest.raises(ValueError, match=r"expected some of the channels \['red', .*but got \['violet'\]"):
        made(house, tmp_path / "none", *SIFT, "method.channels=[violet]")


@pytest.fixture
def table(house):
    """A person's embeddings, in another order, with an image that the data set lacks."""
    image_ids = PixelCache.open(house / "work" / "cache-32").image_ids
    numbers = np.random.default_rng(0).normal(size=(25, 3))
    return pd.DataFrame({"image_id": [*image_ids[::-1], "other"], "a": numbers[:, 0], "b": numbers[:, 1], "c": 1})


@pytest.mark.parametrize("form", ["csv", "parquet", "npy"])
def test_a_table_is_brought_into_order(house, tmp_path, table, form):
    path, method = tmp_path / f"mine.{form}", ["method.kind=table", f"method.path={tmp_path}/mine.{form}"]
    match form:
        case "csv":
            table.to_csv(path, index=False)
        case "parquet":
            table.to_parquet(path)
        case "npy":
            np.save(path, table[["a", "b", "c"]].to_numpy())
            table[["image_id"]].to_csv(tmp_path / "keys.csv", index=False)
            method.append(f"method.keys={tmp_path}/keys.csv")
    keys, values = made(house, tmp_path / "out", *method)
    expected = table.set_index("image_id").loc[keys["image_id"], ["a", "b", "c"]].to_numpy(np.float32)
    assert np.array_equal(values, expected)
    if form == "csv":
        _, chosen = made(house, tmp_path / "chosen", *method, "method.columns=[b,a]")
        assert np.array_equal(chosen, expected[:, [1, 0]])


def test_a_table_of_cells_is_keyed_by_both(house, tmp_path):
    keys = CellCache.open(house / "cache").keys
    mine = keys.assign(x=np.arange(len(keys), dtype=float)).sample(frac=1, random_state=0)
    mine.to_csv(tmp_path / "mine.csv", index=False)
    found, values = made(house, tmp_path / "out", "level=cell", "method.kind=table", f"method.path={tmp_path}/mine.csv")
    assert found.equals(keys)
    assert np.array_equal(values.ravel(), np.arange(len(keys)))


def test_tables_that_do_not_fit_are_refused(house, tmp_path, table):
    path = tmp_path / "mine.parquet"
    cases = {
        r"1 of 24 items have no embedding, such as": table.iloc[1:],
        r"expected every key once": pd.concat([table, table.iloc[:1]]),
        r"the key columns \['image_id'\]": table.drop(columns="image_id"),
        r"\['name'\] hold something else": table.assign(name="x"),
        r"expected columns of numbers, but there are none": table[["image_id"]],
        r"mine.parquet \(the first is .*rows have others": table.assign(a=np.where(table.index == 7, np.nan, 1.0)),
    }
    for message, content in cases.items():
        content.to_parquet(path)
        with pytest.raises(ValueError, match=message):
            made(house, tmp_path / "out", "method.kind=table", f"method.path={path}")
        shutil.rmtree(tmp_path / "out.partial", ignore_errors=True)
    for message, array in {"2 rows, but": np.zeros((2, 3)), "expected numbers of shape": np.zeros(25)}.items():
        np.save(tmp_path / "mine.npy", array)
        method = ("method.kind=table", f"method.path={tmp_path}/mine.npy", f"method.keys={path}")
        with pytest.raises(ValueError, match=message):
            made(house, tmp_path / "out", *method)
        shutil.rmtree(tmp_path / "out.partial", ignore_errors=True)
    with pytest.raises(ConfigError, match="an npy array has no keys"):
        settings(house, "method.kind=table", "method.path=mine.npy")
    with pytest.raises(ConfigError, match="a table holds its own keys"):
        settings(house, "method.kind=table", "method.path=mine.csv", "method.keys=mine.csv")


@pytest.mark.parametrize("method", [BACKBONE, SIFT], ids=["backbone", "sift"])
def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(house, tmp_path, monkeypatch, method):
    monkeypatch.setattr(embed, "AT_ONCE", 10)
    made(house, tmp_path / "unbroken", *method)
    real, seen = embed.require_finite, []

    def counts(values, first):
        if len(seen) == limit:
            raise RuntimeError("power cut")
        seen.append(first)
        real(values, first)

    monkeypatch.setattr(embed, "require_finite", counts)
    limit = 2
    with pytest.raises(RuntimeError, match="power cut"):
        made(house, tmp_path / "broken", *method)
    limit = None
    # And once more when all is joined, but the keys.
    write = embed.write_table
    monkeypatch.setattr(embed, "write_table", lambda path, keys: (_ for _ in ()).throw(RuntimeError("power cut")))
    with pytest.raises(RuntimeError, match="power cut"):
        made(house, tmp_path / "broken", *method)
    monkeypatch.setattr(embed, "write_table", write)
    made(house, tmp_path / "broken", *method)
    assert seen == [0, 10, 20]
    names = sorted(path.name for path in (tmp_path / "unbroken").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "broken").iterdir())
    for name in ("values.npy", "keys.parquet"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_embeddings_stand_and_are_not_made_from_something_else(house, tmp_path):
    made(house, tmp_path / "out", *BACKBONE)
    before = (tmp_path / "out" / "values.npy").stat().st_mtime_ns
    made(house, tmp_path / "out", *BACKBONE, "batch_size=3")
    assert (tmp_path / "out" / "values.npy").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="method.views: there 1, now 4"):
        made(house, tmp_path / "out", *BACKBONE, "method.views=4")


def test_runs_that_do_not_fit_are_refused(house, tmp_path):
    method = ("method.kind=run", f"method.run={house}/run")
    with pytest.raises(ValueError, match="was trained on these images, which its networks know by heart"):
        made(house, tmp_path / "out", *method, "method.out_of_fold=false")
    with pytest.raises(ValueError, match="was trained on another index and another fold"):
        made(house, tmp_path / "out", *method, f"data.out={tmp_path}/work", "data.source.simulation.seed=5")
    with pytest.raises(ArtifactError, match="`hpa train_image_level` makes it"):
        made(house, tmp_path / "out", "method.kind=run", f"method.run={tmp_path}/none")
    with pytest.raises(ArtifactError, match="`hpa train_segmentation` makes it"):
        made(house, tmp_path / "out", "method.kind=unet", f"method.run={tmp_path}/none")
    shutil.copytree(house / "run", tmp_path / "partly")
    text = (tmp_path / "partly" / "run.json").read_text()
    (tmp_path / "partly" / "run.json").write_text(text.replace('"folds": [\n    0,\n    1\n  ]', '"folds": [0]'))
    with pytest.raises(ValueError, match=r"no network held out the folds \[1\].*folds=all"):
        made(house, tmp_path / "out", "method.kind=run", f"method.run={tmp_path}/partly")


def test_values_that_are_not_finite_are_refused(house, tmp_path, monkeypatch):
    words = embed.open_words

    def broken(*arguments):
        made_words = words(*arguments)
        return lambda rows: made_words(rows) * np.float32(np.nan)

    monkeypatch.setattr(embed, "open_words", broken)
    with pytest.raises(ValueError, match=r"24 rows have others, such as the rows \[0, 1, 2, 3, 4\]"):
        made(house, tmp_path / "out", *SIFT)
