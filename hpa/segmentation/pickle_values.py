"""What a pickle of a torch module may hold, all of it inert: names, storages, tensors, modules, and known calls."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

DTYPES = {
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}
"""Name in safetensors and bytes of an element, by torch's name of the storage."""

MODULE_PARTS = ("_parameters", "_buffers", "_modules")
"""What the `__dict__` of every torch module holds."""


class RefusedError(ValueError):
    """A file that asks for more than tensors, plain values and modules."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle names: a class or a function, never looked up."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """Module and name as one."""
        return f"{self.module}.{self.name}"

    def __str__(self) -> str:
        # For messages: a file's own text must not steer the terminal.
        shown = self.path[:200]
        return shown if shown.isprintable() else ascii(shown)


@dataclass(frozen=True, slots=True)
class Storage:
    """Values in a row, somewhere in the file: their type, their key, and how many there should be."""

    dtype: str
    itemsize: int
    key: str
    numel: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage, in elements; its form is checked, but not yet that it lies within the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(eq=False, slots=True)
class Module:
    """What stands for an object that was built the way modules are: its `__dict__`."""

    state: dict[str, Any] | None = None


def require(is_fine: bool, otherwise: str) -> None:
    """Refuse the file, saying what it does, unless all is fine."""
    if not is_fine:
        raise RefusedError(f"it {otherwise}")


def is_storage(name: Name) -> bool:
    """Whether torch names a type of storage so."""
    return name.module in ("torch", "torch.cuda") and name.name in DTYPES


def is_size(value: Any) -> bool:
    """Whether a value can be a number of elements."""
    return type(value) is int and 0 <= value < 1 << 48


def _is_sizes(value: Any) -> bool:
    return type(value) is tuple and len(value) <= 32 and all(map(is_size, value))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *others: Any) -> Tensor:
    is_usual = type(storage) is Storage and is_size(offset) and _is_sizes(shape) and _is_sizes(strides)
    require(is_usual and len(shape) == len(strides), "has a tensor of an unknown form")
    require(others[1:2] in ((), ({},)), "has a tensor with hooks")
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, requires_grad: Any, hooks: Any, attributes: Any = None) -> Tensor:
    require(isinstance(tensor, Tensor) and hooks == {}, "has a parameter of an unknown form")
    return tensor  # type: ignore[no-any-return]


def _set(items: Any) -> list[Any]:
    require(type(items) is list, "makes a set of something that is no list")
    return items  # type: ignore[no-any-return]


def _sizes(items: Any) -> tuple[int, ...]:
    require(_is_sizes(items), "has a size of an unknown form")
    return items  # type: ignore[no-any-return]


def _nothing(*arguments: Any) -> None:
    return None


CALLS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "collections.OrderedDict": (0, 0, dict),
    "builtins.set": (1, 1, _set),
    "__builtin__.set": (1, 1, _set),
    "torch.Size": (1, 1, _sizes),
    "torch.device": (1, 2, _nothing),
    "torch._utils._rebuild_tensor": (4, 4, _tensor),
    "torch._utils._rebuild_tensor_v2": (6, 7, _tensor),
    "torch._utils._rebuild_parameter": (3, 3, _parameter),
    "torch._utils._rebuild_parameter_with_state": (4, 4, _parameter),
    "torch.nn.backends.thnn._get_thnn_function_backend": (0, 0, _nothing),  # of every module before torch 1.3
}
"""What a pickle may call: fewest and most arguments, and what is done with them instead."""


def elements(value: Any, most: int) -> Iterator[str]:
    """Texts in a set of the pickle, which stands as a set or a list by the pickle's protocol."""
    if type(value) in (set, list):
        require(len(value) <= most, f"has a set of more than {most} names")
        yield from (item for item in value if type(item) is str)
