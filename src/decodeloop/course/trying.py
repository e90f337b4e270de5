"""A candidate tried on cases under guard: what comes of each, and nothing that it leaves behind."""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import torch

from decodeloop.course.keeping import Kept
from decodeloop.course.plain import plain, said, shortened
from decodeloop.course.surroundings import Surroundings, shallow
from decodeloop.course.timelimit import LONGEST, TimedOut, limited
from decodeloop.exercises.exercise import Candidate, Case, ChangedInput

CHANGED = ChangedInput(
    "it changed what it was only lent, such as the weights of the model: leave them as they are, "
    "since the caller goes on with them"
)


@dataclass(frozen=True)
class Outcome:
    """What came of one case: a plain value, or the exception instead."""

    value: Any = None
    error: BaseException | None = None
    what: str = ""  # that exception in words


@dataclass
class Trial:
    """What came of all cases."""

    outcomes: list[Outcome] = field(default_factory=list)  # fewer than cases where time ran out
    late: str = ""  # why it was interrupted
    printed: str = ""  # the beginning of what the candidate printed
    left: list[str] = field(default_factory=list)  # what it changed in the process


def try_all(candidate: Candidate, cases: Sequence[Case], seconds: float) -> Trial:
    """Try a candidate on every case, one thread computing, for so many seconds in all.

    Whatever it does, this comes back with what came of it, and with the process as it was; only the
    learner's own interruption goes on.
    """
    trial, left, notes = Trial(), dict[str, None](), sys.stdout
    output, errors = FirstCharacters(), FirstCharacters()
    kept = Kept(part for case in cases for part in (case.run, case.expected, case.inputs))

    def one_after_another(surroundings: Surroundings) -> None:
        for case in cases:
            got = outcome(candidate, case, lambda: left.update(names(surroundings.put_back_soon())))
            if kept.put_back() and got.error is None:
                got = Outcome(error=CHANGED, what=str(CHANGED))
            trial.outcomes.append(got)

    def deaf() -> None:
        print(
            f"  {getattr(candidate, '__name__', 'your answer')} is inside one call that Python "
            f"can't interrupt, a product or a sum that is far too large: wait for it, or restart "
            f"the kernel (Kernel → Restart); your cells stay",
            file=notes,
            flush=True,
        )

    computed = time.thread_time()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        shallow(),
        one_thread(),
        nothing_unraisable(),
    ):
        surroundings = Surroundings()
        try:
            limited(lambda: one_after_another(surroundings), seconds, deaf)
        except TimedOut:
            computed = time.thread_time() - computed
            trial.late = why_late(seconds, waited=computed < 0.8 * seconds)
        finally:
            left.update(names(surroundings.put_back()))  # it may be interrupted anywhere
            kept.put_back()
    sys.stderr.write(errors.text)
    trial.printed, trial.left = output.text, list(left)
    return trial


def names(changed: list[str]) -> dict[str, None]:
    return dict.fromkeys(changed)


def why_late(seconds: float, waited: bool) -> str:
    if waited:
        return (
            f"it had not come to an end after {LONGEST * seconds:g} s, most of which it waited, "
            f"and was interrupted; look for a `sleep`, an `input`, or something that it waits for"
        )
    return (
        f"it ran for {seconds:g} s without coming to an end, and was interrupted; look for a loop "
        f"whose condition never becomes false"
    )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Tiny products only wait for a second thread, and where other programs use it, they wait
    long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def nothing_unraisable() -> Iterator[None]:
    """What goes wrong in a `__del__` of theirs, an interruption for one, is no news."""
    before = sys.unraisablehook
    sys.unraisablehook = id  # not one in Python: that could be interrupted, too
    try:
        yield
    finally:
        sys.unraisablehook = before


class FirstCharacters(io.TextIOBase):
    """Takes what a candidate prints, and keeps the beginning: a loop may print without end."""

    LIMIT = 400

    def __init__(self) -> None:
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if len(self.text) < self.LIMIT:
            self.text = (self.text + text)[: self.LIMIT]
        return len(text)


def seed() -> None:
    """The same draws for each case. PyTorch's own way asks every kind of device, there or not, and
    takes ten times as long: where there is only the CPU its generator is enough."""
    if torch.cuda.is_initialized() or torch.backends.mps.is_available():
        torch.manual_seed(0)
    else:
        torch.default_generator.manual_seed(0)


def outcome(candidate: Candidate, case: Case, tidy: Callable[[], object] = lambda: None) -> Outcome:
    """Run a case, and copy what came of it: nothing of the candidate's runs after this.

    `tidy` puts right what the candidate may have changed, before anything of ours goes on.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # a case leaves the notebook's draws alone
            seed()
            try:
                value = case.run(candidate)
            finally:
                tidy()
        try:
            return Outcome(value=plain(value))
        finally:
            if type(value) not in (torch.Tensor, int, float, str):
                tidy()  # to copy a value, or to describe it, may run code of its own
    except BaseException as error:  # exit() would end the check without a word
        if type(error) in (KeyboardInterrupt, TimedOut):
            raise
        return Outcome(error=error, what=describe_error(error, candidate))


def describe_error(error: BaseException, candidate: Candidate) -> str:
    """The learner's own exception, with the line of their cell and nothing of ours."""
    message = shortened(said(error), 400)
    if isinstance(error, ChangedInput):
        return message
    name = shortened(type(error).__name__)
    text = f"it raised {name}: {message or 'without a message'}"
    own = source_file(candidate)
    lines = [number for path, number in frames_of(error) if path == own]
    if own is None or not lines:
        return text
    line = shortened(linecache.getline(own, lines[-1]), 200)
    return f"{text}\n  at line {lines[-1]} of your cell:  {line}"


def frames_of(error: BaseException) -> Iterator[tuple[str, int]]:
    """File and line of each frame that an exception passed, from the outside in."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame.f_code.co_filename, at.tb_lineno
        at = at.tb_next


def source_file(candidate: Candidate) -> str | None:
    """The file, or the notebook's cell, that a function or a class was written in."""
    if isinstance(candidate, type):
        methods = [m for m in vars(candidate).values() if hasattr(m, "__code__")]
        return methods[0].__code__.co_filename if methods else None
    code = getattr(unwrapped(candidate), "__code__", None)  # not that of a decorator
    return code.co_filename if isinstance(code, CodeType) else None


def unwrapped(candidate: Candidate) -> Candidate:
    """What stands inside of decorators."""
    try:
        return inspect.unwrap(candidate)
    except ValueError:  # one that says that it wraps itself
        return candidate


__all__ = ["Outcome", "Trial", "describe_error", "outcome", "source_file", "try_all", "unwrapped"]
