"""Follows a pickle's instructions without doing what they say: nothing that a pickle names is imported, read or called.

A pickle is a program, and Python's own unpicklers import and call what it names. Here the standard library's
disassembler (`pickletools.genops`, which runs nothing) takes its instructions apart, and an interpreter without any
import, attribute access or call follows them over plain values and the inert kinds of `pickle_values`. The few
functions that files of tensors name (`CALLS`) have a counterpart that notes the arguments down. A class that is not
known is noted by its name, and only where an object of it is built the way modules are: made without arguments, then
given a `__dict__` with parameters, buffers and modules. All else is refused, bare names included.

No instruction copies a value that was there before, so that memory is bounded by the pickle's length.
"""

import pickletools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any

from hpa.segmentation.pickle_values import (
    CALLS,
    DTYPES,
    MODULE_PARTS,
    Module,
    Name,
    RefusedError,
    Storage,
    is_size,
    is_storage,
    require,
)

MOST_PICKLE_BYTES = 4 << 20
"""A module's pickle holds names and numbers only: 150 kB for a DPN-92 U-Net. A byte of it takes up to 200 in memory."""

# fmt: off
_PLAIN = frozenset({
    "NONE", "NEWTRUE", "NEWFALSE",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
})
# fmt: on
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}


@dataclass
class Interpreter:
    """Follows one pickle.

    Attributes:
        storages: every storage that the pickle refers to, by its key.
    """

    storages: dict[str, Storage] = field(default_factory=dict)
    _stack: list[Any] = field(default_factory=list)
    _marks: list[int] = field(default_factory=list)
    _memo: dict[int, Any] = field(default_factory=dict)
    _names: set[Name] = field(default_factory=set)
    _built: set[Name] = field(default_factory=set)
    _modules: list[Module] = field(default_factory=list)

    def run(self, stream: BufferedIOBase) -> Any:
        """The value of the pickle at the stream's position; the stream stands behind it then.

        Returns:
            A plain value, `Tensor` or `Module`, or containers of them, which may contain themselves.

        Raises:
            RefusedError: the pickle asks for anything else.
            ValueError: it is damaged, or no pickle.
        """
        for opcode, argument, _ in pickletools.genops(_Limited(stream)):  # type: ignore[arg-type]
            self._step(opcode.name, argument)
        value = self._pop()
        if self._stack or self._marks:
            raise ValueError("the pickle leaves values behind")
        for name in self._names - self._built:
            require(
                name.path in CALLS or is_storage(name), f"names {name}, which is no class of a module that it holds"
            )
        require(all(module.state is not None for module in self._modules), "makes an object as modules are not made")
        return value

    def _step(self, opcode: str, argument: Any) -> None:
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _ if opcode in _PLAIN:
                self._stack.append(_CONSTANTS.get(opcode, argument))
            case _ if opcode in _EMPTY:
                self._stack.append(_EMPTY[opcode]())
            case "MARK":
                self._marks.append(len(self._stack))
            case "POP":
                self._pop()
            case "POP_MARK":
                self._pop_mark()
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._top()
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._top()
            case "GET" | "BINGET" | "LONG_BINGET":
                if argument not in self._memo:
                    raise ValueError("the pickle refers to a value that is not there")
                self._stack.append(self._memo[argument])
            case "TUPLE":
                self._stack.append(tuple(self._pop_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._stack.append(tuple([self._pop() for _ in range(int(opcode[-1]))][::-1]))
            case "LIST":
                self._stack.append(self._pop_mark())
            case "APPEND":
                self._extend([self._pop()])
            case "APPENDS":
                self._extend(self._pop_mark())
            case "DICT":
                items = self._pop_mark()
                self._stack.append({})
                self._set_items(items)
            case "SETITEM":
                self._set_items([self._pop(), self._pop()][::-1])
            case "SETITEMS":
                self._set_items(self._pop_mark())
            case "ADDITEMS":
                items = self._pop_mark()
                require(type(self._top()) is set, "adds to something that is no set")
                self._top().update(map(_key, items))
            case "GLOBAL":
                module, _, name = argument.partition(" ")
                self._push_name(module, name)
            case "STACK_GLOBAL":
                name, module = self._pop(), self._pop()
                self._push_name(module, name)
            case "BINPERSID":
                self._stack.append(self._refer(self._pop()))
            case "NEWOBJ":
                self._make(self._pop(), self._pop())
            case "REDUCE":
                arguments, target = self._pop(), self._pop()
                require(type(target) is Name, "calls something that is no name")
                require(target.path in CALLS, f"calls {target}")
                fewest, most, counterpart = CALLS[target.path]
                is_usual = type(arguments) is tuple and fewest <= len(arguments) <= most
                require(is_usual, f"calls {target} in an unusual way")
                self._stack.append(counterpart(*arguments))
            case "BUILD":
                self._build(self._pop())
            case _:
                raise RefusedError(f"it has the instruction {opcode}, which torch.save does not write")

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _top(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError("the pickle takes more values than there are")
        return self._stack[-1]

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise ValueError("the pickle takes more values than there are")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _extend(self, items: list[Any]) -> None:
        require(type(self._top()) is list, "appends to something that is no list")
        self._top().extend(items)

    def _set_items(self, items: list[Any]) -> None:
        require(type(self._top()) is dict, "sets items of something that is no dictionary")
        if len(items) % 2:
            raise ValueError("the pickle has a key without a value")
        self._top().update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _push_name(self, module: Any, name: Any) -> None:
        require(type(module) is str and type(name) is str, "has a name that is no text")
        found = Name(module, name)
        package = module.partition(".")[0]
        # No network's class is defined in Python itself, so that nothing from there can be the class of a module.
        is_python = package in sys.stdlib_module_names or package == "__builtin__"
        require(found.path in CALLS or not is_python, f"names {found}")
        self._names.add(found)
        self._stack.append(found)

    def _refer(self, reference: Any) -> Name | Storage:
        """A storage, or a class that the legacy format wraps together with its source text, which is not looked at."""
        require(type(reference) is tuple and len(reference) > 0, "refers to something outside of it")
        if reference[0] == "module" and len(reference) == 4 and type(reference[1]) is Name:
            return reference[1]
        require(reference[0] == "storage" and len(reference) in (5, 6), "refers to something that is no storage")
        _, kind, key, _, numel, *view = reference
        require(type(kind) is Name and is_storage(kind), "has a storage of an unknown type")
        require(type(key) is str and is_size(numel) and view in ([], [None]), "has a storage of an unknown form")
        storage = Storage(*DTYPES[kind.name], key, numel)
        require(self.storages.setdefault(key, storage) == storage, "reads one storage in two ways")
        return storage

    def _make(self, arguments: Any, target: Any) -> None:
        require(type(target) is Name and target.path not in CALLS, "makes an object of something that is no module")
        require(arguments == (), f"makes an object of {target} with arguments, as modules are not made")
        self._built.add(target)
        self._modules.append(Module())
        self._stack.append(self._modules[-1])

    def _build(self, state: Any) -> None:
        target = self._top()
        if type(target) is dict and type(state) is dict:
            return  # attributes of a state dict: versions of the modules' layouts
        require(isinstance(target, Module) and target.state is None, "sets attributes of something that is no module")
        is_module = type(state) is dict and all(type(state.get(part)) is dict for part in MODULE_PARTS)
        require(is_module, "builds an object as modules are not built")
        target.state = state


class _Limited:
    """A stream that ends the reading after the bytes that a pickle may have, whatever lengths the pickle claims."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._left = MOST_PICKLE_BYTES

    def read(self, length: int) -> bytes:
        return self._count(self._stream.read(min(length, self._left + 1)))

    def readline(self) -> bytes:
        return self._count(self._stream.readline(self._left + 1))

    def _count(self, data: bytes) -> bytes:
        self._left -= len(data)
        require(self._left >= 0, f"is a pickle of more than {MOST_PICKLE_BYTES} bytes")
        return data


def _key(value: Any) -> str | int:
    """A dictionary's key or a set's element: text or a small number, whose hashes nobody can make costly."""
    if type(value) is str or (type(value) is int and abs(value) < 1 << 31):
        return value
    raise RefusedError("it has a key that is neither text nor a number")
