from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest

from hpa.config import Config, ConfigError, load_config


class Bce(Config):
    kind: Literal["bce"] = "bce"
    smoothing: float = pydantic.Field(0.0, ge=0, lt=1)


class Focal(Config):
    kind: Literal["focal"] = "focal"
    gamma: float = 2.0


class Inner(Config):
    depth: int = 3
    sizes: tuple[int, ...] = (1, 2)


class Experiment(Config):
    epochs: int = 5
    loss: Annotated[Bce | Focal, pydantic.Field(discriminator="kind")] = Bce()
    inner: Inner = Inner()
    data: str = "x"


class Data(Config):
    root: Path = Path("here")
    inner: Inner = Inner()


def problems(overrides, path=None, model=Experiment):
    with pytest.raises(ConfigError) as caught:
        load_config(model, path, overrides)
    return caught.value.problems


def test_overrides_come_after_the_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("epochs: 7\nloss: {kind: focal, gamma: 1}\n")
    config = load_config(Experiment, path, ["loss.gamma=4", "inner.sizes=[5]"])
    assert config == Experiment(epochs=7, loss=Focal(gamma=4), inner=Inner(sizes=(5,)))


def test_another_kind_starts_from_its_own_defaults(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("loss: {kind: focal, gamma: 1}\n")
    assert load_config(Experiment, path, ["loss.kind=bce", "loss.smoothing=0.1"]).loss == Bce(smoothing=0.1)


def test_the_same_kind_keeps_its_values(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("loss: {kind: focal, gamma: 1}\n")
    assert load_config(Experiment, path, ["loss.kind=focal"]).loss == Focal(gamma=1)


def test_all_problems_at_once_with_path_and_suggestion():
    found = problems(["epoch=3", "inner.dept=2", "epochs=many", "loss.kind=focal", "loss.gama=1"])
    assert len(found) == 4
    assert any(line == "epoch: unknown key; did you mean 'epochs'?" for line in found)
    assert any(line == "inner.dept: unknown key; did you mean 'depth'?" for line in found)
    assert any(line == "loss.gama: unknown key; did you mean 'gamma'?" for line in found)
    assert any(line.startswith("epochs: ") and "'many'" in line for line in found)


def test_a_union_names_its_kinds():
    (line,) = problems(["loss.kind=focale"])
    assert line == "loss.kind: expected one of bce, focal, but got 'focale'; did you mean 'focal'?"


def test_a_section_without_kind_is_of_the_default_kind(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("loss: {smoothing: 0.1}\n")
    assert load_config(Experiment, path).loss == Bce(smoothing=0.1)
    path.write_text("loss: {gamma: 1}\n")
    (line,) = problems([], path)
    assert line.startswith("loss.gamma: unknown key; known here: kind, smoothing")


def test_a_section_given_in_part_keeps_the_default_around_it():
    class Outer(Config):
        experiment: Experiment = Experiment(epochs=9, loss=Focal(gamma=3), inner=Inner(depth=8, sizes=(7,)))

    assert load_config(Outer, overrides=["experiment.inner.depth=1"]).experiment == Experiment(
        epochs=9, loss=Focal(gamma=3), inner=Inner(depth=1, sizes=(7,))
    )
    assert load_config(Outer, overrides=["experiment.loss.kind=bce"]).experiment.loss == Bce()
    assert load_config(Outer, overrides=["experiment.loss.gamma=1"]).experiment.loss == Focal(gamma=1)


def test_a_needed_union_without_kind():
    class Outer(Config):
        loss: Annotated[Bce | Focal, pydantic.Field(discriminator="kind")]

    (line,) = problems(["loss.gamma=1"], model=Outer)
    assert line.startswith("loss.kind: missing")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("epochs", "expected an override of the form key.path=value"),
        ("=3", "expected an override"),
        ("epochs.more=3", "has no keys of its own"),
        ("epochs=[1", "is not YAML"),
    ],
)
def test_malformed_overrides(override, expected, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("epochs: 3\n")
    assert expected in problems([override], path)[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"a: [", "not valid YAML"), (b"- 1\n", "expected keys and values"), (b"\xff\xfe\x00", "not a text file")],
)
def test_files_that_are_no_configuration(tmp_path, content, expected):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert expected in problems([], path)[0]


def test_a_missing_file(tmp_path):
    assert "cannot be read" in problems([], tmp_path / "none.yaml")[0]


def test_yaml_cannot_make_objects(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("epochs: !!python/object/apply:os.mkdir [made]\n")
    assert "not valid YAML" in problems([], path)[0]
    assert not (tmp_path / "made").exists()


def test_a_section_of_a_larger_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("epochs: 3\ndata: {root: there}\n")
    assert load_config(Data, path, ["data.inner.depth=4"], section="data") == Data(
        root=Path("there"), inner=Inner(depth=4)
    )


def test_configs_are_frozen():
    with pytest.raises(pydantic.ValidationError):
        Experiment().epochs = 3


def test_a_file_name_with_a_part_to_fill_in_is_text():
    class Files(Config):
        pattern: str = ""

    for text in ("{image_id}", "{image_id}_cp_masks", "{image_id}_{channel}.png"):
        assert load_config(Files, None, [f"pattern={text}"]).pattern == text
