"""The configuration of a fusion, as a file gives it."""

import pytest

from hpa.config import ConfigError, validate
from hpa.fusion import FusionConfig

CELL = {"name": "cell", "paths": ["runs/cell"]}


def test_members_are_declared():
    config = validate(FusionConfig, {"members": [CELL, {"name": "image", "level": "image", "paths": ["a", "b"]}]})
    assert [member.level for member in config.members] == ["cell", "image"]
    assert (config.how, config.members[0].ensemble, config.members[0].weight) == ("arithmetic", "mean", 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"members": []}, "members"),
        ({"members": [CELL, CELL]}, r"every member's name once, but \['cell'\] repeat"),
        ({"members": [CELL | {"paths": []}]}, "members.0.paths"),
        ({"members": [CELL | {"weight": -1}]}, "members.0.weight"),
        ({"members": [CELL | {"class_weights": {"x": float("inf")}}]}, "members.0.class_weights.x"),
        ({"members": [CELL | {"level": "pixel"}]}, "members.0.level"),
        ({"members": [CELL | {"wieght": 1}]}, "members.0.wieght"),
        ({"members": [CELL], "how": "harmonic"}, "how"),
    ],
)
def test_mistakes_are_named(data, message):
    with pytest.raises(ConfigError, match=message):
        validate(FusionConfig, data)
