"""Configurations of the label methods."""

import pytest

from hpa.anomaly.findings import ValueDecision
from hpa.anomaly.label_methods import Combination, LabelMethod
from hpa.config import Config, ConfigError, validate


class Holder(Config):
    method: LabelMethod = Combination()


def test_methods_are_chosen_by_kind():
    kinds = ("self_confidence", "label_margin", "label_loss", "cleanlab", "neighbour_vote", "area_under_margin")
    for kind in kinds:
        assert validate(Holder, {"method": {"kind": kind}}).method.kind == kind
    chosen = validate(Holder, {"method": {"neighbours": 5, "decision": {"kind": "value", "threshold": 1}}}).method
    assert chosen == Combination(neighbours=5, decision=ValueDecision(threshold=1))


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match=r"method\.kind.*did you mean 'label_loss'"):
        validate(Holder, {"method": {"kind": "label_los"}})
    with pytest.raises(ConfigError, match=r"method\.neighbours"):
        validate(Holder, {"method": {"neighbours": 0}})
