"""Values as JSON and tensors, and back.

By value go numbers, texts, tensors, arrays, containers of them, generators of random numbers, and
of the package: its modules of PyTorch, its frozen dataclasses, enumerations, classes and functions.
All else is lent: the other side gets a number, and a stand-in that asks (`peer.py`).

What can be written into is counted in the order in which it is met, on both sides alike. So an
answer that writes into what it was given writes into the original: after each call its new contents
are sent back (`Snapshot`).
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from decodeloop.course.grade.inside.exceptions import known_error, names_of_bases, text_of

PLAIN = (bool, str, type(None))
CONTAINERS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
SECRET = ("decodeloop.exercises", "decodeloop.course", "decodeloop.commands")
DEEPEST = 40


class Unreadable(Exception):
    """A value that is none of those that travel."""


def torch_loaded() -> Any:
    """PyTorch, if this process has it already; importing it takes seconds."""
    return sys.modules.get("torch")


def known(kind: Any) -> bool:
    """Whether both sides have a class or function of this module."""
    module = str(getattr(kind, "__module__", None))
    ours = module.startswith("decodeloop.") and not module.startswith(SECRET)
    return (ours or module.startswith("torch.nn.")) and "<" not in getattr(
        kind, "__qualname__", "<"
    )


class Writer:
    """One message being written. `lend` gives the description of what does not go by value.

    Of the package go classes and functions by their names; from inside a sandbox classes alone,
    since a function would be called on the other side.
    """

    by_name: Any = (type, FunctionType)

    def __init__(self, lend: Callable[[Any], dict[str, Any]], mutables: list[Any] | None = None):
        self.lend, self.tensors = lend, dict[str, Any]()
        self.mutables: list[Any] = list(mutables or ())
        self.places = {id(x): place for place, x in enumerate(self.mutables)}

    def write(self, x: Any, depth: int = 0) -> Any:
        if depth > DEEPEST:
            raise Unreadable(f"a value nested more than {DEEPEST} deep")
        if type(x) in PLAIN:
            return x
        if type(x) is int:
            return x if abs(x) < 2**53 else {"int": hex(x)}
        if type(x) is float:
            return {"float": x.hex()}
        if id(x) in self.places:
            return {"again": self.places[id(x)]}
        for name, kind in CONTAINERS.items():
            if type(x) is kind:
                if kind in (list, set):
                    self.note(x)
                return {name: [self.write(y, depth + 1) for y in x]}
        if type(x) is dict:
            self.note(x)
            pairs = [[self.write(k, depth + 1), self.write(v, depth + 1)] for k, v in x.items()]
            return {"dict": pairs}
        return self.write_other(x, depth)

    def note(self, x: Any) -> None:
        self.places[id(x)] = len(self.mutables)
        self.mutables.append(x)

    def write_other(self, x: Any, depth: int) -> Any:
        torch, numpy = torch_loaded(), sys.modules.get("numpy")
        if numpy is not None and type(x) is numpy.ndarray and x.dtype.kind in "biuf":
            self.note(x)
            return {"array": self.store(numpy_tensor(x))}
        if numpy is not None and isinstance(x, numpy.generic) and type(x).__module__ == "numpy":
            return {"scalar": x.dtype.name, "value": self.write(x.item(), depth + 1)}
        if numpy is not None and isinstance(x, numpy.dtype) and x.kind in "biuf":
            return {"array type": x.name}
        if torch is not None and isinstance(x, torch.Tensor):
            self.note(x)
            kind = "parameter" if isinstance(x, torch.nn.Parameter) else "tensor"
            return {kind: self.store(x), "grad": bool(x.requires_grad)}
        if torch is not None and isinstance(x, torch.nn.Module) and known(type(x)):
            self.note(x)
            return {"module": name_of(type(x)), "state": self.write(module_state(x), depth + 1)}
        if is_frozen(x) and known(type(x)):
            fields = {f.name: getattr(x, f.name) for f in dataclasses.fields(x)}
            return {"data": name_of(type(x)), "state": self.write(fields, depth + 1)}
        if isinstance(x, enum.Enum) and known(type(x)):
            return {"enum": name_of(type(x)), "name": x.name}
        if isinstance(x, self.by_name) and known(x):
            return {"name": name_of(x)}
        return self.write_rare(x, depth, torch)

    def write_rare(self, x: Any, depth: int, torch: Any) -> Any:
        if type(x) is complex:
            return {"complex": [x.real.hex(), x.imag.hex()]}
        if type(x) is bytes:
            return {"bytes": x.hex()}
        if type(x) is range:
            return {"range": [x.start, x.stop, x.step]}
        if type(x) is slice:
            return {"slice": [self.write(y, depth + 1) for y in (x.start, x.stop, x.step)]}
        if x is Ellipsis:
            return {"ellipsis": 0}
        if isinstance(x, Exception):
            return {"exception": names_of_bases(x), "message": text_of(x)}
        if torch is not None:
            if isinstance(x, torch.Size):
                return {"tuple": list(x)}
            if type(x).__module__ == "torch.return_types":  # what topk gives, say
                return {"tuple": [self.write(y, depth + 1) for y in x]}
            if isinstance(x, torch.dtype):
                return {"dtype": str(x).removeprefix("torch.")}
            if isinstance(x, torch.device):
                return {"device": str(x)}
            if type(x) is torch.Generator:
                self.note(x)
                return {"generator": self.store(x.get_state())}
        return self.lend(x)

    def store(self, tensor: Any) -> str:
        """A tensor's own copy, in the message's tensors."""
        torch = torch_loaded()
        name = str(len(self.tensors))
        with torch.no_grad():
            whole = tensor.detach().cpu().as_subclass(torch.Tensor)
            if whole.is_quantized or whole.layout is not torch.strided:
                raise Unreadable("a tensor that is not dense")
            self.tensors[name] = whole.clone(memory_format=torch.contiguous_format)
        return name


class Reader:
    """One message being read. `borrow` makes a stand-in for what was lent, `find` finds classes."""

    def __init__(
        self,
        tensors: dict[str, Any],
        borrow: Callable[[dict[str, Any]], Any],
        find: Callable[[str], Any],
        mutables: list[Any] | None = None,
    ) -> None:
        self.tensors, self.borrow, self.find = tensors, borrow, find
        self.mutables: list[Any] = list(mutables or ())

    def note(self, x: Any) -> Any:
        self.mutables.append(x)
        return x

    def read(self, x: Any, depth: int = 0) -> Any:
        """The value.

        Raises:
            Unreadable: it is none.
        """
        if depth > DEEPEST:
            raise Unreadable("too deep")
        if type(x) in PLAIN or type(x) is int:
            return x
        if not isinstance(x, dict) or not x:
            raise Unreadable("no value")
        (kind, given), *_ = x.items()
        if kind == "again":
            return self.mutables[given]
        if kind == "list":
            made = self.note([])
            made.extend(self.read(y, depth + 1) for y in given)
            return made
        if kind == "set":
            made = self.note(set())
            made.update(self.read(y, depth + 1) for y in given)
            return made
        if kind == "dict":
            made = self.note({})
            for key, value in given:
                read_key = self.read(key, depth + 1)
                made[read_key] = self.read(value, depth + 1)
            return made
        if kind in CONTAINERS:
            return CONTAINERS[kind](self.read(y, depth + 1) for y in given)
        return self.read_other(kind, given, x, depth)

    def read_other(self, kind: str, given: Any, x: dict[str, Any], depth: int) -> Any:
        match kind:
            case "int":
                return int(given, 16)
            case "float":
                return float.fromhex(given)
            case "complex":
                return complex(*map(float.fromhex, given))
            case "bytes":
                return bytes.fromhex(given)
            case "range":
                return range(*given)
            case "slice":
                return slice(*(self.read(y, depth + 1) for y in given))
            case "ellipsis":
                return ...
            case "exception":
                return known_error(given)(str(x.get("message")))
            case "enum":
                return self.find(given)[x["name"]]
            case "name":
                return self.find(given)
            case "lent" | "yours":
                return self.borrow(x)
            case "data":
                return dataclass_of(self.find(given), self.read(x["state"], depth + 1))
        import torch

        match kind:
            case "tensor":
                return self.note(self.tensors[given].requires_grad_(x["grad"] is True))
            case "parameter":
                return self.note(torch.nn.Parameter(self.tensors[given], x["grad"] is True))
            case "array":
                return self.note(self.tensors[given].numpy())
            case "scalar":
                return numpy_type(given).type(self.read(x["value"], depth + 1))
            case "array type":
                return numpy_type(given)
            case "dtype" if isinstance(getattr(torch, given), torch.dtype):
                return getattr(torch, given)
            case "device":
                return torch.device(given)
            case "generator":
                return self.note(torch.Generator().set_state(self.tensors[given]))
            case "module":
                made = self.note(blank_module(self.find(given)))
                fill_module(made, self.read(x["state"], depth + 1))
                return made
        raise Unreadable(f"a value of the kind {kind!r}")


def is_frozen(x: Any) -> bool:
    """Whether it is a dataclass that does not change."""
    parameters = getattr(type(x), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen


def name_of(kind: Any) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def found(name: str) -> Any:
    """What a name of `name_of` stands for; its module is imported."""
    module, _, qualified = name.partition(":")
    thing: Any = importlib.import_module(module)
    for part in qualified.split("."):
        thing = getattr(thing, part)
    return thing


def numpy_tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array.copy())


def numpy_type(name: str) -> Any:
    import numpy

    if not name.isalnum() or numpy.dtype(name).kind not in "biuf":
        raise Unreadable("a type of numbers that is none")
    return numpy.dtype(name)


def dataclass_of(kind: Any, fields: Any) -> Any:
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise Unreadable("no dataclass")
    made = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(made, field.name, fields[field.name])
    return made


def module_state(module: Any) -> dict[str, Any]:
    """What makes a module of PyTorch, without hooks."""
    own = {k: v for k, v in vars(module).items() if not k.startswith("_")}
    parts = {part: dict(getattr(module, part)) for part in ("_parameters", "_buffers", "_modules")}
    return {"own": own, **parts}


def blank_module(kind: Any) -> Any:
    import torch

    if not (isinstance(kind, type) and issubclass(kind, torch.nn.Module)):
        raise Unreadable("no module")
    made = kind.__new__(kind)
    torch.nn.Module.__init__(made)
    return made


def fill_module(made: Any, state: Any) -> None:
    import torch

    kinds = {"_parameters": torch.nn.Parameter, "_buffers": torch.Tensor}
    for part, kind in {**kinds, "_modules": torch.nn.Module}.items():
        for name, value in state[part].items():
            if value is not None and not isinstance(value, kind):
                raise Unreadable("a part of a module that is none")
            getattr(made, part)[name] = value
    for name, value in state["own"].items():
        if not name.isidentifier() or name.startswith("_"):
            raise Unreadable("a part of a module that is none")
        if callable(getattr(type(made), name, None)):  # it would take the place of a method
            raise Unreadable(f"a module whose {name} is another")
        object.__setattr__(made, name, value)


__all__ = ["Reader", "Unreadable", "Writer", "found", "known", "name_of"]
