"""Every exercise, graded as a student's: worked editions and the right answers of the tests are
right, with and without inputs that nobody has seen; lab editions are not attempted; each named
mistake meets its hint.

    python tests/attacks/graded_answers.py [--count N] [--seed S]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from attacking import Report, command_line, drawn
from handed_in import Handed, named_mistakes, packed, right_answers

from decodeloop.course.grade.drawn import telling_cases
from decodeloop.course.grade.grading import Grader, Ready, ready
from decodeloop.course.grade.sandbox import Kind, Limits, carried, probe
from decodeloop.exercises.finding import numbers, of_lesson

ROOT = Path(__file__).parents[2]
LIMITS = Limits(times=12.0)  # a busy machine makes nobody late


def everything() -> list[Handed]:
    return [
        handed
        for number in dict.fromkeys(numbers().values())
        for handed in (
            *editions(number),
            *packed((*right_answers(number), *named_mistakes(number))),
        )
    ]


def editions(number: str) -> Iterator[Handed]:
    """Whole notebooks of a lesson."""
    names = list(of_lesson(number))
    for edition, verdict in (("", "right"), ("lab", "not attempted")):
        [path] = (ROOT / "notebooks" / edition).glob(f"{number}_*.ipynb")
        cells = [
            "".join(cell["source"])
            for cell in json.loads(path.read_text("utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
        for seed in (None, 1) if not edition else (None,):
            label = f"{number} {edition or 'worked'}, seed {seed}"
            yield Handed(label, number, cells, dict.fromkeys(names, (verdict, "")), seed)


def ready_for(handed: Handed, known: dict[tuple[str, int | None], Ready]) -> list[Ready]:
    found = []
    for name in handed.deserved:
        key = (name, handed.seed)
        if key not in known:
            exercise = of_lesson(handed.lesson)[name]
            fresh = () if handed.seed is None else telling_cases(exercise, handed.seed)
            known[key] = ready(exercise, fresh)
        found.append(known[key])
    return found


def attack(count: int | None, seed: int, report: Report) -> tuple[int, int]:
    torch.set_num_threads(1)
    kind: Kind = "plain" if probe() else "bubblewrap"
    tried, bad, known = 0, 0, dict[tuple[str, int | None], Ready]()
    with carried() as folder:
        for handed in drawn(everything(), count, seed):
            tried += 1
            grades = Grader(kind, folder, LIMITS).grades(handed.cells, ready_for(handed, known))
            for grade in grades:
                if (grade.verdict, grade.mistake) != handed.deserved[grade.exercise]:
                    bad += 1
                    report(f"{handed.lesson} {handed.deserved[grade.exercise]}: {grade}")
    return tried, bad


if __name__ == "__main__":
    command_line(__doc__, "submissions", attack)
