"""Weights of members per class: from a configuration, and to and from JSON."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from hpa.arrays import Float64
from hpa.fusion.config import FusionConfig
from hpa.labels import ClassList

Weights: TypeAlias = Float64[np.ndarray, "members classes"]


def member_weights(config: FusionConfig, classes: ClassList) -> Weights:
    """The configured weight of every member for every class.

    Raises:
        ValueError: a class that the list does not have, or one for which no member has a weight.

    >>> from hpa.fusion.config import MemberConfig
    >>> image = MemberConfig(name="image", paths=("a",), weight=0.3, class_weights={"y": 0})
    >>> cell = MemberConfig(name="cell", paths=("b",), weight=0.7)
    >>> member_weights(FusionConfig(members=(image, cell)), ClassList(names=("x", "y"))).tolist()
    [[0.3, 0.0], [0.7, 0.7]]
    """
    for member in config.members:
        unknown = sorted(set(member.class_weights) - set(classes.names))
        if unknown:
            raise ValueError(
                f"members.{member.name}.class_weights: expected names of classes, but {unknown} are not in the list "
                f"{list(classes.names)}"
            )
    weights = np.array(
        [[member.class_weights.get(name, member.weight) for name in classes.names] for member in config.members],
        np.float64,
    )
    require_weights(weights, classes)
    return weights


def require_weights(weights: Weights, classes: ClassList) -> None:
    """Refuse weights that leave a class without any member.

    Raises:
        ValueError: names the classes.
    """
    without = [name for name, total in zip(classes.names, weights.sum(axis=0), strict=True) if not total > 0]
    if without:
        raise ValueError(f"members: expected a weight above 0 of some member for every class, but {without} have none")


def weights_to_json(weights: Weights, config: FusionConfig, classes: ClassList) -> dict[str, Any]:
    """The rule, and by member and class name the weight; `weights_from_json` gives the same numbers back."""
    rows = zip(config.members, weights.tolist(), strict=True)
    return {
        "how": config.how,
        "weights": {member.name: dict(zip(classes.names, row, strict=True)) for member, row in rows},
    }


def weights_from_json(content: Mapping[str, Any], config: FusionConfig, classes: ClassList) -> Weights:
    """The weights that `weights_to_json` wrote, for members of the same names in any order.

    Raises:
        ValueError: weights of other members or for another rule, or none for some class.
    """
    found, names = content["weights"], [member.name for member in config.members]
    if sorted(found) != sorted(names) or content["how"] != config.how:
        raise ValueError(
            f"expected weights of the members {names} for the rule {config.how!r}, but found those of {list(found)} "
            f"for {content['how']!r}"
        )
    lacking = [name for name in classes.names if any(name not in found[member] for member in names)]
    if lacking:
        raise ValueError(f"expected a weight for every class, but found none for {lacking}")
    return np.array([[found[member][name] for name in classes.names] for member in names], np.float64)
