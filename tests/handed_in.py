"""Right answers and named mistakes as students hand them in: cells, and what they deserve."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from answer_tables import answers

from decodeloop.course.grade.sent import defined, source_of
from decodeloop.course.statements import bound_names
from decodeloop.exercises.edits import Edited
from decodeloop.exercises.exercise import Candidate
from decodeloop.exercises.finding import of_lesson


@dataclass(frozen=True)
class Handed:
    """Cells, and what they deserve, by exercise: a verdict, and the name of the mistake."""

    name: str
    lesson: str
    cells: list[str]
    deserved: dict[str, tuple[str, str]]
    seed: int | None = None


def right_answers(number: str) -> Iterator[Handed]:
    """Those of a lesson's tests, two for each exercise."""
    names = list(of_lesson(number))
    right = answers(next(iter(of_lesson(number).values())).lesson).RIGHT
    for place in range(2):
        sources = {name: source_named(right[name][place], name) for name in names}
        for name, source in sources.items():
            label = f"{number} {name}, right answer {place + 1}"
            yield Handed(label, number, [source], {name: ("right", "")}, 1)


def named_mistakes(number: str) -> Iterator[Handed]:
    """Those of a lesson that can be handed in."""
    for name, exercise in of_lesson(number).items():
        for mistake in exercise.mistakes:
            try:
                source = source_of_mistake(mistake.wrong, name)
            except (TypeError, OSError, AssertionError):  # what has no source can't be handed in
                continue
            label = f"{number} {name}, {mistake.name}"
            yield Handed(label, number, [source], {name: ("wrong", mistake.name)}, 1)


def packed(answers: Iterable[Handed]) -> list[Handed]:
    """Answers to different exercises handed in together, as students do: a sandbox is begun for
    each submission, and that takes longer than most answers. Not where one would take another's
    helper of the same name."""
    packs: list[Handed] = []
    for one in answers:
        own = statements(one)
        for place, pack in enumerate(packs):
            others = statements(pack)
            alike = all(others.get(name, text) == text for name, text in own.items())
            if alike and pack.seed == one.seed and not pack.deserved.keys() & one.deserved.keys():
                packs[place] = replace(
                    pack,
                    name=f"{pack.name}; {one.name}",
                    cells=pack.cells + one.cells,
                    deserved=pack.deserved | one.deserved,
                )
                break
        else:
            packs.append(one)
    return packs


def statements(handed: Handed) -> dict[str, str]:
    """What the cells bind at their top, and to what."""
    bound = {}
    for cell in handed.cells:
        for statement in ast.parse(cell).body:
            bound.update(dict.fromkeys(bound_names(statement), ast.unparse(statement)))
    return bound


def source_of_mistake(wrong: Candidate, name: str) -> str:
    """A named mistake as a student would hand it in: an edited answer in its own words."""
    if not isinstance(wrong, Edited):
        return source_named(wrong, name)
    right = inspect.getsource(wrong.right)
    module = inspect.getsource(sys.modules[wrong.right.__module__])
    assert module.count(right) == 1
    own = wrong.right.__name__
    return alias(inlined(defined(module.replace(right, wrong.source()), own)), own, name)


def source_named(function: object, name: str) -> str:
    """The source of a function under the name that the exercise asks for.

    Raises:
        TypeError: it is a lambda, which stands in no statement of its own.
    """
    source = inlined(source_of(function))  # type: ignore[arg-type]
    own = getattr(function, "__name__", name)
    if own == "<lambda>":
        raise TypeError(f"{name}: a lambda has no statement of its own")
    return alias(source, own, name)


def alias(source: str, own: str, name: str) -> str:
    """A source whose function has the name that the exercise asks for.

    Raises:
        TypeError: another function in it has that name, and a definition counts before an alias.
    """
    if own == name:
        return source
    if any(getattr(node, "name", None) == name for node in ast.parse(source).body):
        raise TypeError(f"{own} stands on another {name}")
    return f"{source}\n{name} = {own}\n"


def inlined(source: str) -> str:
    """A source whose imports from the exercises are replaced by what they import: students have no
    such modules.

    Raises:
        TypeError: among that is a whole exercise.
    """
    parts = []
    for statement in ast.parse(source).body:
        room = statement.module if isinstance(statement, ast.ImportFrom) else None
        if room is None or not room.startswith("decodeloop.exercises"):
            parts.append(ast.unparse(statement))
            continue
        module = inspect.getsource(importlib.import_module(room))
        parts += [inlined(defined(module, taken.name)) for taken in statement.names]
    if any(" = Exercise(" in part for part in parts):
        raise TypeError("it stands on a whole exercise, which nobody hands in")
    return "\n".join(dict.fromkeys(parts))
