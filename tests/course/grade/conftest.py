"""A grader for one submission, and notebooks made of sources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from decodeloop.course.grade.grading import Grader, ready
from decodeloop.course.grade.sandbox import CAN_GRADE, CANT_GRADE, Limits, carried, probe
from decodeloop.exercises.finding import of_lesson
from decodeloop.exercises.fresh import fresh_cases

ROOT = Path(__file__).parents[3]
KIND = "plain" if probe() else "bubblewrap"


@pytest.fixture(scope="session")
def folder():
    with carried() as made:
        yield made


@pytest.fixture
def graded(folder):
    """The grades of cells, by exercise; some of a lesson's, if they are named."""

    if not CAN_GRADE:
        pytest.skip(CANT_GRADE)

    def grade(number, cells, *names, seed=None):
        chosen = [x for n, x in of_lesson(number).items() if not names or n in names]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            asked = [ready(x, fresh_cases(x, seed) if seed is not None else ()) for x in chosen]
            grades = Grader(KIND, folder, Limits()).grades(cells, asked)
        finally:
            torch.set_num_threads(threads)
        return {grade.exercise: grade for grade in grades}

    return grade


@pytest.fixture(scope="session")
def cells_of():
    """The code cells of a lesson's notebook in one of its editions."""

    def cells(number, edition="worked"):
        folder = ROOT / "notebooks" / ("lab" if edition == "lab" else "")
        [path] = folder.glob(f"{number}_*.ipynb")
        made = json.loads(path.read_text("utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in made if cell["cell_type"] == "code"]

    return cells
