"""Configuration: frozen pydantic models, one YAML file, then `key.path=value` overrides."""

import difflib
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml


class Config(pydantic.BaseModel):
    """Base of every configuration: unknown keys are errors, and values never change after loading."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


ConfigT = TypeVar("ConfigT", bound=Config)


class ConfigError(ValueError):
    """A configuration that cannot be used.

    Attributes:
        problems: one line each, all problems at once, with the dotted path of the key.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load_config(
    model: type[ConfigT], path: Path | None = None, overrides: Sequence[str] = (), section: str | None = None
) -> ConfigT:
    """Read a configuration: the model's defaults, then the YAML file, then the overrides.

    Args:
        model: the class to fill.
        path: YAML file that holds what differs from the defaults; None for the defaults alone.
        overrides: `key.path=value`, the value in YAML notation. Overriding a `kind` drops its old siblings.
        section: where the file may be that of a larger experiment, the key whose value is taken; overrides may
            then start with `section.` too.

    Raises:
        ConfigError: the file cannot be read or parsed, or any key or value is wrong; lists every problem.

    >>> class Loop(Config):
    ...     epochs: int = 5
    >>> load_config(Loop, overrides=["epochs=7"])
    Loop(epochs=7)
    """
    data = _read_yaml(path) if path else {}
    if section and section in data and section not in model.model_fields:
        data = data[section] or {}
        if not isinstance(data, dict):
            raise ConfigError([f"{section}: expected a mapping, but got {data!r}"])
    problems = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            problems.append(f"{override!r}: expected an override of the form key.path=value")
            continue
        if section and section not in model.model_fields:
            key = key.removeprefix(f"{section}.")
        try:
            value = text if _PLACEHOLDER.match(text) else yaml.safe_load(text)
        except yaml.YAMLError as error:
            problems.append(f"{key}: the value {text!r} is not YAML: {_first_line(error)}")
            continue
        problem = _set(data, key.split("."), value)
        if problem:
            problems.append(problem)
    if problems:
        raise ConfigError(problems)
    return validate(model, data)


_PLACEHOLDER = re.compile(r"\{\w+\}")
"""How file names with a part to fill in begin (`{image_id}_masks`); YAML would read a mapping, or nothing at all."""


def _complete(data: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Fill what is not given from the values that stand as defaults, as long as the `kind` is theirs.

    Left to pydantic, a section given in part would be completed from its class, not from the default that stands in
    the configuration around it.
    """
    completed = dict(data)
    for name, default in defaults.items():
        given = data.get(name)
        kind = getattr(default, "kind", None)
        if isinstance(default, Config) and isinstance(given, dict) and given.get("kind", kind) == kind:
            own = {key: getattr(default, key) for key in type(default).model_fields}
            completed[name] = own | _complete(given, own)
    return completed


def _defaults(model: type[Config]) -> dict[str, Any]:
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def validate(model: type[ConfigT], data: Any) -> ConfigT:
    """Fill a model from plain values; sections given in part are completed from the model's default for them.

    Raises:
        ConfigError: lists every problem with its dotted path, and a suggestion where a key looks mistyped.
    """
    if isinstance(data, dict):
        data = _complete(data, _defaults(model))
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        raise ConfigError([_describe(model, data, item) for item in error.errors()]) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); give --config an existing file"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not a text file; --config takes YAML"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: is not valid YAML: {_first_line(error)}"]) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError([f"{path}: expected keys and values, but got {type(data).__name__}"])
    return data


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _set(data: dict[str, Any], keys: list[str], value: Any) -> str | None:
    """Set a nested value in place; returns the problem, if any."""
    *parents, last = keys
    for depth, key in enumerate(parents):
        inner = data.setdefault(key, {})
        if inner is None:
            inner = data[key] = {}
        if not isinstance(inner, dict):
            return f"{'.'.join(keys)}: {'.'.join(keys[: depth + 1])} is {inner!r}, which has no keys of its own"
        data = inner
    if last == "kind" and data.get("kind") != value:
        data.clear()
    data[last] = value
    return None


def _describe(model: type[Config], data: Any, error: Any) -> str:
    path = _resolve(data, error["loc"])
    dotted = ".".join(path) or "(top level)"
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1], data)
        close = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"
        return f"{dotted}: unknown key; {hint}"
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        expected = str(error["ctx"].get("expected_tags", "")).replace("'", "")
        if error["type"] == "union_tag_not_found":
            return f"{dotted}.kind: missing" + (f"; expected one of {expected}" if expected else "")
        tag = str(error["ctx"]["tag"])
        close = difflib.get_close_matches(tag, [part.strip() for part in expected.split(",")], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{dotted}.kind: expected one of {expected}, but got {tag!r}{hint}"
    if error["type"] == "missing":
        return f"{dotted}: a value is needed"
    found = error["input"]
    shown = f", but got {found!r}" if not isinstance(found, dict) else ""
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{dotted}: {message[:1].lower() + message[1:]}{shown}"


def _resolve(data: Any, loc: Sequence[str | int]) -> list[str]:
    """Keep of pydantic's location only what the user wrote: the tags of unions are left out."""
    path: list[str] = []
    here = data
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if isinstance(here, dict) and part not in here and not is_last:
            continue
        if isinstance(here, dict) and is_last and part not in here and here.get("kind") == part:
            continue
        path.append(str(part))
        if isinstance(here, dict):
            here = here.get(part)
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            here = None
    return path


def _fields_at(model: type[Config], path: Sequence[str], data: Any) -> set[str]:
    """Names of the keys that are known below `path`, the user's choice of `kind` considered."""
    models: list[type[Config]] = [model]
    here = data
    for key in path:
        here = here.get(key) if isinstance(here, dict) else None
        kind = here.get("kind") if isinstance(here, dict) else None
        found: list[type[Config]] = []
        for candidate in models:
            field = candidate.model_fields.get(key)
            if field is not None:
                found += _models_in(field.annotation)
        tagged = [
            m
            for m in found
            if kind is not None
            and m.model_fields.get("kind") is not None
            and kind in typing.get_args(m.model_fields["kind"].annotation)
        ]
        models = tagged or found
    return {name for candidate in models for name in candidate.model_fields}


def _models_in(annotation: Any) -> list[type[Config]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, Config) else []
    return [found for part in typing.get_args(annotation) for found in _models_in(part)]
