"""A configuration with some of its values changed by their dotted keys, as `key.path=value` on a command line does."""

from collections.abc import Mapping
from typing import Any, TypeVar

import yaml

from hpa.config import Config, ConfigError, load_config

ConfigT = TypeVar("ConfigT", bound=Config)


def changed(base: ConfigT, changes: Mapping[str, Any]) -> ConfigT:
    """The configuration with other values.

    Args:
        base: what stays.
        changes: dotted key to value; a value may be a whole section. Another `kind` drops its old siblings.

    Raises:
        ConfigError: lists every key or value that is wrong.

    >>> from hpa.training import LoopConfig
    >>> changed(LoopConfig(seed=3), {"learning_rate": 0.1}).seed
    3
    """
    sections = base.model_dump(mode="json")
    given = [f"{key}={as_text(value)}" for key, value in [*sections.items(), *changes.items()]]
    return load_config(type(base), overrides=given)


def problems_of(base: Config, changes: Mapping[str, Any]) -> tuple[str, ...]:
    """What is wrong with changes; nothing for those that `changed` takes."""
    try:
        changed(base, changes)
    except ConfigError as error:
        return error.problems
    return ()


def as_text(value: Any) -> str:
    """A value in YAML notation, on one line.

    >>> as_text({"kind": "focal", "gamma": 1e-5}), as_text("no")
    ('{kind: focal, gamma: 1.0e-05}', "'no'")
    """
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=2**31)
    return text.removesuffix("\n").removesuffix("...").strip()
