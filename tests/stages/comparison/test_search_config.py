from pathlib import Path

import pytest

from hpa.config import ConfigError, load_config
from hpa.stages.comparison.search_config import Choice, SearchConfig

CONFIGS = Path(__file__).parents[3] / "configs" / "search"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("space={loop.learning_rate: {kind: float, low: 1, high: 0}}", "expected low <= high"),
        ("space={loop.learning_rate: {kind: float, low: 0, high: 1, log: true}}", "low above 0"),
        ("space={loop.epochs: {kind: int, low: 1, high: 3}}", "set base.loop.epochs"),
        ("space={data.cache.size: {kind: int, low: 32, high: 64}}", "set base.data.cache.size"),
        ("space={loop.learning_rat: {kind: int, low: 1, high: 3}}", "did you mean 'learning_rate'"),
        ("space={model.dropout: {kind: float, low: 0, high: 1.5}}", "less than 1"),
        ("space={noise: {kind: choice, values: [null, {kind: two_phase}]}}", "trains twice"),
        ("base.loop.monitor=null", "the metric to search for"),
        ("space={}", "space"),
    ],
)
def test_what_cannot_be_searched(override, expected):
    with pytest.raises(ConfigError, match=expected):
        load_config(SearchConfig, overrides=[override])


def test_values_of_a_choice_are_stored_as_text():
    choice = Choice(values=(0.5, "mean", {"kind": "focal", "gamma": 1}, None))
    assert list(choice.labels) == ["0.5", "mean", "{kind: focal, gamma: 1}", "null"]
    assert list(choice.labels.values()) == list(choice.values)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_loads(path):
    assert load_config(SearchConfig, path).space
    head = path.read_text().split("\nout:")[0]
    assert head.startswith("#")
    assert f"configs/search/{path.name}" in head
