"""Right, wrong, or not attempted: a candidate held against an exercise. No printing here."""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from decodeloop.course.timelimit import TimedOut, limited
from decodeloop.exercises.exercise import Candidate, Case, ChangedInput, Exercise, Mistake


@dataclass(frozen=True)
class Outcome:
    """What came of one case: a value, or the exception instead."""

    value: Any = None
    error: BaseException | None = None


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
    outcomes: list[Outcome] = []
    output = FirstCharacters()

    def try_all() -> None:
        for case in exercise.cases:
            outcomes.append(outcome(candidate, case))
            if is_stub(outcomes[-1].error):
                return

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
    if is_stub(outcomes[-1].error):
        return Verdict("not attempted", total)
    wrong = [
        (case, got)
        for case, got in zip(exercise.cases, outcomes, strict=True)
        if got.error is not None or not same(got.value, case.expected(), exercise.tolerance)
    ]
    if not wrong:
        return Verdict("right", total, printed=output.text)
    case, got = wrong[0]
    if got.error is not None:
        what = describe_error(got.error, candidate)
    else:
        what = difference(case.expected(), got.value, exercise.tolerance)
    failed = tuple(case.label for case, _ in wrong)
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
    try:
        with torch.random.fork_rng(devices=[]):  # a case leaves the notebook's draws alone
            torch.manual_seed(0)
            return Outcome(value=case.run(candidate))
    except (Exception, SystemExit) as error:  # exit() would end the check without a word
        return Outcome(error=error)


def is_stub(error: BaseException | None) -> bool:
    """Whether a stub raised it: PyTorch raises the same where an operator lacks a type."""
    pytorchs = ("not implemented for", "Could not run")
    return isinstance(error, NotImplementedError) and not any(x in str(error) for x in pytorchs)


def recognise(
    exercise: Exercise, outcomes: Sequence[Outcome], failed: Sequence[str]
) -> Mistake | None:
    """The named mistake that gives the same outputs, or None.

    It must agree on every case that failed, and on at least one by a value: an exception alone
    says too little. Of several, the one that agrees on most cases.
    """
    best, best_agreed = None, 0
    for mistake in exercise.mistakes:
        agreed, by_value = 0, False
        for case, mine in zip(exercise.cases, outcomes, strict=True):
            theirs = outcome(mistake.wrong, case)
            if mine.error is not None or theirs.error is not None:
                alike = type(mine.error) is type(theirs.error)
            else:
                alike = same(mine.value, theirs.value, exercise.tolerance)
            agreed += alike
            if case.label in failed:
                if not alike:
                    break
                by_value |= mine.error is None
        else:
            if by_value and agreed > best_agreed:
                best, best_agreed = mistake, agreed
    return best


def same(got: Any, expected: Any, tolerance: float) -> bool:
    """Whether two outputs are equal: structure, shapes and kinds exactly, values within tolerance.

    NaN equals NaN, and a number equals a tensor without axes.
    """
    if isinstance(expected, Mapping):
        return (
            isinstance(got, Mapping)
            and got.keys() == expected.keys()
            and all(same(got[k], expected[k], tolerance) for k in expected)
        )
    if isinstance(expected, str) or expected is None:
        return type(got) is type(expected) and got == expected
    if isinstance(expected, Sequence):
        return (
            isinstance(got, Sequence)
            and not isinstance(got, str)
            and len(got) == len(expected)
            and all(same(g, e, tolerance) for g, e in zip(got, expected, strict=True))
        )
    if not isinstance(got, Tensor | int | float):
        return False
    a, b = torch.as_tensor(got).detach().cpu(), torch.as_tensor(expected).detach().cpu()
    if a.shape != b.shape or (a.dtype == torch.bool) != (b.dtype == torch.bool):
        return False
    return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True)


def difference(expected: Any, got: Any, tolerance: float) -> str:
    """Expected and got, in one sentence, with shapes, or the first place where they differ."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for key in expected:
            if key not in got:
                return f"expected an entry {key!r}, got {list(got)}"
            if not same(got[key], expected[key], tolerance):
                return f"{key}: {difference(expected[key], got[key], tolerance)}"
    both_sequences = isinstance(expected, list | tuple) and isinstance(got, list | tuple)
    if both_sequences and len(expected) == len(got):
        for number, (e, g) in enumerate(zip(expected, got, strict=True), start=1):
            if not same(g, e, tolerance):
                return f"output {number} of {len(expected)}: {difference(e, g, tolerance)}"
    if not (isinstance(expected, Tensor) and isinstance(got, Tensor)):
        return told_apart(brief, expected, got)
    if expected.shape != got.shape:
        return f"expected shape {tuple(expected.shape)}, got {tuple(got.shape)}"
    if (expected.dtype == torch.bool) != (got.dtype == torch.bool):
        return f"expected values of type {expected.dtype}, got {got.dtype}"
    if expected.ndim == 0:
        return told_apart(written, expected, got)
    a, b = got.detach().cpu().double(), expected.detach().cpu().double()
    close = torch.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    place = tuple(int(i) for i in (~close).nonzero()[0])
    return (
        f"the shape {tuple(expected.shape)} is right, {int((~close).sum())} of {close.numel()} "
        f"values are not; the first at {list(place)}: "
        f"{told_apart(written, expected[place], got[place])}"
    )


def told_apart(show: Callable[[Any, int], str], expected: Any, got: Any) -> str:
    """Expected and got, with as many digits as it takes to see that they differ."""
    e, g = "", ""
    for digits in range(4, 18):
        e, g = show(expected, digits), show(got, digits)
        if e.split()[-1] != g.split()[-1]:  # the number, after its type
            break
    missing = " (is a `return` missing?)" if got is None else ""
    return f"expected {e}, got {g}{missing}"


def written(x: Tensor, digits: int = 4) -> str:
    """The value of a tensor without axes: whole numbers and booleans as they are."""
    return f"{x.item():.{digits}g}" if x.is_floating_point() else str(x.item())


def brief(value: Any, digits: int = 4) -> str:
    """A value in a few words."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        if value.ndim == 0:
            return f"a tensor without axes, {written(value, digits)}"
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if math.isfinite(value) else str(value)
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} {text[:60]}{'…' if len(text) > 60 else ''}"


def describe_error(error: BaseException, candidate: Candidate) -> str:
    """The learner's own exception, with the line of their cell and nothing of ours."""
    if isinstance(error, ChangedInput):
        return str(error)
    message = " ".join(str(error).split()) or "without a message"
    text = f"it raised {type(error).__name__}: {message}"
    own = source_file(candidate)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    if not frames:
        return text
    line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return f"{text}\n  at line {frames[-1].lineno} of your cell:  {line}"


def source_file(candidate: Candidate) -> str | None:
    """The file, or the notebook's cell, that a function or a class was written in."""
    if isinstance(candidate, type):
        methods = [m for m in vars(candidate).values() if hasattr(m, "__code__")]
        return methods[0].__code__.co_filename if methods else None
    code = getattr(inspect.unwrap(candidate), "__code__", None)  # not that of a decorator
    return code.co_filename if code else None
