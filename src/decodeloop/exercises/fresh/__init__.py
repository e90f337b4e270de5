"""Inputs that nobody has seen: for each exercise what they may be, so that more cases can be drawn.

The cases of an exercise are public, and an answer could hold a table of them. Those here are drawn
by a seed: ``fresh/lesson_NN.py`` has ``RANDOM``, by the names of the exercises. What is expected is
what the library gives, which the tests hold against two other right answers on many draws.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
from functools import cache, partial
from typing import Any

from decodeloop.exercises.exercise import Candidate, Case, Exercise, copies
from decodeloop.exercises.fresh.drawing import Driven, Strategy
from decodeloop.exercises.lending import lend_by_name

COUNT = 6  # cases, for each exercise
MOST = 60  # of which no two may differ


@cache
def of_lesson(number: str) -> dict[str, Strategy | Driven]:
    """What may be drawn for the exercises of a lesson; nothing where it has no such file."""
    name = f"{__package__}.lesson_{number}"
    if importlib.util.find_spec(name) is None:
        return {}
    found: dict[str, Strategy | Driven] = importlib.import_module(name).RANDOM
    return found


def has_fresh(exercise: Exercise) -> bool:
    """Whether more cases can be drawn."""
    return exercise.name in of_lesson(exercise.lesson.split("_")[0])


def driven(exercise: Exercise) -> Driven:
    """The inputs of an exercise, and how a candidate is tried on them."""
    found = of_lesson(exercise.lesson.split("_")[0])[exercise.name]
    return found if isinstance(found, Driven) else Driven(found, called)


def called(candidate: Candidate, *inputs: Any) -> Any:
    return candidate(*inputs)


def fresh_cases(exercise: Exercise, seed: int, count: int = COUNT) -> list[Case]:
    """Cases drawn by a seed: the same for the same seed, and for each exercise others.

    As many as `count`; more, where the same is expected of all of them: a constant is no answer.
    """
    if not has_fresh(exercise):
        return []
    source, how = random.Random(f"{exercise.name} {seed}"), driven(exercise)
    cases, seen = list[Case](), set[str]()
    while len(cases) < count or (len(seen) == 1 and len(cases) < MOST):
        cases.append(fresh_case(exercise, how, how.inputs.draw(source), len(cases)))
        seen.add(repr(cases[-1].expected()))
    return cases


def fresh_case(exercise: Exercise, how: Driven, inputs: Any, number: int) -> Case:
    names = ["what it was lent"] * len(inputs)
    return Case(
        f"drawn, number {number + 1}",
        lambda candidate: lend_by_name(names, partial(how.run, candidate), *inputs),
        lambda: how.run(exercise.library, *copies(inputs)),
    )


__all__ = ["driven", "fresh_cases", "has_fresh"]
