"""Right, wrong, or not attempted: a candidate held against an exercise. No printing here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from decodeloop.course.comparing import alike, difference_of_plain
from decodeloop.course.plain import plain
from decodeloop.course.trying import Outcome, frames_of, outcome, source_file, try_all
from decodeloop.exercises.exercise import Candidate, Exercise, Mistake


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
    left: tuple[str, ...] = ()  # what it changed in the process, and left so


def judge(candidate: Candidate, exercise: Exercise) -> Verdict:
    """Try the candidate on every case, and recognise what it does wrong."""
    expected = [plain(case.expected()) for case in exercise.cases]  # before it can change anything
    trial = try_all(candidate, exercise.cases, exercise.seconds)
    if trial.late:
        label = exercise.cases[min(len(trial.outcomes), len(expected) - 1)].label
        verdict = Verdict("wrong", len(expected), (label,), trial.late)
    elif all(is_stub(got.error, candidate) for got in trial.outcomes):
        verdict = Verdict("not attempted", len(expected))
    else:
        verdict = compare(exercise, trial.outcomes, expected)
    return replace(verdict, printed=trial.printed, left=tuple(trial.left))


def compare(exercise: Exercise, outcomes: Sequence[Outcome], expected: Sequence[Any]) -> Verdict:
    """Right or wrong, by what came of every case."""
    wrong = [
        (case, got, right)
        for case, got, right in zip(exercise.cases, outcomes, expected, strict=True)
        if got.error is not None or not alike(got.value, right, exercise.tolerance)
    ]
    if not wrong:
        return Verdict("right", len(expected))
    case, got, right = wrong[0]
    what = got.what if got.error else difference_of_plain(right, got.value, exercise.tolerance)
    failed = tuple(case.label for case, *_ in wrong)
    mistake = recognise(exercise, outcomes, failed)
    return Verdict("wrong", len(expected), failed, what, mistake, case.inputs)


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
    pairs.sort(key=lambda pair: pair[0].label not in failed)  # what failed tells most apart
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
        return pythons_own(one.error) is pythons_own(other.error)
    return alike(one.value, other.value, tolerance)


def pythons_own(error: BaseException | None) -> type:
    """The class of an exception, or the nearest above it that is Python's own: all that is left of
    one that comes out of another process. (One of Unicode can't be made there by its message.)"""
    if isinstance(error, UnicodeError):
        return ValueError
    return next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")


__all__ = ["Verdict", "judge", "recognise"]
