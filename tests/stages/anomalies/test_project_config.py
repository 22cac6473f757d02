"""The configuration of `project`."""

from pathlib import Path

import pytest

from hpa.anomaly.projection_config import TsneConfig
from hpa.config import ConfigError, load_config
from hpa.stages.anomalies.project_config import ProjectConfig


def test_embeddings_are_named_on_the_command_line_in_their_order():
    config = load_config(
        ProjectConfig, overrides=["embeddings={sift words: a, fine-tuned: b}", "method.kind=tsne", "page.items=50"]
    )
    assert list(config.embeddings.items()) == [("sift words", Path("a")), ("fine-tuned", Path("b"))]
    assert config.method == TsneConfig()
    assert config.content()["embeddings"] == ["sift words", "fine-tuned"]


@pytest.mark.parametrize("name", ["../up", "", "a/b", ".hidden", "x" * 61])
def test_names_become_files(name):
    with pytest.raises(ConfigError, match="expected names"):
        load_config(ProjectConfig, overrides=[f"embeddings={{'{name}': a}}"])


def test_at_least_one_embedding():
    with pytest.raises(ConfigError, match="embeddings"):
        load_config(ProjectConfig, overrides=["embeddings={}"])


def test_what_is_only_a_path_is_left_out_of_the_record():
    one, other = ProjectConfig(out=Path("x"), cells_cache=Path("y")), ProjectConfig()
    assert one.content() == other.content()
