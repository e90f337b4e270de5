"""An answer in a sandbox as if it were a function here: the cases of its exercise call it.

So every case is driven from this side, whatever it does, and what is expected never leaves it:

- a plain call (`call`) sends the inputs and gets the output;
- a trace of a class (lessons 06, 08, 15, 18: caches, streams) makes the object over there and calls
  its methods one by one;
- a walk of a decoder (lessons 05, 06, 08) lends a model: those of the package are copied, those
  that count or remember, which the exercises define, stay here, and each call of them comes back;
- a loop that gives its tokens one by one is asked for each.

What an answer may ask of this side is little: to call what it was lent, the public attributes of
objects that exercises define, and the package's sources without what its exercise asks for.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import sys
from collections.abc import Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType
from typing import Any

import torch

from decodeloop.course.grade.inside.peer import Peer
from decodeloop.course.grade.inside.stand_ins import SPECIAL, number_of
from decodeloop.course.grade.inside.values import SECRET, Unreadable, found, known
from decodeloop.course.grade.sandbox import Sandbox
from decodeloop.course.grade.sent import source_of
from decodeloop.course.grade.sources import source_for
from decodeloop.exercises.exercise import Candidate, Exercise
from decodeloop.model import ContiguousKVCache, NoCache

FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType, functools.partial)
LENT = (*FUNCTIONS, GeneratorType)
OWN = "the exercise asks for yours"
MOST_LENT = 200_000  # things, in one exercise


class Driver(Peer):
    """This side of the pipe to an answer, for one task: reading, or one exercise."""

    def __init__(self, sandbox: Sandbox, seconds: float, exercise: Exercise | None = None) -> None:
        super().__init__(sandbox.pipe)
        self.sandbox, self.exercise = sandbox, exercise
        self.pipe.patience = seconds
        self.pipe.send({"do": "start"})
        if exercise is not None:
            self.handlers = {"source": self.source}

    def end(self) -> None:
        """Tell that nothing more comes, and wait until the other side has cleared up."""
        self.pipe.send({"do": "end"})
        self.sandbox.await_cleared()

    def read(self, cells: Sequence[str], names: Sequence[str], elsewhere: Sequence[str]) -> Any:
        """What the cells have for each exercise: see `inside/reading.py`."""
        return self.ask("read", args=(list(cells), list(names), list(elsewhere)))

    def define(self, source: str, links: Mapping[str, Any]) -> Any:
        """The answer, to be called from here."""
        assert self.exercise is not None
        answer = self.ask("define", args=(self.exercise.name, source, dict(links)))
        if number_of(answer) is None:
            raise ImportError(f"{self.exercise.name} is the library's own: {OWN}")
        if isinstance(answer, FunctionType | type):
            answer.send_beside = self.send_beside  # type: ignore[union-attr]
        return answer

    def send_beside(self, run: Candidate) -> Candidate:
        """What looks on while the answer computes, over there."""
        return self.ask("beside", args=(run.__name__, source_of(run)))

    def seed(self) -> None:
        """The same draws over there for each case, as here."""
        self.ask("seed")

    def source(self, name: str) -> dict[str, Any] | None:
        assert self.exercise is not None
        return source_for(str(name), self.exercise)

    def find(self, name: str) -> Any:
        """Classes of values, which are imported here already: no name from there is imported, and
        no function is had by its name, since it would be called here, with what they choose."""
        module = name.partition(":")[0] if isinstance(name, str) else ""
        if module not in sys.modules:
            raise Unreadable(f"a value of {name!r}")
        thing = found(name)
        if not is_value_class(thing) or not known(thing):
            raise Unreadable(f"a value of {name!r}")
        if self.exercise is not None and thing is inspect.unwrap(self.exercise.library):
            raise Unreadable(f"{name} is the library's own function: {OWN}")
        return thing

    def allows(self, what: str, thing: Any, name: str) -> bool:
        if what == "call":
            return isinstance(thing, FUNCTIONS) or callable(thing)
        if what == "special":
            return name in SPECIAL
        if isinstance(thing, (*LENT, type)):
            return False
        return what == "get" and not name.startswith("_")

    def lend(self, x: Any) -> dict[str, Any]:
        """Functions, iterators and objects of classes that the course defines, and no others."""
        if len(self.lent) > MOST_LENT:
            raise Unreadable(f"more than {MOST_LENT:,} things were asked for")
        module = str(type(x).__module__)
        ours = isinstance(x, LENT) or module.startswith(("decodeloop.", *SECRET))
        iterator = module == "builtins" and hasattr(x, "__next__")
        if not (ours or iterator or number_of(x) is not None):
            raise Unreadable(f"a {type(x).__name__} can't be lent")
        return super().lend(x)


def is_value_class(thing: Any) -> bool:
    """Whether its objects are values: a dataclass, an enumeration, a module of PyTorch, or a cache,
    of which a decoder says that it makes one."""
    kinds = (enum.Enum, torch.nn.Module, ContiguousKVCache, NoCache)
    return isinstance(thing, type) and (dataclasses.is_dataclass(thing) or issubclass(thing, kinds))


__all__ = ["Driver"]
