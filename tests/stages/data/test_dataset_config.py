from pathlib import Path

import pytest

from hpa.config import ConfigError, load_config, validate
from hpa.datasets import ClassFolders, Npz
from hpa.stages.data.dataset_config import DatasetConfig, SimulatedSource


def test_the_default_is_the_simulated_atlas():
    config = DatasetConfig()
    assert isinstance(config.source, SimulatedSource)
    assert config.index_folder == Path("work/demo/index")
    assert config.cache_folder == Path("work/demo/cache-512")


def test_each_kind_gives_its_source():
    folders = load_config(DatasetConfig, overrides=["source.kind=class_folders", "source.folder=x"])
    assert isinstance(folders.source, ClassFolders)
    assert isinstance(validate(DatasetConfig, {"source": {"kind": "npz", "file": "x.npz"}}).source, Npz)


def test_mistyped_keys_and_kinds_are_explained():
    with pytest.raises(ConfigError, match=r"source\.kind: expected one of .*did you mean 'kaggle2021'"):
        validate(DatasetConfig, {"source": {"kind": "kaggle2020"}})
    with pytest.raises(ConfigError, match=r"source\.foldr: unknown key; did you mean 'folder'"):
        validate(DatasetConfig, {"source": {"kind": "kaggle2021", "folder": "x", "foldr": "y"}})
    with pytest.raises(ConfigError, match=r"fold\.folds"):
        validate(DatasetConfig, {"fold": {"folds": 1}})
    with pytest.raises(ConfigError, match=r"source\.channels"):
        validate(DatasetConfig, {"source": {"kind": "kaggle2021", "folder": "x", "channels": ["rot"]}})
