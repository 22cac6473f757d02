from pathlib import Path

import pytest

from hpa.config import ConfigError, load_config
from hpa.stages.comparison.compare_config import CompareConfig, folder_name

CONFIGS = Path(__file__).parents[3] / "configs" / "compare"


def names(*overrides):
    return list(load_config(CompareConfig, overrides=overrides).trainings())


def test_variants_backbones_and_grid_are_combined():
    found = load_config(
        CompareConfig,
        overrides=[
            "variants={plain: {}, focal: {loss.kind: focal, loop.learning_rate: 5}}",
            "backbones=[resnet18, resnet34]",
            "grid={loop.learning_rate: [0.1, 0.01]}",
            "out=runs/x",
        ],
    )
    trainings = found.trainings()
    assert len(trainings) == 8
    one = trainings["focal resnet34 learning_rate=0.01"]
    assert (one.model.name, one.loss.kind, one.loop.learning_rate) == ("resnet34", "focal", 0.01)
    assert one.out == Path("runs/x/runs/focal_resnet34_learning_rate=0.01")
    assert one.data == found.base.data


def test_short_names_that_can_be_told_apart():
    assert names("grid={model.pretrained.kind: [none, pip]}") == ["pretrained.kind=none", "pretrained.kind=pip"]
    assert names("grid={loss: [{kind: bce}, {kind: focal}]}") == ["loss=bce", "loss=focal"]
    assert names("grid={loss: [{kind: focal, gamma: 1}, {kind: focal, gamma: 2}]}")[0] == "loss={kind: focal, gamma: 1}"
    both = names("grid={augmentation.blur: [0], augmentation.noise: [0, 1]}")
    assert both == ["blur=0 noise=0", "blur=0 noise=1"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["backbones=[resnet18]"], "at least two variants"),
        (["grid={loop.epochs: [1, 2]}"], "set budget.kind=epochs"),
        (["grid={data.source.kind: [npz, table]}"], "set base.data.source.kind"),
        (["variants={a: {data: {}}, b: {}}"], "set base.data"),
        (["grid={folds: [[0], [1]]}"], "is the same for all variants"),
        (["variants={a: {}, b: {loop.epcohs: 1}}"], "variant b: loop.epcohs: unknown key"),
        (["variants={a b: {}, a_b: {}}"], "kept in the folder a_b"),
        (["backbones=[resnet18, resnet34]", "bootstrap.baseline=resnet50"], "bootstrap.baseline: expected one of"),
        (["backbones=[resnet18, resnet34]", "ensembles=[{kind: stacking}]", "base.folds=[0]"], "need two folds"),
        (["backbones=[resnet18, resnet34]", "ensembles=[{kind: mean}, {kind: mean}]"], "mean is there more than once"),
        (["variants={'ensemble: mean': {}, b: {}}", "ensembles=[{kind: mean}]"], "is the name of an ensemble"),
    ],
)
def test_what_cannot_be_compared(overrides, expected):
    with pytest.raises(ConfigError, match=expected):
        names(*overrides)


def test_names_of_folders():
    assert folder_name("../a b") == "a_b"
    assert folder_name("{}") == "variant"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_loads(path):
    config = load_config(CompareConfig, path)
    assert len(config.trainings()) >= 2
    head = path.read_text().split("\nout:")[0]
    assert head.startswith("#")
    assert f"configs/compare/{path.name}" in head


def test_the_reference_tables():
    backbones = load_config(CompareConfig, CONFIGS / "backbones.yaml").trainings()
    assert [one.model.name for one in backbones.values()] == [
        *("resnet152", "resnetv2_152", "inception_resnet_v2", "tf_efficientnet_b7")
    ]
    rates = load_config(CompareConfig, CONFIGS / "learning_rates.yaml").trainings()
    assert [one.loop.learning_rate for one in rates.values()] == [0.1, 0.01, 0.001, 0.0001]
    outputs = load_config(CompareConfig, CONFIGS / "output_activations.yaml").trainings()
    assert [one.model.output for one in outputs.values()] == ["usual", "relu", "tanh"]
