"""Points into a copy of the gradebook that a learning platform exports, and nothing else changed.

Canvas ("Grades → Export"): a row a student, under a row of points possible; a column an assignment,
named with its number, as in ``Lesson 01: attention (4711)``. Moodle ("View all submissions →
Download grading worksheet"): a row a student, ``Identifier`` (``Participant 4711``),
``Full name``, ``Grade``, ``Maximum Grade``, ``Feedback comments``. Points are scaled to what the
platform gives for an assignment. Students are found by the number in the names of their files, else
by their own name.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from decodeloop.course.grade.report import possible
from decodeloop.course.grade.table import Row, best_of
from decodeloop.errors import UserError
from decodeloop.exercises import finding

CANVAS = ("Student", "ID")
MOODLE = ("Identifier", "Full name", "Grade", "Maximum Grade")
POSSIBLE = "Points Possible"


@dataclass(frozen=True)
class Total:
    """What one student has reached in one lesson."""

    student: str
    number: str  # that the platform gave the student; empty where no name has it
    points: int
    possible: int
    feedback: str


@dataclass(frozen=True)
class Filled:
    """What came of it."""

    text: str
    found: int  # students
    missing: tuple[str, ...]  # those who are in no row


def write_filled(path: Path, rows: Sequence[Row]) -> tuple[Path, Filled]:
    """Write a filled copy beside an exported gradebook; where it is, and what came of it.

    Raises:
        UserError: as `filled`; or the rows are of several lessons, of which it has one column each.
    """
    numbers = sorted({row.lesson for row in rows})
    if len(numbers) != 1:
        raise UserError(
            f"a gradebook is filled for one lesson, and these are of {', '.join(numbers)}: say "
            f"which with --lesson."
        )
    lesson = next(iter(finding.of_lesson(numbers[0]).values())).lesson
    made = filled(path, lesson, totals_of(rows))
    target = path.with_name(f"{path.stem}.filled{path.suffix}")
    try:
        target.write_text(made.text, "utf-8-sig", newline="")
    except OSError as error:
        raise UserError(
            f"{target} can't be written ({error.strerror}): copy the gradebook elsewhere first."
        ) from None
    return target, made


def totals_of(rows: Sequence[Row]) -> list[Total]:
    """By student; who has handed in more than once gets what was reached best."""
    handed: dict[tuple[str, str], list[Row]] = {}
    for row in rows:  # two may have the same name
        handed.setdefault((row.student, row.number), []).append(row)
    totals = []
    for (student, number), own in handed.items():
        found = best_of(own)
        words = "; ".join(f"{name}: {row.grade.verdict}" for name, row in found.items() if name)
        points = sum(row.grade.points for row in found.values())
        totals.append(Total(student, number, points, possible(rows[0].lesson), words))
    return totals


def filled(path: Path, lesson: str, totals: Sequence[Total]) -> Filled:
    """A copy of an exported gradebook with the points of a lesson, such as ``01_attention``.

    Raises:
        UserError: it is no gradebook of either kind, or has no column of this lesson.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # with its line ends
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} can't be read as a gradebook ({error}): give the CSV as it was exported."
        ) from None
    head = table[0] if table else []
    if set(MOODLE) <= set(head):
        found = fill_moodle(table, totals)
    elif tuple(head[:2]) == CANVAS:
        found = fill_canvas(path, table, lesson, totals)
    else:
        raise UserError(
            f"{path} has the columns {', '.join(head[:6]) or 'of nothing'}: expected Canvas' "
            f"({', '.join(CANVAS)}, …) or Moodle's ({', '.join(MOODLE)}, …), as exported."
        )
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n" if "\r\n" in text else "\n").writerows(table)
    missing = [total.student for total in totals if total.student not in found]
    return Filled(out.getvalue(), len(found), tuple(missing))


def fill_canvas(
    path: Path, table: list[list[str]], lesson: str, totals: Sequence[Total]
) -> set[str]:
    column = canvas_column(path, table[0], lesson)
    by_number, by_name = by_number_and_name(totals)
    possible, found = None, set[str]()
    for row in table[1:]:
        if not row or len(row) <= column:
            continue
        if row[0].strip() == POSSIBLE:
            possible = number_in(row[column])
            continue
        last, _, first = row[0].partition(",")
        total = by_number.get(row[1]) or by_name.get(squeezed(last + first))
        total = total or by_name.get(squeezed(first + last))
        if total is not None:
            row[column] = scaled(total, possible)
            found.add(total.student)
    return found


def canvas_column(path: Path, head: list[str], lesson: str) -> int:
    """Where the assignment of a lesson stands."""
    number, _, topic = lesson.partition("_")
    assignments = {n: name for n, name in enumerate(head) if re.search(r"\(\d+\)$", name.strip())}
    for wanted in (rf"\b{lesson}\b", rf"\b{number}\b(?!\)$)", rf"\b{topic.replace('_', ' ')}\b"):
        hits = [n for n, name in assignments.items() if re.search(wanted, name, re.IGNORECASE)]
        if len(hits) == 1:
            return hits[0]
    names = ", ".join(assignments.values()) or "none"
    raise UserError(
        f"{path} has no assignment that is lesson {number} alone, but {names}: name it with the "
        f"number of its lesson, as in 'Lesson {number}', and export it again."
    )


def fill_moodle(table: list[list[str]], totals: Sequence[Total]) -> set[str]:
    places: Mapping[str, int] = {name: n for n, name in enumerate(table[0])}
    by_number, by_name = by_number_and_name(totals)
    found = set[str]()
    for row in table[1:]:
        if len(row) < len(places):
            continue
        participant = re.sub(r"\D", "", row[places["Identifier"]])
        total = by_number.get(participant) or by_name.get(squeezed(row[places["Full name"]]))
        if total is None:
            continue
        row[places["Grade"]] = scaled(total, number_in(row[places["Maximum Grade"]]))
        if "Feedback comments" in places:
            row[places["Feedback comments"]] = total.feedback
        found.add(total.student)
    return found


def by_number_and_name(totals: Sequence[Total]) -> tuple[dict[str, Total], dict[str, Total]]:
    """Those that a platform has numbered, and the others by a name that is nobody else's.

    Raises:
        UserError: two have one number.
    """
    numbered = [total for total in totals if total.number]
    names = [squeezed(total.student) for total in totals]
    by_number = {total.number: total for total in numbered}
    if len(by_number) < len(numbered):
        twice = next(t for t in numbered if by_number[t.number] is not t)
        raise UserError(
            f"{twice.student!r} and {by_number[twice.number].student!r} have the number "
            f"{twice.number}: one of them is another's: look at their files."
        )
    alone = {
        squeezed(total.student): total
        for total in totals
        if not total.number and names.count(squeezed(total.student)) == 1
    }
    return by_number, alone


def squeezed(name: str) -> str:
    """A name as platforms write it into file names: letters alone, in lower case."""
    return re.sub(r"[\W_]", "", name).casefold()


def number_in(cell: str) -> float | None:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return None


def scaled(total: Total, possible: float | None) -> str:
    """Points out of what the platform gives; where it says nothing, as they are."""
    if not possible or not total.possible:
        return str(total.points)
    return f"{total.points * possible / total.possible:.2f}"


__all__ = ["Filled", "Total", "filled", "totals_of", "write_filled"]
