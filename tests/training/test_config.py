import pytest

from hpa.config import ConfigError, validate
from hpa.training.config import LoopConfig, MachineConfig


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"optimizer": "adamv"}, "optimizer: expected one of timm's optimizers"),
        ({"patience": 3}, "patience needs `monitor`"),
        ({"epochs": 0}, "epochs"),
        ({"warmup": 1.0}, "warmup"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate_factors": {"head": -1}}, "learning_rate_factors"),
        ({"precision": "fp8"}, "precision"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_wrong_settings_are_refused(values, problem):
    with pytest.raises(ConfigError, match=problem):
        validate(LoopConfig, values)


def test_every_setting_that_decides_only_speed_is_apart():
    assert not MachineConfig.model_fields.keys() & LoopConfig.model_fields.keys()


def test_an_optimizer_is_known_by_any_case():
    assert LoopConfig(optimizer="AdamW").optimizer == "adamw"


def test_a_bare_no_of_yaml_is_a_precision():
    from hpa.config import load_config

    assert load_config(LoopConfig, overrides=["precision=no"]).precision == "no"
