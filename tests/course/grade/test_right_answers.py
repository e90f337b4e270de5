"""Right answers of every exercise, handed in, are right; `make attack` has the mistakes.

Exercises of many lessons go into one submission: what takes time is to begin a sandbox.
"""

from __future__ import annotations

import pytest
from handed_in import packed, right_answers

from decodeloop.course.grade.grading import Grader, ready
from decodeloop.course.grade.sandbox import CAN_GRADE, CANT_GRADE, Limits, probe
from decodeloop.exercises.finding import find, numbers

PARTS = 4
LESSONS = list(dict.fromkeys(numbers().values()))


@pytest.mark.skipif(not CAN_GRADE, reason=CANT_GRADE)
@pytest.mark.parametrize("part", range(PARTS))
def test_right_answers_are_right(part, folder):
    handed = [each for number in LESSONS[part::PARTS] for each in right_answers(number)]
    kind = "plain" if probe() else "bubblewrap"
    bad = []
    for pack in packed(handed):
        asked = [ready(find(name), ()) for name in pack.deserved]
        grades = Grader(kind, folder, Limits(times=6.0)).grades(pack.cells, asked)
        bad += [grade for grade in grades if grade.verdict != "right"]
    assert not bad
    assert len({name for each in handed for name in each.deserved}) > 20
