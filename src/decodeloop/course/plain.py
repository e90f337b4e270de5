"""What an answer gave, copied to values that can be compared and shown without running its code.

An answer may return anything: a tensor without numbers, a list that holds itself, an object whose
`__eq__` never ends. What is compared are plain copies: tensors on the CPU, numbers, strings, and
lists, tuples and dicts of them. Whatever else there is becomes `Odd`, which equals nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from decodeloop.exercises.lending import has_memory

MOST_NUMBERS = 2**26  # in one tensor
MOST_ITEMS = 200_000  # in all lists and dicts together
MOST_DEEP = 25  # lists in lists
MOST_CHARACTERS = 2**24

# taken now: an answer may put something else in their places
detach, to_cpu, cloned, to = Tensor.detach, Tensor.cpu, torch.clone, Tensor.to
name_of = type.__dict__["__name__"].__get__


@dataclass(frozen=True, eq=False)
class Odd:
    """Something that no exercise asks for, in a few words."""

    text: str


class TooMuch(Exception):
    """A value of so many items, or so deep, that it is not copied."""


def plain(value: Any) -> Any:
    """A copy to known types; an `Odd` of what can't be one.

    It may run code of the value's own (a subclass of Tensor's, a `__repr__`), so whatever comes
    from an answer is copied where the answer is guarded, and never afterwards.
    """
    try:
        return Copying().copied(value, 0)
    except TooMuch as error:
        return Odd(f"a {name_of(type(value))} {error}")


class Copying:
    """One copy being made: the items are counted over all of it."""

    def __init__(self) -> None:
        self.items = 0

    def copied(self, value: Any, depth: int) -> Any:
        self.items += 1
        if self.items > MOST_ITEMS:
            raise TooMuch(f"of more than {MOST_ITEMS:,} items")
        if depth > MOST_DEEP:
            raise TooMuch(f"nested more than {MOST_DEEP} deep")
        if value is None or type(value) in (bool, int, float, complex, Odd):
            return value
        if isinstance(value, str):
            if str.__len__(value) > MOST_CHARACTERS:
                raise TooMuch(f"of more than {MOST_CHARACTERS:,} characters")
            return str.__getnewargs__(value)[0]  # of subclasses the value alone counts
        if isinstance(value, Tensor):
            return plain_tensor(value)
        if isinstance(value, np.ndarray | np.generic):
            return plain_numpy(value)
        for number in NUMBERS:
            if isinstance(value, number):
                return number(*number.__getnewargs__(value))
        if type(value) in (Fraction, Decimal):
            return float(value)
        if isinstance(value, dict):
            pairs = list(dict.items(value))
            return {self.copied(k, depth + 1): self.copied(v, depth + 1) for k, v in pairs}
        for kind, made in SEQUENCES.items():
            if isinstance(value, kind):
                items: Iterable[Any] = kind.__iter__(value)
                return made([self.copied(item, depth + 1) for item in items])
        return Odd(shown(value))


NUMBERS: tuple[Any, ...] = (int, float, complex)
SEQUENCES: dict[Any, type] = {list: list, tuple: tuple, deque: list, range: list}


def shown(value: Any) -> str:
    """The beginning of what an object says of itself."""
    name = name_of(type(value))
    try:
        text = repr(value)
        return f"{name} {shortened(text)}" if isinstance(text, str) else name
    except Exception:  # what is in a `__repr__` of theirs may fail in any way
        return f"a {name} that can't be shown"


def shortened(text: str, most: int = 60) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text[: 20 * most].split())
    return line if len(line) <= most and len(text) <= 20 * most else line[:most] + "…"


def said(error: BaseException) -> str:
    """What an exception says."""
    try:
        return str(error)
    except Exception:  # what is in a `__str__` of theirs may fail in any way
        return "a message that can't be shown"


def plain_numpy(value: Any) -> Any:
    """A NumPy scalar or array without axes is a number; an array stays one.

    Of 16 or 32 bits it is a tensor without axes, which tells how exact it can be.
    """
    if value.dtype.kind not in "biufc":
        return Odd(shown(value))
    if value.size > MOST_NUMBERS:
        return Odd(f"an array of shape {value.shape}, too large to be compared")
    if value.ndim == 0:
        if value.dtype.kind == "f" and value.itemsize < 8:
            return torch.from_numpy(np.array(value))
        number = np.asarray(value).item()
        return float(number) if isinstance(number, np.floating) else number  # a long double
    return np.array(value, subok=False)


def plain_tensor(value: Tensor) -> Any:
    """A tensor of its own memory on the CPU, without gradients."""
    with torch.no_grad(), torch._C.DisableTorchFunctionSubclass():
        try:
            found = detach(value)
            if (odd := no_numbers(found)) is not None:
                return Odd(odd)
            found = to_cpu(found)
            if type(found) is not Tensor:
                return Odd(f"a tensor of type {name_of(type(value))}, which holds no numbers")
            if found.is_floating_point() and found.itemsize == 1:  # can't even be compared
                found = to(found, torch.float32)
            return cloned(found, memory_format=torch.contiguous_format)
        except Exception as error:  # some kinds of tensor can do nothing but raise
            return Odd(f"a tensor that can't be read ({name_of(type(error))})")


def no_numbers(tensor: Tensor) -> str | None:
    """What a tensor is that has no numbers to be compared, or None."""
    if tensor.layout is not torch.strided:
        return f"a tensor of layout {tensor.layout}, where a dense one is expected"
    if tensor.is_nested:
        return "a nested tensor, where one of one shape is expected"
    shape = tuple(tensor.shape)
    if tensor.is_quantized:
        return f"a quantized tensor of shape {shape}, where numbers are expected"
    if tensor.device.type == "meta":
        return f"a tensor of shape {shape} on the device 'meta', where there are no numbers"
    if tensor.numel() > MOST_NUMBERS:
        return f"a tensor of shape {shape}, too large to be compared"
    if not has_memory(tensor):
        return f"a tensor of shape {shape} whose memory was given back"
    return None


__all__ = ["Odd", "plain", "said", "shortened"]
