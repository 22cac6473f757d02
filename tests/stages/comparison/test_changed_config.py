import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpa.classification.losses import FocalLoss
from hpa.config import ConfigError, load_config
from hpa.stages.comparison.changed_config import as_text, changed, problems_of
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig

BASE = load_config(TrainImageLevelConfig, overrides=["loss.smoothing=0.1", "loop.precision=no", "loop.seed=5"])


def test_what_is_not_named_stays():
    assert changed(BASE, {}) == BASE
    found = changed(BASE, {"loop.learning_rate": 1e-5, "data.cache.size": 96})
    assert (found.loop.learning_rate, found.data.cache.size, found.loop.seed) == (1e-5, 96, 5)
    assert found.loop.precision == "no"
    assert found.loss == BASE.loss


def test_a_section_and_another_kind_drop_what_stood_there():
    assert changed(BASE, {"loss": {"kind": "focal", "gamma": 1}}).loss == FocalLoss(gamma=1)
    assert changed(BASE, {"loss.kind": "focal"}).loss == FocalLoss()
    assert changed(BASE, {"decisions": None}).decisions is None


def test_all_problems_are_told():
    problems = problems_of(BASE, {"loop.epcohs": 3, "model.dropout": 2})
    assert len(problems) == 2
    assert any("did you mean 'epochs'" in line for line in problems)
    assert problems_of(BASE, {"loop.epochs": 3}) == ()
    with pytest.raises(ConfigError):
        changed(BASE, {"loop.epcohs": 3})


@example("\x85")
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_values_come_back(value):
    import yaml

    text = as_text(value)
    assert yaml.safe_load(text) == value
