"""Right, wrong, or not attempted: a candidate held against an exercise. No printing here."""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, Literal

import torch

from decodeloop.course.comparing import difference, same
from decodeloop.course.keeping import Kept
from decodeloop.course.plain import plain, shortened
from decodeloop.course.timelimit import TimedOut, limited
from decodeloop.exercises.exercise import Candidate, Case, ChangedInput, Exercise, Mistake

CHANGED = ChangedInput(
    "it changed what it was only lent, such as the weights of the model: leave them as they are, "
    "since the caller goes on with them"
)


@dataclass(frozen=True)
class Outcome:
    """What came of one case: a value, or the exception instead."""

    value: Any = None
    error: BaseException | None = None
    what: str = ""  # that exception in words


@dataclass(frozen=True)
class Verdict:
    """What `check` reports."""

    state: Literal["right", "wrong", "not attempted"]
    cases: int
    failed: tuple[str, ...] = ()  # labels of the cases
    what: str = ""  # expected and got, on the first of them
    mistake: Mistake | None = None
    inputs: tuple[Any, ...] | None = None  # of the first case that failed
    printed: str = ""  # the beginning of what the candidate printed


def judge(candidate: Candidate, exercise: Exercise) -> Verdict:
    """Try the candidate on every case, and recognise what it does wrong."""
    total = len(exercise.cases)
    expected = [plain(case.expected()) for case in exercise.cases]  # before it can change anything
    outcomes: list[Outcome] = []
    output = FirstCharacters()

    kept = Kept(part for case in exercise.cases for part in (case.run, case.expected, case.inputs))

    def try_all() -> None:
        for case in exercise.cases:
            got = outcome(candidate, case)
            if kept.put_back() and got.error is None:
                got = Outcome(error=CHANGED, what=str(CHANGED))
            outcomes.append(got)

    try:
        with contextlib.redirect_stdout(output):
            limited(try_all, exercise.seconds)
    except TimedOut:
        unfinished = exercise.cases[len(outcomes)].label
        what = (
            f"it ran for {exercise.seconds:g} s without coming to an end, and was interrupted; "
            f"look for a loop whose condition never becomes false"
        )
        return Verdict("wrong", total, (unfinished,), what, printed=output.text)
    finally:
        kept.put_back()  # it may have been interrupted anywhere
    if all(is_stub(got.error, candidate) for got in outcomes):
        return Verdict("not attempted", total)
    wrong = [
        (case, got, right)
        for case, got, right in zip(exercise.cases, outcomes, expected, strict=True)
        if got.error is not None or not same(got.value, right, exercise.tolerance)
    ]
    if not wrong:
        return Verdict("right", total, printed=output.text)
    case, got, right = wrong[0]
    what = got.what if got.error else difference(right, got.value, exercise.tolerance)
    failed = tuple(case.label for case, *_ in wrong)
    mistake = recognise(exercise, outcomes, failed)
    return Verdict("wrong", total, failed, what, mistake, case.inputs, output.text)


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


def outcome(candidate: Candidate, case: Case) -> Outcome:
    """Run a case, and copy what came of it: nothing of the candidate's runs after this."""
    try:
        with torch.random.fork_rng(devices=[]):  # a case leaves the notebook's draws alone
            torch.manual_seed(0)
            return Outcome(value=plain(case.run(candidate)))
    except BaseException as error:  # exit() would end the check without a word
        if type(error) in (KeyboardInterrupt, TimedOut):
            raise
        return Outcome(error=error, what=describe_error(error, candidate))


def is_stub(error: BaseException | None, candidate: Candidate) -> bool:
    """Whether the candidate's own `raise` did it: PyTorch raises the same where an operator lacks
    a type, and so do libraries."""
    pytorchs = ("not implemented for", "Could not run")
    if not isinstance(error, NotImplementedError) or any(x in str(error) for x in pytorchs):
        return False
    *_, innermost = frames_of(error)
    return innermost[0] == source_file(candidate)


def recognise(
    exercise: Exercise, outcomes: Sequence[Outcome], failed: Sequence[str]
) -> Mistake | None:
    """The named mistake that gives the same outputs, or None.

    It must agree on every case on which either of the two is not right: one that is right where the
    mistake is wrong is something else. Where both raise, the same type is enough, since messages
    tell of names and shapes; where the mistake alone raises, a right answer may be it all the same,
    since what is not reached does not raise. An exception says little, so on one case that failed
    they must agree by a value.
    """
    pairs = list(zip(exercise.cases, outcomes, strict=True))
    if not any(mine.error is None and case.label in failed for case, mine in pairs):
        return None
    for mistake in exercise.mistakes:
        for case, mine in pairs:
            theirs = outcome(mistake.wrong, case)
            if theirs.error is not None and case.label not in failed:
                continue
            if not agree(mine, theirs, exercise.tolerance):
                break
        else:
            return mistake
    return None


def agree(one: Outcome, other: Outcome, tolerance: float) -> bool:
    """Whether two answers give the same on a case, be it the type of an exception."""
    if one.error is not None or other.error is not None:
        return type(one.error) is type(other.error)
    return same(one.value, other.value, tolerance)


def describe_error(error: BaseException, candidate: Candidate) -> str:
    """The learner's own exception, with the line of their cell and nothing of ours."""
    try:
        message = shortened(str(error), 400)
    except Exception:  # what is in a `__str__` of theirs may fail in any way
        message = "a message that can't be shown"
    if isinstance(error, ChangedInput):
        return message
    text = f"it raised {type(error).__name__}: {message or 'without a message'}"
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
