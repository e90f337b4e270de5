"""Grades as rows: of a table, a CSV, and of whom else has the same syntax."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from decodeloop.course.grade.grading import Grade
from decodeloop.course.grade.submissions import Submission

COLUMNS = ("student", "lesson", "exercise", "verdict", "mistake", "points", "seconds", "same_as")
WORKED = "the worked edition"
LIBRARY = "the library"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


@dataclass(frozen=True)
class Row:
    """One exercise of one student."""

    student: str
    lesson: str  # its number
    grade: Grade
    same_as: tuple[str, ...] = ()
    number: str = ""  # that a platform knows the student by

    def cells(self) -> tuple[str, ...]:
        """In the order of `COLUMNS`."""
        grade = self.grade
        return (
            harmless(self.student),
            self.lesson,
            grade.exercise,
            grade.verdict,
            grade.mistake,
            str(grade.points),
            f"{grade.seconds:.2f}",
            harmless("; ".join(self.same_as)),
        )


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula: names are the students' choice."""
    return f"'{text}" if text.startswith(FORMULA) else text


def rows(
    graded: Sequence[tuple[Submission, Sequence[Grade]]], known: Mapping[tuple[str, str], str]
) -> list[Row]:
    """All rows, in the order of the submissions.

    Args:
        known: by exercise and shape, whose syntax that is, besides the students'.
    """
    by_shape: dict[tuple[str, str], list[str]] = {}
    for submission, grades in graded:
        for grade in grades:
            if grade.shape:
                students = by_shape.setdefault((grade.exercise, grade.shape), [])
                if submission.student not in students:
                    students.append(submission.student)
    made = []
    for submission, grades in graded:
        for grade in grades:
            key = (grade.exercise, grade.shape)
            others = [x for x in by_shape.get(key, ()) if x != submission.student]
            same = [known[key]] if key in known else []
            who = (submission.student, submission.lesson)
            made.append(Row(*who, grade, (*same, *others), submission.number))
    return made


def best_of(made: Iterable[Row]) -> dict[str, Row]:
    """Of each exercise the row with the most points, the first of equals: who has handed in twice
    has not reached it twice."""
    best: dict[str, Row] = {}
    for row in made:
        known = best.get(row.grade.exercise)
        if known is None or known.grade.points < row.grade.points:
            best[row.grade.exercise] = row
    return best


def write_csv(path: Path, made: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row.cells() for row in made)


__all__ = ["COLUMNS", "Row", "best_of", "rows", "write_csv"]
