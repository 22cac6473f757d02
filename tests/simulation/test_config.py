import pytest

from hpa.config import ConfigError, validate
from hpa.simulation import BetaFraction, FixedFraction, SimulationConfig


def test_defaults_have_no_defects_and_the_field_of_the_real_images() -> None:
    config = SimulationConfig()
    assert set(config.defects.model_dump().values()) == {0.0}
    assert config.pixel == pytest.approx(0.32)
    assert SimulationConfig(size=2048).pixel == pytest.approx(0.08)


def test_the_positive_fraction_is_a_tagged_union() -> None:
    fixed = validate(SimulationConfig, {"positive_fraction": {"kind": "fixed", "value": 0.3}})
    assert fixed.positive_fraction == FixedFraction(value=0.3)
    assert isinstance(validate(SimulationConfig, {}).positive_fraction, BetaFraction)


def test_a_configuration_survives_json() -> None:
    config = SimulationConfig(seed=3, cell_lines=("A549",))
    assert SimulationConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"images": 0}, "images"),
        ({"size": 8}, "size"),
        ({"cell_lines": ["HeLa"]}, "expected cell lines out of"),
        ({"cell_lines": []}, "cell_lines"),
        ({"frequencies": "equal"}, "frequencies"),
        ({"defects": {"saturated": 0.7, "duplicate": 0.6}}, "sum to 1 at most, but got 1.3"),
        ({"defects": {"saturatd": 0.7}}, "did you mean 'saturated'"),
        (
            {"positive_fraction": {"kind": "beta", "by_class": {"Golgi": {"mean": 0.5, "concentration": 1}}}},
            "class names",
        ),
        ({"positive_fraction": {"kind": "fixt"}}, "did you mean 'fixed'"),
    ],
)
def test_mistakes_are_named(data: dict, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        validate(SimulationConfig, data)
