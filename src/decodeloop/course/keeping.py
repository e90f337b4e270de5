"""What the cases of an exercise keep between two checks, put back where an answer wrote into it.

A case lends copies where it can. But it also holds what can't be copied for each call, such as a
model that counts how often it is asked, and an answer may reach into that. So everything that the
cases hold is copied before an answer is tried, and compared afterwards.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from decodeloop.exercises.lending import copied, unchanged

OURS = "decodeloop.exercises."  # what such functions use of their module is looked at, too
SETTLED = (type, ModuleType, str, bytes, int, float, complex, torch.dtype, torch.device)


class Kept:
    """The numbers, containers and attributes that can be reached from some roots, as they are."""

    def __init__(self, roots: Iterable[Any]) -> None:
        self.numbers: list[tuple[Any, Any]] = []
        self.containers: list[tuple[Any, Any]] = []
        self.attributes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        waiting, seen = list(roots), dict[int, Any]()
        while waiting:
            thing = waiting.pop()
            if id(thing) in seen or thing is None or isinstance(thing, SETTLED):
                continue
            seen[id(thing)] = thing  # kept alive, so that no other gets its id
            waiting += self.held_by(thing)

    def held_by(self, thing: Any) -> Iterable[Any]:
        """Take note of one thing, and give what it holds."""
        if isinstance(thing, Tensor | np.ndarray):
            self.numbers.append((thing, copied(thing)))
            return ()
        if isinstance(thing, list | dict | set):
            self.containers.append((thing, thing.copy()))
            return [*thing.keys(), *thing.values()] if isinstance(thing, dict) else thing
        if isinstance(thing, tuple | frozenset):
            return thing
        if isinstance(thing, FunctionType):
            return held_by_function(thing)
        if isinstance(thing, MethodType):
            return (thing.__self__, thing.__func__)
        if isinstance(thing, functools.partial):
            return (thing.func, thing.args, thing.keywords)
        if isinstance(thing, functools._lru_cache_wrapper):
            return [thing.__wrapped__, *remembered(thing)]
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict):
            self.attributes.append((attributes, attributes.copy()))
            return attributes.values()
        return ()

    def put_back(self) -> bool:
        """Put everything back as it was; whether tensors or arrays were among what had changed.

        Lists and attributes may change by what a case itself counts.
        """
        wrote = False
        for attributes, before in self.attributes:
            if any(attributes.get(name, self) is not value for name, value in before.items()):
                attributes.update(before)
        for container, before in self.containers:
            if not same_items(container, before):
                container.clear()
                container.extend(before) if isinstance(container, list) else container.update(
                    before
                )
        for numbers, before in self.numbers:
            if not unchanged(before, numbers):
                wrote = True
                overwrite(numbers, before)
        return wrote


def held_by_function(function: FunctionType) -> Iterator[Any]:
    """Its closure, its defaults, and what it uses of its module where that is ours."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not yet bound
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    if str(function.__module__).startswith(OURS):
        for name in names_in(function.__code__):
            yield function.__globals__.get(name)


def names_in(code: CodeType) -> Iterator[str]:
    """The names that code, and the code in it, looks up outside of itself."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def remembered(cached: Any) -> list[Any]:
    """The results that a `functools.cache` has kept."""
    return [x for held in gc.get_referents(cached) if type(held) is dict for x in held.values()]


def same_items(container: Any, before: Any) -> bool:
    """Whether a container holds the same things; they are not compared, since that runs code."""
    if len(container) != len(before):
        return False
    if isinstance(before, dict):
        return all(container.get(key, before) is value for key, value in before.items())
    if isinstance(before, list):
        return all(a is b for a, b in zip(container, before, strict=True))
    return {id(x) for x in container} == {id(x) for x in before}


def overwrite(numbers: Any, before: Any) -> None:
    """Give a tensor or an array its old numbers."""
    if isinstance(numbers, Tensor):
        with torch.no_grad():
            numbers.data = before.detach().clone()
    elif numbers.shape == before.shape:
        writeable, numbers.flags.writeable = numbers.flags.writeable, True
        numbers[...] = before
        numbers.flags.writeable = writeable


__all__ = ["Kept"]
