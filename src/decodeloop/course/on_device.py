"""Is a right answer right on the GPU, too, where the model lies? The cases of a check are on the
CPU, where a tensor that was made without ``device=`` meets nothing foreign.

So each case is run once more with a border around the answer: whatever crosses it towards the
answer is moved to the GPU (tensors, models, caches, what lent functions give back), and whatever
comes back is moved home. Values were judged before; here an answer fails if PyTorch refuses it, or
if it leaves on the CPU what the library leaves on the GPU. A case on which the library itself fails
behind the border says nothing.

Only parts are judged so, since a model speaks through them where it lies. Of other exercises a
notebook may well ask for the CPU alone.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import types
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from decodeloop.course.judge import Verdict, judge
from decodeloop.course.surroundings import undisturbed
from decodeloop.course.timelimit import TimedOut, limited
from decodeloop.course.trying import FirstCharacters, describe_error, outcome
from decodeloop.devices import pick_device
from decodeloop.errors import DeviceError
from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake

CPU = torch.device("cpu")
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)
LOOPS = ("generate_without_cache", "decoding_loop", "beam_search")  # get ids that lie on the CPU
HINTS = {  # by what PyTorch's message has in it
    "generator": "On a GPU it fails: the generator is on the CPU, and what it draws from is on the "
    "GPU. Bring that to the CPU first, by `.cpu()`; then a seed means the same everywhere.",
    "numpy": "On a GPU it fails: NumPy reads the memory of the CPU alone. Stay with PyTorch.",
    "not implemented for": "On a GPU it fails: there this operation does not exist for numbers of "
    "that type. Take floats, or sum a product by hand.",
    "float64": "On an Apple GPU it fails, which knows no float64: compute in float32.",
    "": "On a GPU it fails: it makes a tensor on the CPU, and those that it is given are on the "
    "GPU. Make it where they are: `device=x.device` in `torch.arange`, `zeros`, `tensor`, …, or "
    "`.to(x.device)` afterwards. On a CPU that changes nothing.",
}


def judge_here(candidate: Candidate, exercise: Exercise) -> Verdict:
    """The verdict on the CPU; on a part, where the course computes on a GPU, on that as well."""
    verdict = judge(candidate, exercise)
    if verdict.state != "right" or not exercise.part:
        return verdict
    device = where_models_lie()
    if device.type == "cpu":
        return verdict
    found = failure_on(device, candidate, exercise)
    if found is None:
        return verdict
    case, what, hint = found
    return replace(
        verdict,
        state="wrong",
        failed=(f"{case.label}, on the GPU",),
        what=what,
        mistake=Mistake("not on the GPU", hint, candidate),
        inputs=None if case.inputs is None else Border(device).out(case.inputs),
    )


def where_models_lie() -> torch.device:
    try:
        return pick_device()
    except DeviceError:  # who loads a model is told
        return CPU


def failure_on(
    device: torch.device, candidate: Candidate, exercise: Exercise
) -> tuple[Case, str, str] | None:
    """The first case on which a right answer fails on a device, what came of it, and a hint."""
    found: list[tuple[Case, str, str]] = []

    def try_all() -> None:
        for case in exercise.cases:
            failed = failure(device, candidate, exercise, case)
            if failed is not None:
                found.append((case, *failed))
                return

    silent = contextlib.redirect_stdout(FirstCharacters())
    with contextlib.suppress(TimedOut), silent, undisturbed():
        limited(try_all, exercise.seconds)
    return found[0] if found else None


def failure(
    device: torch.device, candidate: Candidate, exercise: Exercise, case: Case
) -> tuple[str, str] | None:
    """What came of a case on a device, and a hint; None if nothing can be said against it."""
    mine, theirs = (Border(device, exercise.name in LOOPS) for _ in range(2))
    error = outcome(mine.around(candidate), case).error
    if error is None and "cpu" not in mine.came_from:
        return None
    if outcome(theirs.around(exercise.library), case).error is not None:
        return None
    if error is None:
        if theirs.came_from != {device.type}:
            return None
        return "its result is on the CPU, its inputs are on the GPU", HINTS[""]
    text = str(error).lower()
    if device.type not in text and "device" not in text:
        return None
    hint = next(hint for word, hint in HINTS.items() if word in text)
    return describe_error(error, candidate), hint


class Border:
    """Between a case, whose tensors are on the CPU, and an answer, which is given others."""

    def __init__(self, device: torch.device, ids_stay: bool = False) -> None:
        self.device = device
        self.ids_stay = ids_stay
        self.came_from: set[str] = set()  # where the answer left what it computed
        self.moved: dict[int, tuple[Any, Any]] = {}  # by the identity of either: home, abroad

    def around(self, candidate: Candidate) -> Candidate:
        """The answer, to be called from home. What takes a `device` is given it."""

        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = self.out(args), self.out(kwargs)
            signature = inspect.signature(candidate)
            if "device" in signature.parameters:
                bound = signature.bind_partial(*args, **kwargs)
                if bound.arguments.get("device") is None:
                    bound.arguments["device"] = self.device
                args, kwargs = bound.args, bound.kwargs
            return self.back(candidate(*args, **kwargs))

        return call

    def out(self, x: Any) -> Any:
        """What the answer gets in the place of `x`."""
        if isinstance(x, Tensor):
            stays = self.ids_stay and not x.is_floating_point()
            return x.detach() if stays else x.detach().to(self.device)
        if isinstance(x, torch.device):
            return self.device
        if isinstance(x, Abroad):
            return x._inner
        if type(x) in (list, tuple, dict):
            return each(self.out, x)
        if isinstance(x, FUNCTIONS):
            return lambda *args, **kwargs: self.out(x(*self.back(args), **self.back(kwargs)))
        if not has_state(x):
            return x
        if id(x) not in self.moved:
            self.remember(x, self.copied(x))
        return self.moved[id(x)][1]

    def back(self, x: Any) -> Any:
        """What home gets in the place of `x`."""
        if isinstance(x, Tensor):
            if x.is_floating_point() and x.ndim:  # a number may lie anywhere, and so may ids
                self.came_from.add(x.device.type)
            return x.detach().cpu()
        if isinstance(x, torch.device):
            return CPU
        if type(x) in (list, tuple, dict):
            return each(self.back, x)
        if isinstance(x, Generator):
            return self.item_by_item(x)
        if isinstance(x, FUNCTIONS):
            return lambda *args, **kwargs: self.back(x(*self.out(args), **self.out(kwargs)))
        if id(x) in self.moved:
            return self.moved[id(x)][0]
        return Abroad(x, self) if has_state(x) else x

    def item_by_item(self, items: Generator[Any, Any, Any]) -> Generator[Any, None, Any]:
        while True:
            try:
                item = next(items)
            except StopIteration as end:
                return self.back(end.value)
            yield self.back(item)

    def copied(self, x: Any) -> Any:
        """A copy of an object whose tensors are on the device."""
        if isinstance(x, nn.Module):
            return copy.deepcopy(x).to(self.device)
        twin = copy.copy(x)
        self.remember(x, twin)  # before its attributes: one of them may lead back to it
        vars(twin).update(each(self.out, vars(x)))
        return twin

    def remember(self, home: Any, abroad: Any) -> None:
        self.moved[id(home)] = self.moved[id(abroad)] = (home, abroad)


class Abroad:
    """An object of the answer's, a cache say, as home sees it."""

    def __init__(self, inner: Any, border: Border) -> None:
        self.__dict__.update(_inner=inner, _border=border)

    def __getattr__(self, name: str) -> Any:
        if name in ("_inner", "_border"):  # a copy that is being made has none yet
            raise AttributeError(name)
        return self._border.back(getattr(self._inner, name))

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, self._border.out(value))


def has_state(x: Any) -> bool:
    """Whether it is an object with attributes, which may hold tensors."""
    return hasattr(x, "__dict__") and not isinstance(x, type | types.ModuleType | BaseException)


def each(move: Callable[[Any], Any], x: Any) -> Any:
    """A list, tuple or dict of what was moved."""
    if isinstance(x, dict):
        return {key: move(value) for key, value in x.items()}
    return type(x)(move(value) for value in x)


__all__ = ["judge_here"]
