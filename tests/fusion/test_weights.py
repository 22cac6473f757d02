"""Weights of members per class: configured, written and read."""

import json

import numpy as np
import pytest

from hpa.fusion import FusionConfig, MemberConfig, member_weights, weights_from_json, weights_to_json
from hpa.labels import HPA2021, ClassList

CLASSES = ClassList(names=("x", "y", "z"))


def config(*members, how="arithmetic"):
    return FusionConfig(members=tuple(MemberConfig(paths=("p",), **member) for member in members), how=how)


def test_the_fourth_places_weights():
    only_cell = {"Mitotic spindle": 0, "Negative": 0}
    found = member_weights(
        config({"name": "image", "weight": 0.3, "class_weights": only_cell}, {"name": "cell", "weight": 0.7}), HPA2021
    )
    assert found.shape == (2, 19)
    assert (found[1] == 0.7).all()
    assert np.flatnonzero(found[0] == 0).tolist() == [11, 18]
    assert set(found[0]) == {0, 0.3}


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"members.a.class_weights: expected names of classes, but \['w'\]"):
        member_weights(config({"name": "a", "class_weights": {"w": 1}}), CLASSES)
    with pytest.raises(ValueError, match=r"for every class, but \['y'\] have none"):
        member_weights(
            config({"name": "a", "class_weights": {"y": 0}}, {"name": "b", "weight": 0, "class_weights": {"x": 1}}),
            CLASSES,
        )


def test_written_weights_are_read_back_exactly_in_any_order():
    one = config({"name": "a"}, {"name": "b"})
    weights = np.random.default_rng(0).random((2, 3))
    content = json.loads(json.dumps(weights_to_json(weights, one, CLASSES)))
    np.testing.assert_array_equal(weights_from_json(content, one, CLASSES), weights)
    turned = config({"name": "b"}, {"name": "a"})
    np.testing.assert_array_equal(weights_from_json(content, turned, CLASSES), weights[::-1])


def test_weights_of_something_else_are_refused():
    one = config({"name": "a"}, {"name": "b"})
    content = weights_to_json(np.ones((2, 3)), one, CLASSES)
    with pytest.raises(ValueError, match=r"weights of the members \['a', 'c'\]"):
        weights_from_json(content, config({"name": "a"}, {"name": "c"}), CLASSES)
    with pytest.raises(ValueError, match="for the rule 'product', but"):
        weights_from_json(content, config({"name": "a"}, {"name": "b"}, how="product"), CLASSES)
    with pytest.raises(ValueError, match=r"found none for \['w'\]"):
        weights_from_json(content, one, ClassList(names=("x", "w")))
