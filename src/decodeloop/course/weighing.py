"""What a lesson weighs: words to read, lines of code, minutes, and where that is too much.

A lesson is meant for one sitting. Its measure is that of its readers: the prose at a reader's pace,
the exercises at the minutes that they are said to take, and no cell that is too long to be read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from decodeloop.course.lessons import EXERCISE_LINE, Lesson, tags, with_solutions
from decodeloop.exercises.finding import find

MOST_MINUTES = 60
MOST_WORDS = 3000
LONGEST_CELL = 25  # lines, outside exercises
WORDS_A_MINUTE = 180
WORD = re.compile(r"\w+")
STRETCH = re.compile(r"^## Stretch\b", re.MULTILINE)
SECTION = re.compile(r"^## ", re.MULTILINE)


@dataclass(frozen=True)
class Weight:
    """One lesson, weighed; lines are those that are not blank."""

    lesson: str
    words: int  # of prose, formulas and tables among them
    code_lines: int
    drawing_lines: int  # in cells, outside exercises, that draw by themselves
    longest_cell: int  # outside exercises
    ignored_outputs: int  # cells whose output no test compares
    minutes: int  # as the lesson says
    reckoned: int  # reading the core at 180 words a minute, and its exercises


def weigh(lesson: Lesson) -> Weight:
    """Weigh a lesson as its source stands, solutions included.

    Raises:
        UserError: it asks for an exercise that does not exist.
    """
    code = [cell for cell in lesson.cells if cell.cell_type == "code"]
    plain = [cell for cell in code if "exercise" not in tags(cell)]
    prose = [cell.source for cell in lesson.cells if cell.cell_type == "markdown"]
    return Weight(
        lesson=lesson.name,
        words=sum(map(words, prose)),
        code_lines=sum(map(lines, code)),
        drawing_lines=sum(lines(cell) for cell in plain if draws(cell.source)),
        longest_cell=max(map(lines, plain), default=0),
        ignored_outputs=sum("nbval-ignore-output" in tags(cell) for cell in code),
        minutes=lesson.minutes,
        reckoned=reckoned_minutes(prose),
    )


def words(text: str) -> int:
    return len(WORD.findall(text))


def lines(cell: Any) -> int:
    """The lines of a cell that are not blank; the markers of a solution are none."""
    return sum(bool(line.strip()) for line in with_solutions(cell.source).splitlines())


def draws(source: str) -> bool:
    """Whether a cell draws with pyplot itself.

    A call of a function of the course that draws is no drawing: its lines stand elsewhere.

    >>> draws("figure, axis = plt.subplots()"), draws("a_picture(data)\\nplt.show()")
    (True, False)
    """
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "plt"
        and node.attr != "show"
        for node in ast.walk(ast.parse(source))
    )


def reckoned_minutes(prose: list[str]) -> int:
    """Minutes of the core path: its prose read and its exercises solved, without what stretches."""
    core = "\n\n".join(core_parts("\n\n".join(prose)))
    exercises = [find(name) for name in EXERCISE_LINE.findall(core)]
    solving = sum(exercise.minutes for exercise in exercises if exercise.kind == "core")
    return round(words(core) / WORDS_A_MINUTE + solving)


def core_parts(text: str) -> Iterator[str]:
    """A text without its sections for the fast."""
    before, *parts = SECTION.split(text)
    yield before
    for part in parts:
        if not STRETCH.match(f"## {part}"):
            yield f"## {part}"


def excess(weight: Weight) -> list[str]:
    """In what a lesson exceeds the measure, each as one sentence; nothing where it does not."""
    found = []
    if weight.minutes > MOST_MINUTES:
        found.append(
            f"{weight.lesson} says {weight.minutes} minutes: expected at most {MOST_MINUTES}; "
            f"split it, or move what is not needed to a stretch."
        )
    if weight.reckoned > weight.minutes:
        found.append(
            f"{weight.lesson} says {weight.minutes} minutes, and its prose and exercises alone "
            f"take {weight.reckoned}: say more, or ask for less."
        )
    if weight.words > MOST_WORDS:
        found.append(
            f"{weight.lesson} has {weight.words:,} words: expected at most {MOST_WORDS:,}; say it "
            f"in fewer."
        )
    if weight.longest_cell > LONGEST_CELL:
        found.append(
            f"{weight.lesson} has a cell of {weight.longest_cell} lines: expected at most "
            f"{LONGEST_CELL} outside exercises; cut it in two, or move the drawing to the figures."
        )
    return found


__all__ = ["Weight", "excess", "weigh"]
