"""One submission, graded: each exercise of its lesson in a sandbox, judged here.

The verdict is "it works", never "it is their own work".
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from decodeloop.course.grade.driver import Driver
from decodeloop.course.grade.inside.pipe import Broken
from decodeloop.course.grade.sandbox import Kind, Limits, Sandbox
from decodeloop.course.judge import compare
from decodeloop.course.plain import plain
from decodeloop.course.trying import Outcome, outcome
from decodeloop.errors import one_line
from decodeloop.exercises.exercise import Case, Exercise
from decodeloop.exercises.finding import find, numbers

State = Literal["right", "wrong", "not attempted", "syntax error", "timed out", "refused"]
DIED = "its process ended: a crash, an exit, or more memory than it may have"


@dataclass(frozen=True)
class Grade:
    """What came of one exercise."""

    exercise: str
    verdict: State
    mistake: str = ""  # its name, where it has one
    points: int = 0
    seconds: float = 0.0
    shape: str = ""  # of its syntax
    what: str = ""  # that a student may read: nothing of what is expected is in it
    hint: str = ""


@dataclass(frozen=True)
class Ready:
    """An exercise with what is expected of each case, found out before any answer is seen."""

    exercise: Exercise
    expected: tuple[Any, ...]
    fresh: tuple[Case, ...] = ()
    expected_fresh: tuple[Any, ...] = ()


def ready(exercise: Exercise, fresh: Sequence[Case] = ()) -> Ready:
    """Find out what is expected."""
    return Ready(
        exercise,
        tuple(plain(case.expected()) for case in exercise.cases),
        tuple(fresh),
        tuple(plain(case.expected()) for case in fresh),
    )


class Grader:
    """One submission's sandbox, started when it is needed, and anew after one that broke."""

    def __init__(self, kind: Kind, folder: Path, limits: Limits, slot: int = 0) -> None:
        self.kind, self.folder, self.limits, self.slot = kind, folder, limits, slot
        self.sandbox: Sandbox | None = None
        self.torch = False  # whether answers use PyTorch

    def grades(self, cells: Sequence[str], exercises: Sequence[Ready]) -> list[Grade]:
        """All exercises of a lesson, in their order."""
        try:
            found = self.read(cells, [x.exercise.name for x in exercises])
        except Broken as broken:
            verdict: State = "timed out" if broken.why == "time" else "refused"
            what = "its cells can't be read"
            return [Grade(x.exercise.name, verdict, what=what) for x in exercises]
        finally:
            self.drop_if_broken()
        self.torch = any("torch" in str(x.get("source")) for x in found.values())
        try:
            return [self.grade(x, found.get(x.exercise.name, {})) for x in exercises]
        finally:
            self.drop()

    def read(self, cells: Sequence[str], names: list[str]) -> dict[str, dict[str, Any]]:
        driver = Driver(self.standing(), self.limits.start_s)
        found = driver.read(cells, names, list(numbers()))
        driver.end()
        return found

    def grade(self, x: Ready, found: dict[str, Any]) -> Grade:
        """One exercise; whatever comes of it, the next can be graded."""
        began = time.monotonic()
        if "error" in found:
            got = Grade(x.exercise.name, "syntax error", what=one_line(found["error"]))
        elif "source" not in found:
            got = Grade(x.exercise.name, "not attempted")
        else:
            got = self.tried(x, found)
        points = x.exercise.difficulty if got.verdict == "right" else 0
        seconds = round(time.monotonic() - began, 2)
        return replace(got, points=points, seconds=seconds, shape=str(found.get("shape", "")))

    def tried(self, x: Ready, found: dict[str, Any]) -> Grade:
        name = x.exercise.name
        try:
            sandbox = self.warmed()
            driver = Driver(sandbox, self.limits.times * x.exercise.seconds, x.exercise)
            links = {link: find(link).library for link in found["links"]}
            try:
                answer = driver.define(found["source"], links)
            except Exception as error:
                driver.end()
                return Grade(name, "wrong", what=raised(error, "its cell can't be run: "))
            cases = (*x.exercise.cases, *x.fresh)
            outcomes = [self.outcome(driver, answer, case) for case in cases]
            driver.end()
            return judged(x, outcomes)
        except Broken as broken:
            return self.given_up(name, broken, x.exercise.seconds)
        finally:
            self.drop_if_broken()

    def outcome(self, driver: Driver, answer: Any, case: Case) -> Outcome:
        driver.seed()
        got = outcome(answer, case)
        if driver.pipe.broken:
            raise driver.pipe.broken
        return replace(got, what=raised(got.error)) if got.error is not None else got

    def given_up(self, name: str, broken: Broken, seconds: float) -> Grade:
        if broken.why == "time":
            limit = self.limits.times * seconds
            return Grade(name, "timed out", what=f"it was stopped after {limit:g} s")
        what = DIED if broken.why == "end" else "what came of its process can't be read"
        return Grade(name, "wrong", what=what)

    def standing(self) -> Sandbox:
        """The sandbox; one that does not start, on a busy machine, is started once more."""
        if self.sandbox is None:
            try:
                self.sandbox = Sandbox(self.kind, self.folder, self.limits, self.slot)
            except Broken:
                self.sandbox = Sandbox(self.kind, self.folder, self.limits, self.slot)
        return self.sandbox

    def warmed(self) -> Sandbox:
        """A sandbox that has PyTorch, if answers use it: each task is a fork of it."""
        sandbox = self.standing()
        if self.torch and not sandbox.warm:
            sandbox.warm_up(self.limits)
        return sandbox

    def drop_if_broken(self) -> None:
        if self.sandbox is not None and self.sandbox.pipe.broken:
            self.drop()

    def drop(self) -> None:
        if self.sandbox is not None:
            with contextlib.suppress(Exception):
                self.sandbox.close()
            self.sandbox = None


def judged(x: Ready, outcomes: Sequence[Outcome]) -> Grade:
    """The verdict on what came of all cases; named mistakes are known by the public ones."""
    name, public = x.exercise.name, len(x.exercise.cases)
    if all(getattr(got.error, "told", {}).get("stub") is True for got in outcomes):
        return Grade(name, "not attempted")
    verdict = compare(x.exercise, outcomes[:public], x.expected)
    if verdict.state == "wrong":
        labels = [case.label for case in x.exercise.cases]
        got = outcomes[labels.index(verdict.failed[0])]
        what = f"first on “{verdict.failed[0]}”" + (f": {got.what}" if got.error else "")
        known = verdict.mistake
        return Grade(
            name,
            "wrong",
            known.name if known else "",
            what=f"wrong on {len(verdict.failed)} of {public} cases, {what}",
            hint=known.hint if known else "",
        )
    other = replace(x.exercise, cases=x.fresh, mistakes=())
    if x.fresh and compare(other, outcomes[public:], x.expected_fresh).state == "wrong":
        what = "right on the cases that everybody has, wrong on others of the same kind"
        return Grade(name, "wrong", "right on the public cases alone", what=what)
    return Grade(name, "right")


def raised(error: BaseException, before: str = "") -> str:
    """An answer's exception in words, with its line."""
    told = getattr(error, "told", {})
    kind = str(told.get("type") or type(error).__name__)[:60]
    line = one_line(str(told.get("line") or ""))
    at = f", at: {line}" if line else ""
    return f"{before}it raised {one_line(kind)}: {one_line(error)}{at}"


__all__ = ["Grade", "Grader", "Ready", "State", "ready"]
