import pytest

from hpa.config import ConfigError, load_config
from hpa.stages.anomalies.detect_anomalies_config import DetectAnomaliesConfig, default_detectors, detector_name


def load(*overrides: str) -> DetectAnomaliesConfig:
    return load_config(DetectAnomaliesConfig, overrides=overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["detectors=[]"], "expected at least one"),
        (["detectors=[{kind: intensity}, {kind: intensity}]"], r"\['intensity'\] repeat; give `name`"),
        (["detectors=[{kind: intensity, name: combined}]"], "may be called 'combined'"),
        (["level=cell", "detectors=[{kind: duplicates}]"], "judge whole images"),
        (["level=cell", "detectors=[{kind: label, method: {kind: combination, group_votes: true}}]"], "inherit"),
        (["detectors=[{kind: neighbours}]"], r"detectors\.0\.embedding: a value is needed"),
        (["detectors=[{kind: intensty}]"], "did you mean 'intensity'"),
        (["detectors=[{kind: label}]"], "combination needs `probabilities`"),
        (["detectors=[{kind: label, method: {kind: neighbour_vote}, probabilities: x}]"], "needs `embedding`"),
        (["detectors=[{kind: label, method: {kind: area_under_margin}}]"], "needs `margins`"),
        (["detectors=[{kind: label, method: {kind: cleanlab}, embedding: x}]"], "needs `probabilities`"),
        (["combined.weights={intensity: -1}"], "weights of 0 or more"),
    ],
)
def test_mistakes_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(*overrides)


def test_detectors_of_one_kind_may_look_at_several_embeddings() -> None:
    config = load(
        "detectors=[{kind: neighbours, embedding: a}, {kind: neighbours, embedding: b, name: near, neighbours: 3}]"
    )
    assert config.detectors is not None
    assert [detector_name(one) for one in config.detectors] == ["neighbours", "near"]


def test_a_combination_needs_either_source() -> None:
    for source in ("probabilities", "embedding"):
        assert load(f"detectors=[{{kind: label, {source}: x}}]").detectors


def test_defaults_fit_the_channels_and_the_level() -> None:
    kinds = [one.kind for one in default_detectors("image", ("red", "green", "blue", "yellow"))]
    assert {"joint_histogram", "swapped_channels", "duplicates", "nearly_empty"} < set(kinds)
    assert {"joint_histogram", "swapped_channels"}.isdisjoint(one.kind for one in default_detectors("image", ("grey",)))
    assert "swapped_channels" not in [one.kind for one in default_detectors("image", tuple("abcdefg"))]
    assert "duplicates" not in [one.kind for one in default_detectors("cell", ("green", "blue"))]


def test_paths_stay_out_of_the_record() -> None:
    config = load("detectors=[{kind: label, probabilities: here, embedding: there}]")
    assert config.detectors is not None
    assert "here" not in str(config.content(config.detectors))
    assert config.content(config.detectors)["detectors"][0]["method"]["kind"] == "combination"
