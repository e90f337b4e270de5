"""What an answer leaves behind in the process, found and put back.

A default device, a working folder, a function of PyTorch that was replaced: whatever an answer
changes for itself it changes for the whole notebook, and for every check after it. `Surroundings`
notes it all before, puts back what differs after, and gives the names of it.
"""

from __future__ import annotations

import builtins
import contextlib
import decimal
import functools
import gc
import itertools
import locale
import logging
import math
import operator
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

DEEPEST = 5000  # calls inside calls: beyond some 10,000 the stack of the process itself may end


@dataclass(frozen=True)
class Setting:
    """Something that holds for the whole process: its name in a sentence, how it is read and set.

    `get` gives what can be compared by ``==``.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]


def default_device() -> Setting:
    """None stands for the CPU, as it does where nobody has chosen."""

    def put(device: torch.device) -> None:
        torch.set_default_device(None if device == torch.device("cpu") else device)

    return Setting("the default device", torch.get_default_device, put)


def modes_entered(kind: str) -> Setting:
    """The modes of PyTorch that are on, such as a device's, entered and never left."""
    count = getattr(torch._C, f"_len_torch_{kind}_stack")
    pop = getattr(torch._C, f"_pop_torch_{kind}_stack")

    def put(before: int) -> None:
        while count() > before:
            pop()

    return Setting("a mode of PyTorch", count, put)


def handlers() -> dict[int, Any]:
    """All but the bell's: the time limit sets that one, and puts it back itself."""
    numbers = signal.valid_signals() - {getattr(signal, "SIGALRM", None)}
    return {number: signal.getsignal(number) for number in numbers}


def put_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def put_environment(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


def put_collection(before: tuple[bool, Any]) -> None:
    gc.enable() if before[0] else gc.disable()
    gc.set_threshold(*before[1])


def put_logging(before: tuple[int, int]) -> None:
    logging.root.setLevel(before[0])
    logging.disable(before[1])


def deterministic() -> tuple[bool, bool]:
    on = torch.are_deterministic_algorithms_enabled()
    return on, torch.is_deterministic_algorithms_warn_only_enabled()


def of_list(name: str, home: Any, attribute: str) -> Setting:
    """A list that others hold, too: its items are set."""

    def put(before: list[Any]) -> None:
        getattr(home, attribute)[:] = before

    return Setting(name, lambda: list(getattr(home, attribute)), put)


def of_attribute(name: str, home: Any, attribute: str) -> Setting:
    return Setting(
        name,
        functools.partial(getattr, home, attribute),
        functools.partial(setattr, home, attribute),
    )


SETTINGS = (
    default_device(),
    modes_entered("dispatch"),
    modes_entered("function"),
    Setting("the default type", torch.get_default_dtype, torch.set_default_dtype),
    Setting("whether gradients are kept", torch.is_grad_enabled, torch._C._set_grad_enabled),
    Setting("the number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "the deterministic algorithms",
        deterministic,
        lambda x: torch.use_deterministic_algorithms(x[0], warn_only=x[1]),
    ),
    Setting(
        "the precision of products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    Setting(
        "autocast",
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
    ),
    Setting(
        "the detection of anomalies",
        torch.is_anomaly_enabled,
        torch.autograd.set_detect_anomaly,
    ),
    Setting(
        "how tensors are printed",
        lambda: dict(vars(torch._tensor_str.PRINT_OPTS)),
        lambda x: vars(torch._tensor_str.PRINT_OPTS).update(x),
    ),
    Setting("how arrays are printed", np.get_printoptions, lambda x: np.set_printoptions(**x)),
    Setting("NumPy's warnings", np.geterr, lambda x: np.seterr(**x)),
    Setting("the working folder", os.getcwd, os.chdir),
    Setting("the environment", lambda: dict(os.environ), put_environment),
    Setting("the signal handlers", handlers, put_handlers),
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("the switch interval", sys.getswitchinterval, sys.setswitchinterval),
    Setting("the longest whole number", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    Setting("the trace function", sys.gettrace, sys.settrace),
    Setting("the profile function", sys.getprofile, sys.setprofile),
    of_list("sys.path", sys, "path"),
    of_list("the filters of warnings", warnings, "filters"),
    *(of_attribute(f"sys.{name}", sys, name) for name in ("stdin", "stderr", "stdout")),
    Setting("the garbage collection", lambda: (gc.isenabled(), gc.get_threshold()), put_collection),
    Setting("logging", lambda: (logging.root.level, logging.root.manager.disable), put_logging),
    Setting(
        "the decimal precision",
        lambda: decimal.getcontext().prec,
        lambda prec: setattr(decimal.getcontext(), "prec", prec),
    ),
    Setting(
        "the locale",
        lambda: locale.setlocale(locale.LC_ALL),
        lambda x: locale.setlocale(locale.LC_ALL, x),
    ),
)
DRAWS = (  # not said: that an answer draws is no bad manners
    Setting("", random.getstate, random.setstate),
    Setting("", lambda: np.random.get_state(legacy=False), np.random.set_state),
)
HOMES: tuple[Any, ...] = (math, operator, itertools, functools, random, time, os, signal, sys)
HOMES += (warnings, torch, torch.Tensor, torch.nn.functional, torch.nn.Module, torch.linalg)
HOMES += (np, np.linalg)
BUILTINS = vars(builtins)


class Surroundings:
    """The state of the process at one moment."""

    def __init__(self) -> None:
        self.builtins = dict(BUILTINS)
        self.homes = [(home, vars(home), dict(vars(home))) for home in (*HOMES, *ours())]
        self.modules = dict(sys.modules)
        self.settings = [(setting, setting.get()) for setting in SETTINGS]
        self.draws = [(setting, setting.get()) for setting in DRAWS]

    def put_back(self) -> list[str]:
        """Put everything back that differs; the names of it.

        What was given a new name is left: modules are imported, and import more.
        """
        changed = []
        for name, function in self.builtins.items():  # by nothing that could be one of them
            if BUILTINS.get(name) is not function:
                BUILTINS[name] = function
                changed.append(name)
        for name, module in self.modules.items():
            if sys.modules.get(name) is not module:
                sys.modules[name] = module
                changed.append(f"the module {name}")
        for setting, then in self.settings:
            if differs(setting, then):
                changed.append(setting.name)
                with contextlib.suppress(Exception):  # the folder of before may be gone, too
                    setting.put(then)
        for home, now, before in self.homes:
            if not all(map(operator.is_, map(now.get, before), before.values())):
                changed += put_back_names(home, now, before)
            if len(now) > len(before) and isinstance(home, type):
                changed += remove_names(home, set(now) - set(before))
        for setting, then in self.draws:
            setting.put(then)
        return changed


def put_back_names(home: Any, now: Mapping[str, Any], before: dict[str, Any]) -> Iterator[str]:
    """Functions and constants; what else a module keeps is its own business."""
    for name, value in before.items():
        ours = isinstance(value, float | ModuleType) or callable(value)
        settled = isinstance(home, type) or (ours and not name.startswith("_"))
        if settled and now.get(name) is not value:
            setattr(home, name, value)
            yield f"{home.__name__}.{name}"


def remove_names(home: type, names: set[str]) -> Iterator[str]:
    """What stands before a method that is inherited."""
    for name in names:
        if any(name in vars(base) for base in home.__mro__[1:]):
            delattr(home, name)
            yield f"{home.__name__}.{name}"


def differs(setting: Setting, before: Any) -> bool:
    try:
        return bool(setting.get() != before)
    except OSError:  # the working folder may be gone
        return True


def ours() -> Iterator[Any]:
    """The modules of this package, and their classes."""
    for name, module in list(sys.modules.items()):
        if name.startswith("decodeloop.") and isinstance(module, ModuleType):
            yield module
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__ == name:
                    yield value


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Whatever stands in a file of the learner's changes nothing for those after it."""
    before = Surroundings()
    try:
        yield
    finally:
        before.put_back()


@contextlib.contextmanager
def shallow() -> Iterator[None]:
    """Calls inside calls end with Python's own error before the stack of the process does."""
    before, real = sys.getrecursionlimit(), sys.setrecursionlimit

    def at_most(limit: int) -> None:
        real(min(limit, DEEPEST))

    real(min(before, DEEPEST))
    sys.setrecursionlimit = at_most
    try:
        yield
    finally:
        sys.setrecursionlimit = real
        real(before)


__all__ = ["Surroundings", "shallow", "undisturbed"]
