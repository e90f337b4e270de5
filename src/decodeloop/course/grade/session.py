"""A whole grading: what was asked for, from paths to rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from decodeloop.bar import Progress
from decodeloop.course.grade.grading import Grade, Ready, ready
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
from decodeloop.exercises import finding
from decodeloop.exercises.fresh import fresh_cases


@dataclass(frozen=True)
class Asked:
    """The options of a grading."""

    paths: Sequence[Path]
    lesson: str | None = None
    jobs: int = 1
    seed: int | None = None
    record: Path | None = None
    trust: bool = False
    limits: Limits = field(default_factory=Limits)


def session(asked: Asked, show: Progress) -> list[Row]:
    """Grade everything that was not yet, and give the rows of it all.

    Raises:
        UserError: there is nothing to grade, nothing to contain it, or nowhere to keep the grades.
    """
    found = submissions(list(asked.paths), asked.lesson)
    kind: Kind = "plain" if asked.trust else "bubblewrap"
    demand_a_system()
    if not asked.trust:
        demand_containment()
    numbers = sorted({one.lesson for one in found if one.lesson})
    path = asked.record or beside(asked.paths[0])
    record = Record(path, way(numbers, asked.seed, kind))
    todo = [one for one in found if record.grades(one) is None]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork of a process whose threads compute would wait for them
    try:
        lessons = {n: exercises(n, asked.seed) for n in dict.fromkeys(x.lesson for x in todo) if n}
        with carried() as folder:
            show("grading", 0.0)
            arguments = (lessons, kind, folder, asked.limits, asked.jobs)
            for count, (one, grades) in enumerate(graded(todo, *arguments), start=1):
                keep(record, one, grades)
                show("grading", count / len(todo))
            show("grading", 1.0)
            shapes = known_shapes(numbers)
    finally:
        torch.set_num_threads(threads)
    return rows([(one, record.grades(one) or []) for one in found], shapes)


def exercises(number: str, seed: int | None) -> list[Ready]:
    """Those of a lesson, with what is expected; by a seed also on inputs that nobody has seen."""
    return [
        ready(x, () if seed is None else fresh_cases(x, seed))
        for x in finding.of_lesson(number).values()
    ]


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


def way(numbers: Sequence[str], seed: int | None, kind: Kind) -> str:
    """What grades depend on besides the notebook: other exercises, or another seed, are another."""
    digest = hashlib.sha256(f"{seed} {kind}".encode())
    for path in sorted(Path(finding.__file__).parent.glob("*.py")):
        number = path.stem.removeprefix("lesson_")
        if not path.stem.startswith("lesson_") or number in numbers:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


__all__ = ["Asked", "session"]
