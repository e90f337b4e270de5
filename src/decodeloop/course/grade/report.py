"""Pages that students can be handed: verdicts and hints, and nothing of what was expected.

A page a student, and one with the table for who teaches; each stands by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from decodeloop.course.grade.table import Row, best_of
from decodeloop.errors import UserError
from decodeloop.exercises import finding

MARKS = {
    "right": "✓",
    "wrong": "✗",
    "not attempted": "○",
    "syntax error": "✗",
    "timed out": "✗",
    "refused": "–",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 2rem auto;
  max-width: 46rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid #ccc; vertical-align: top; }
.right { color: #14602b; } .wrong, .timed, .syntax { color: #9b1c1c; } code { font-size: .95em; }
section { border-left: 4px solid #ccc; padding-left: 1rem; margin: 1.5rem 0; }
.note { background: #fff4d6; padding: .5rem 1rem; }
"""
UNCONTAINED = (
    "These grades were made without a sandbox (--trust): nothing kept a submission from the files "
    "of the grader, the network, or what others handed in."
)
OWN_WORK = "The verdict says that an answer works, not whose work it is."


def write_report(folder: Path, rows: Sequence[Row], trust: bool) -> None:
    """Write `index.html` and a page for each student.

    Raises:
        UserError: the folder can't be written.
    """
    pages = file_names(list(dict.fromkeys(row.student for row in rows)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for student, name in pages.items():
            mine = [row for row in rows if row.student == student]
            (folder / name).write_text(student_page(student, mine, trust), "utf-8")
        (folder / "index.html").write_text(index_page(rows, pages, trust), "utf-8")
    except OSError as error:
        raise UserError(
            f"the report can't be written into {folder} ({error.strerror}): give another folder."
        ) from None


def file_names(students: Sequence[str]) -> dict[str, str]:
    """A file name for each student: letters, digits, and a number that makes it the only one."""
    return {
        student: f"{number:03d}-{re.sub(r'[^A-Za-z0-9]+', '-', student).strip('-')[:40]}.html"
        for number, student in enumerate(students, start=1)
    }


def page(title: str, body: str, trust: bool) -> str:
    warning = f'<p class="note">{UNCONTAINED}</p>' if trust else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f'</title><meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{warning}{body}<p>{OWN_WORK}</p></body></html>\n"
    )


def student_page(student: str, rows: Sequence[Row], trust: bool) -> str:
    """Verdicts, hints and points of one student."""
    parts = []
    for lesson in dict.fromkeys(row.lesson for row in rows):
        mine = [row for row in rows if row.lesson == lesson]
        points = sum(row.grade.points for row in best_of(mine).values())
        parts.append(
            f"<h2>Lesson {escape(lesson or '?')}: {points} of {possible(lesson)} points</h2>"
        )
        parts += [section(row) for row in mine]
    return page(student, "".join(parts), trust)


def section(row: Row) -> str:
    grade = row.grade
    kind = escape(grade.verdict.split()[0])
    told = [
        f'<section><p><code>{escape(grade.exercise)}</code>: <span class="{kind}">'
        f"{MARKS[grade.verdict]} {escape(grade.verdict)}</span>, {grade.points} points</p>"
    ]
    told += [f"<p>{escape(text)}</p>" for text in (grade.what, grade.hint) if text]
    return "".join(told) + "</section>"


def index_page(rows: Sequence[Row], pages: Mapping[str, str], trust: bool) -> str:
    """The table of all, for who teaches."""
    lines = []
    for row in rows:
        grade = row.grade
        kind = escape(grade.verdict.split()[0])
        same = escape("; ".join(row.same_as))
        cells = [
            f'<a href="{escape(pages[row.student])}">{escape(row.student)}</a>',
            escape(row.lesson),
            f"<code>{escape(grade.exercise)}</code>",
            f'<span class="{kind}">{MARKS[grade.verdict]} {escape(grade.verdict)}</span>',
            *(escape(grade.mistake), str(grade.points), f"{grade.seconds:.1f} s", same),
        ]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    names = ("student", "lesson", "exercise", "verdict", "mistake", "points", "time", "same as")
    head = "".join(f"<th>{name}</th>" for name in names)
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return page("Grades", body, trust)


def possible(lesson: str) -> int:
    """The points of a lesson: the difficulties of its exercises."""
    if lesson not in finding.numbers().values():
        return 0
    return sum(exercise.difficulty for exercise in finding.of_lesson(lesson).values())


__all__ = ["possible", "write_report"]
