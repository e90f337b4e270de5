"""Hostile answers: whatever one does, `check` comes back with a sentence; and after it a right
answer is right, and a wrong one is wrong and met with its own hint.

    python tests/attacks/hostile_answers.py [--count N] [--seed S]

Each behaviour meets a few exercises, every exercise a few behaviours; each attack runs in a fork of
this process. Left out is what ends the process on purpose (`os._exit`, a signal, closed files), and
one call that keeps Python's lock for itself and never ends: nothing can be done about these.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import gc
import io
import itertools
import linecache
import math
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import UserDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from decodeloop.course import checking, judge, session
from decodeloop.course.progress import Progress
from decodeloop.errors import UserError
from decodeloop.exercises.exercise import Exercise
from decodeloop.exercises.finding import all_exercises

sys.path.insert(0, str(Path(__file__).parents[1]))
from attacking import Report, command_line, drawn, told_by_a_fork

GIBIBYTES = 4  # of memory that it may ask for, besides what it begins with
EACH = 6  # exercises that a behaviour meets
Behaviour = Callable[[Callable[[], Any], tuple[Any, ...]], Any]  # (the right result, arguments)


# values


def class_of(base: type = object, **members: Any) -> type:
    return type("Odd", (base,), members)


def forever(*_: Any, **__: Any) -> Any:
    while True:
        pass


def fails(*_: Any, **__: Any) -> Any:
    raise ValueError("no")


def deep(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


def holds_itself(made: Any) -> Any:
    made.update(a=made) if isinstance(made, dict) else made.append(made)
    return made


def doubled(levels: int) -> list[Any]:
    made: list[Any] = [0]
    for _ in range(levels):
        made = [made, made]
    return made


def freed() -> torch.Tensor:
    x = torch.ones(10_000)
    x.untyped_storage().resize_(0)
    return x


def fake() -> torch.Tensor:
    with FakeTensorMode():
        return torch.ones(2)


def escaped() -> torch.Tensor:
    """A tensor of `vmap` outside of it."""
    out: list[torch.Tensor] = []
    torch.vmap(lambda x: out.append(x) or x)(torch.ones(3, 2))
    return out[0]


def lying(answer: Callable[..., Any]) -> torch.Tensor:
    members = {"__torch_function__": classmethod(lambda *_, **__: answer())}
    return torch.ones(2).as_subclass(class_of(torch.Tensor, **members))


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "NotImplemented": lambda: NotImplemented,
    "equal to all": lambda: class_of(__eq__=lambda *_: True, __hash__=None)(),
    "__eq__ never ends": lambda: class_of(__eq__=forever, __hash__=None)(),
    "__repr__ never ends": lambda: class_of(__repr__=forever)(),
    "__repr__ raises": lambda: class_of(__repr__=fails)(),
    "__repr__ exits": lambda: class_of(__repr__=lambda _: sys.exit(1))(),
    "__repr__ of 10 MB": lambda: class_of(__repr__=lambda _: "y" * 10**7)(),
    "__len__ and __iter__ never end": lambda: class_of(__len__=forever, __iter__=forever)(),
    "__getattr__ raises": lambda: class_of(__getattr__=fails)(),
    "__class__ lies": lambda: class_of(__class__=torch.Tensor)(),
    "every attribute": MagicMock,
    "10^5000": lambda: 10**5000,
    "2^63": lambda: 2**63,
    "-2^63 - 1": lambda: -(2**63) - 1,
    "a complex number": lambda: 1 + 1j,
    "NaN": lambda: math.nan,
    "a decimal NaN": lambda: Decimal("sNaN"),
    "a huge fraction": lambda: Fraction(10**400, 3),
    "sparse": lambda: torch.ones(2, 2).to_sparse(),
    "sparse by rows": lambda: torch.ones(2, 2).to_sparse_csr(),
    "meta": lambda: torch.ones(2, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "jagged": lambda: torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged),
    "fake": fake,
    "escaped from vmap": escaped,
    "without memory": freed,
    "10^12 numbers": lambda: torch.ones(1).expand(10**12),
    "10^12 numbers of NumPy": lambda: np.broadcast_to(1.0, 10**12),
    "lies": lambda: lying(lambda: True),
    "lies for ever": lambda: lying(forever),
    "raises at all": lambda: lying(fails),
    "complex tensor": lambda: torch.ones(2) + 1j,
    "float8": lambda: torch.ones(2).to(torch.float8_e5m2),
    "inference": torch.inference_mode()(lambda: torch.ones(2)),
    "a hook": lambda: torch.ones(2, requires_grad=True).mul(2).register_hook(forever),
    "objects in an array": lambda: np.array([class_of(__repr__=forever)()], dtype=object),
    "a structured array": lambda: np.zeros(2, dtype=[("a", "f4")]),
    "a masked array": lambda: np.ma.masked_all(2),
    "a deep list": lambda: deep(100_000),
    "a list that holds itself": lambda: holds_itself([]),
    "a dict that holds itself": lambda: holds_itself({}),
    "2^30 items": lambda: doubled(30),
    "a long range": lambda: range(10**15),
    "a dict of odd keys": lambda: {class_of(__repr__=forever)(): 1, (): 2},
    "a dict that never ends": lambda: class_of(dict, items=forever, keys=forever)(a=1),
    "a list that never ends": lambda: class_of(list, __iter__=forever, __len__=forever)([1]),
    "a text equal to all": lambda: class_of(str, __eq__=lambda *_: True, __hash__=None)("a"),
    "a mapping": lambda: UserDict(a=1),
    "a text of 100 MB": lambda: "y" * 10**8,
    "bytes": lambda: b"\xff" * 10**6,
    "counts for ever": itertools.count,
    "a generator that raises": lambda: (1 / 0 for _ in range(2)),
    "a generator that waits": lambda: (time.sleep(60) for _ in range(2)),
    "a coroutine": lambda: asyncio.sleep(1),
    "a lock": threading.Lock,
    "a class": lambda: class_of,
}


def given_back(make: Callable[[], Any]) -> Behaviour:
    return lambda right, given: make()


# exceptions


def error(base: type[BaseException] = Exception, **members: Any) -> BaseException:
    return type("OddError", (base,), members)("text")


def chained(length: int) -> BaseException:
    first = ValueError("first")
    for number in range(length):
        then = ValueError(number)
        then.__cause__ = first
        first = then
    return first


ERRORS: dict[str, Callable[[], BaseException]] = {
    "own BaseException": lambda: error(BaseException),
    "a KeyboardInterrupt of its own": lambda: error(KeyboardInterrupt),
    "GeneratorExit": GeneratorExit,
    "SystemExit": lambda: SystemExit(0),
    "StopIteration": StopIteration,
    "cancelled": asyncio.CancelledError,
    "a group": lambda: BaseExceptionGroup("many", [KeyboardInterrupt(), ValueError()]),
    "10 MB of text": lambda: ValueError("y" * 10**7),
    "__str__ raises": lambda: error(__str__=fails),
    "__str__ never ends": lambda: error(__str__=forever),
    "__str__ gives no text": lambda: error(__str__=lambda _: 3),
    "__repr__ never ends": lambda: error(__repr__=forever),
    "a name of 10,000": lambda: type("E" * 10_000, (Exception,), {})(),
    "control characters": lambda: ValueError("\x1b[2J\x07\r\x00"),
    "a surrogate": lambda: ValueError("\ud800"),
    "100,000 causes": lambda: chained(100_000),
    "an assertion": AssertionError,
    "a missing import": lambda: ModuleNotFoundError("No module named 'x'", name="x"),
    "a library's": lambda: NotImplementedError("not implemented for 'Half'"),
    "a UserError": lambda: UserError("ours"),
}


def raised(make: Callable[[], BaseException]) -> Behaviour:
    def behave(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        raise make()

    return behave


# deeds: then it gives the right result


def replaced(home: Any, *names: str, by: Any = fails) -> Callable[[], None]:
    def act() -> None:
        for name in names:
            setattr(home, name, by)

    return act


def true(*_: Any, **__: Any) -> bool:
    return True


def thread() -> None:
    threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(50)], daemon=True).start()


DEEDS: dict[str, Callable[[], Any]] = {
    "default device": lambda: torch.set_default_device("meta"),
    "a mode entered": lambda: torch.device("meta").__enter__(),
    "a fake mode entered": lambda: FakeTensorMode().__enter__(),
    "default type": lambda: torch.set_default_dtype(torch.float16),
    "no gradients": lambda: torch.set_grad_enabled(False),
    "threads": lambda: torch.set_num_threads(1 + torch.get_num_threads()),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "seeds": lambda: (random.seed(1), np.random.seed(1), torch.manual_seed(1)),
    "NumPy raises": lambda: np.seterr(all="raise"),
    "warnings raise": lambda: warnings.simplefilter("error"),
    "another folder": lambda: os.chdir("/"),
    "a folder that is gone": lambda: (os.chdir(tempfile.mkdtemp()), os.rmdir(os.getcwd())),
    "no environment": lambda: os.environ.clear(),
    "no path": lambda: sys.path.clear(),
    "no modules": lambda: sys.modules.clear(),
    "torch is None": lambda: sys.modules.update(torch=None),
    "no collection": lambda: gc.disable(),
    "no lines": lambda: linecache.clearcache(),
    "a shallow stack": lambda: sys.setrecursionlimit(150),
    "a bottomless stack": lambda: sys.setrecursionlimit(10**9),
    "traces": lambda: sys.settrace(lambda *_: None),
    "profiles": lambda: sys.setprofile(lambda *_: None),
    "no interrupt": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "no stdout": lambda: setattr(sys, "stdout", None),
    "stdout closed": lambda: sys.stdout.close(),
    "stderr raises": lambda: setattr(sys, "stderr", class_of(write=fails)()),
    "prints": lambda: print("y" * 10**6, file=random.choice([sys.stdout, sys.stderr])),
    "prints control characters": lambda: print("\x1b[2J\x07\r"),
    "a thread": thread,
    "comparison": replaced(torch, "allclose", "isclose", "equal", "all", by=true),
    "tensors": replaced(torch.Tensor, "__eq__", "__repr__", "item", "detach", "cpu", "double"),
    "seeding": replaced(torch, "manual_seed", "get_rng_state", "set_rng_state"),
    "settings": replaced(torch, "get_default_dtype", "is_grad_enabled", "set_num_threads"),
    "functional": replaced(torch.nn.functional, "softmax", "linear", "embedding"),
    "modules": replaced(torch.nn.Module, "__call__", "parameters", "state_dict"),
    "mathematics": replaced(math, "sqrt", "isfinite", "exp"),
    "builtins": replaced(builtins, "isinstance", "len", "getattr", "print", "type", "zip", "all"),
    "exceptions": replaced(builtins, "Exception", "BaseException", "ValueError", by=None),
    "imports": replaced(builtins, "__import__", "open"),
    "time": replaced(time, "monotonic", "perf_counter", "time", "sleep", by=lambda *_: 0.0),
    "the judge": replaced(judge, "same", "outcome", "recognise", by=true),
    "the check": replaced(checking, "judge", "report", "keep", by=true),
}


def done(act: Callable[[], Any]) -> Behaviour:
    def behave(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        result = right()
        act()
        return result

    return behave


# what never ends, and what writes into what it is lent


def swallows(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(1)


def without_bell(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    forever()


def recursion(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
    return recursion(right, given)


def recursion_in_c(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
    sys.setrecursionlimit(10**9)
    return class_of(__add__=lambda self, other: self + other)() + 1


def memory(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
    return [bytearray(2**28) for _ in range(2**20)]


def asks(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
    return input("? ")


def scribbles(right: Callable[[], Any], given: tuple[Any, ...]) -> Any:
    result = right()
    for x in given:
        scribble(x)
    return result


def scribble(x: Any) -> None:
    """Write into everything that can be reached."""
    if isinstance(x, torch.nn.Module):
        x.half().train()
        x.register_forward_hook(fails)
        for name in list(vars(x)):
            setattr(x, name, {}) if name.startswith("_") else delattr(x, name)
    elif isinstance(x, torch.Tensor):
        x.data.zero_() if x.numel() % 2 else x.data.resize_(0)
    elif isinstance(x, np.ndarray):
        x.resize(0, refcheck=False)
    elif isinstance(x, list | dict | set):
        for item in list(x):
            scribble(item)
        x.clear()
    elif isinstance(x, tuple):
        for item in x:
            scribble(item)
    elif hasattr(x, "__dict__") and not callable(x):
        vars(x).clear()


OTHERS: dict[str, Behaviour] = {
    "never ends": lambda right, given: forever(),
    "sleeps": lambda right, given: time.sleep(3600),
    "swallows what would end it": swallows,
    "takes the bell away": without_bell,
    "recursion": recursion,
    "recursion in C, without a limit": recursion_in_c,
    "all memory": memory,
    "prints for ever": lambda right, given: [print("y" * 1000) for _ in itertools.count()],
    "asks": asks,
    "scribbles": scribbles,
    "gives a stub's error later": lambda right, given: (right(), fails())[0],
}


# attacks


@dataclass(frozen=True)
class Attack:
    """One behaviour in the place of one exercise's answer."""

    name: str
    exercise: Exercise
    behave: Behaviour
    harmless: bool  # the result is right, whatever else was done

    def answer(self) -> Any:
        """The function or class that behaves so."""
        library, behave = self.exercise.library, self.behave
        if not isinstance(library, type):

            def function(*given: Any, **options: Any) -> Any:
                return behave(lambda: library(*given, **options), (*given, *options.values()))

            function.__name__ = self.exercise.name
            return function
        members = {
            name: hostile_method(member, behave)
            for name, member in vars(library).items()
            if callable(member) and not name.startswith("_")
        }
        return type(self.exercise.name, (library,), members)


def hostile_method(member: Any, behave: Behaviour) -> Any:
    return lambda self, *given: behave(lambda: member(self, *given), given)


def attacks(seed: int) -> Iterator[Attack]:
    """Every behaviour with a few exercises, and every exercise with a few behaviours."""
    rng = random.Random(seed)
    exercises = [replace(e, seconds=1.0) for e in all_exercises().values()]
    behaviours: list[tuple[str, Behaviour, bool]] = [
        *((f"gives {n}", given_back(make), False) for n, make in VALUES.items()),
        *((f"raises {n}", raised(make), False) for n, make in ERRORS.items()),
        *((f"does: {n}", done(act), True) for n, act in DEEDS.items()),
        *((n, behave, behave is scribbles) for n, behave in OTHERS.items()),
    ]
    turn = itertools.cycle(rng.sample(exercises, len(exercises)))
    for name, behave, harmless in behaviours:
        for exercise in itertools.islice(turn, EACH):
            yield Attack(f"{exercise.name} {name}", exercise, behave, harmless)


def verdict_on(attack: Attack) -> str:
    """What is bad about how `check` comes back, or nothing."""
    namespace: dict[str, Any] = {}
    work = Path(tempfile.mkdtemp())
    Progress(work).start()
    namespace[session.KEY] = session.Session("", "lab", work)
    session.notebook_namespace = lambda: namespace
    checking.find = lambda name: attack.exercise
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        goes_on_with = checking.check(attack.answer())
    said = out.getvalue()
    if not any(f"{mark} {attack.exercise.name}:" in said for mark in "✓✗○"):
        return f"no verdict: {said!r}"
    if len(said) > 4000 or "Traceback" in said + err.getvalue():
        return f"not a few sentences: {said[:500]!r} {err.getvalue()[:500]!r}"
    if "✓" in said and not attack.harmless:
        return f"right: {said!r}"
    if "✗" in said and not callable(goes_on_with):
        return "nothing to go on with"
    Progress(work).read()
    return poisoned(attack.exercise)


def poisoned(exercise: Exercise) -> str:
    """What is wrong with the checks after an attack, or nothing."""
    after = judge.judge(exercise.library, exercise)
    if after.state != "right" or after.left:
        return f"afterwards a right answer is {after.state}: {after.what} {after.left}"
    for mistake in exercise.mistakes[:2]:
        after = judge.judge(mistake.wrong, exercise)
        if after.mistake is not mistake:
            return f"afterwards {mistake.name!r} is {after.state}: {after.what}"
    if torch.ones(1).device.type != "cpu" or torch.ones(1).dtype != torch.float32:
        return "afterwards tensors are others"
    return ""


def bad_end(attack: Attack) -> str:
    """How an attack ended badly, in a fork of this process, or nothing."""

    def tell() -> str:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + GIBIBYTES * 2**30,) * 2)
        return verdict_on(attack)

    return told_by_a_fork(tell)


def attack(count: int | None, seed: int, report: Report = print) -> tuple[int, int]:
    """Try all attacks, or so many that are drawn; how many there were, and how many ended badly."""
    torch.set_num_threads(1)
    picked = drawn(list(attacks(seed)), count, seed)
    bad = 0
    for one in picked:
        if told := bad_end(one):
            bad += 1
            report(f"{one.name}: {told}")
    return len(picked), bad


if __name__ == "__main__":
    command_line(__doc__, "hostile answers", attack)
