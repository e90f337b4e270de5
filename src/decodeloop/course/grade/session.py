"""A whole grading: what was asked for, from paths to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from decodeloop.bar import Progress
from decodeloop.course.grade.elsewhere import Task, graded_by
from decodeloop.course.grade.expected import exercises, own_key, version, way
from decodeloop.course.grade.grading import Grade
from decodeloop.course.grade.references import known_shapes
from decodeloop.course.grade.running import Record, graded
from decodeloop.course.grade.sandbox import (
    Kind,
    Limits,
    carried,
    demand_a_system,
    demand_containment,
)
from decodeloop.course.grade.submissions import Submission, submissions
from decodeloop.course.grade.table import Row, rows
from decodeloop.errors import UserError


@dataclass(frozen=True)
class Asked:
    """The options of a grading."""

    paths: Sequence[Path]
    lesson: str | None = None
    jobs: int = 1
    seed: int | None = None
    record: Path | None = None
    trust: bool = False
    scheduler: str = ""  # the address of a cluster's; empty, and it is done here
    limits: Limits = field(default_factory=Limits)


def session(asked: Asked, show: Progress) -> list[Row]:
    """Grade everything that was not yet, and give the rows of it all.

    Raises:
        UserError: there is nothing to grade, nothing to contain it, or nowhere to keep the grades.
    """
    found = submissions(list(asked.paths), asked.lesson)
    kind: Kind = "plain" if asked.trust else "bubblewrap"
    if not asked.scheduler:
        demand_a_system()
        if not asked.trust:
            demand_containment()
    numbers = sorted({one.lesson for one in found if one.lesson})
    path = asked.record or beside(asked.paths[0])
    record = Record(path, way(numbers, asked.seed, kind), own_key())
    todo = [one for one in found if record.grades(one) is None]
    show("grading", 0.0)
    done = elsewhere(asked, todo, kind) if asked.scheduler else here(asked, todo, kind)
    for count, (one, grades) in enumerate(done, start=1):
        keep(record, one, grades)
        show("grading", count / len(todo))
    show("grading", 1.0)
    shapes = known_shapes(numbers)
    return rows([(one, record.grades(one) or []) for one in found], shapes)


Done = Iterator[tuple[Submission, list[Grade]]]


def here(asked: Asked, todo: Sequence[Submission], kind: Kind) -> Done:
    """On this machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork of a process whose threads compute would wait for them
    try:
        numbers = dict.fromkeys(x.lesson for x in todo if x.lesson)
        lessons = {number: exercises(number, asked.seed) for number in numbers}
        late = list[Submission]()
        with carried() as folder:
            for one, grades in graded(todo, lessons, kind, folder, asked.limits, asked.jobs):
                if asked.jobs > 1 and any(grade.verdict == "timed out" for grade in grades):
                    late.append(one)  # it may have waited for another's: once more, alone
                else:
                    yield one, grades
            yield from graded(late, lessons, kind, folder, asked.limits, 1)
    finally:
        torch.set_num_threads(threads)


def elsewhere(asked: Asked, todo: Sequence[Submission], kind: Kind) -> Done:
    """By the workers of a cluster; nobody is asked where nothing is to do."""
    if todo:
        yield from graded_by(asked.scheduler, todo, Task(version(), asked.seed, kind, asked.limits))


def keep(record: Record, one: Submission, grades: list[Grade]) -> None:
    try:
        record.add(one, grades)
    except OSError as error:
        raise UserError(
            f"the grades can't be kept in {record.path} ({error.strerror}): give another file with "
            f"--record."
        ) from None


def beside(path: Path) -> Path:
    """The file that keeps the grades of what lies there."""
    whole = path.resolve()
    return whole.with_name(f"{whole.name}.grades.jsonl")


__all__ = ["Asked", "session"]
