"""Exercises by name, one lesson at a time.

Only the lesson that an exercise stands in is imported, so that a broken one breaks no other, and a
check waits for nobody's imports but its own. Which lesson it is, the sources tell without being
run.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path

from decodeloop.errors import UserError
from decodeloop.exercises.exercise import Exercise

NAME = re.compile(r'^    name="(\w+)",$', re.MULTILINE)  # as the formatter leaves it


@cache
def numbers() -> dict[str, str]:
    """The name of each exercise → its lesson's number, in the order of the lessons."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("lesson_*.py")):
        for name in NAME.findall(path.read_text("utf-8")):
            assert name not in found, f"two exercises are called {name}"
            found[name] = path.stem.removeprefix("lesson_")
    return found


@cache
def of_lesson(number: str) -> dict[str, Exercise]:
    """The exercises of one lesson, by name, in their order."""
    module = importlib.import_module(f"{__package__}.lesson_{number}")
    return {exercise.name: exercise for exercise in module.EXERCISES}


def find(name: str) -> Exercise:
    """The exercise of this name.

    Raises:
        UserError: there is none; the message lists those that there are.
    """
    if name not in numbers():
        raise UserError(
            f"there is no exercise called {name!r}: expected one of {', '.join(numbers())}; keep "
            f"the name that the cell gives to your function."
        )
    return of_lesson(numbers()[name])[name]


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of the course, by name, in the order of the lessons: all are imported."""
    return {
        name: exercise
        for number in dict.fromkeys(numbers().values())
        for name, exercise in of_lesson(number).items()
    }
