"""Configurations of policies."""

import pytest

from hpa.anomaly.denoising_policy import DropPolicy, Policy, RelabelPolicy, Rule, RulesPolicy, needs_correction
from hpa.config import Config, ConfigError, validate


class Holder(Config):
    policy: Policy = DropPolicy()


def test_policies_are_chosen_by_kind():
    assert validate(Holder, {"policy": {"kind": "relabel", "strength": 0.5}}).policy == RelabelPolicy(strength=0.5)
    rules = [{"detector": "blur", "action": "weight"}]
    assert validate(Holder, {"policy": {"kind": "rules", "rules": rules}}).policy.rules[0].counts == 0.5


def test_only_relabelling_needs_corrected_labels():
    assert needs_correction(RelabelPolicy())
    assert needs_correction(RulesPolicy(rules=(Rule(detector="a", action="relabel"),)))
    assert not needs_correction(RulesPolicy(rules=(Rule(detector="a", action="drop"),)))
    assert not needs_correction(DropPolicy())


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"kind": "drop", "detectors": []}, "detectors"),
        ({"kind": "relabel", "strength": 0}, "strength"),
        ({"kind": "rules", "rules": []}, "rules"),
        ({"kind": "rules", "rules": [{"detector": "a", "action": "drop", "weight": 0.5}]}, "takes no weight"),
        ({"kind": "weights"}, "did you mean 'weight'"),
    ],
)
def test_mistakes_are_named(policy, said):
    with pytest.raises(ConfigError, match=said):
        validate(Holder, {"policy": policy})
