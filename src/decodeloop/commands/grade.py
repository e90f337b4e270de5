"""`decodeloop grade`: a table of what students have handed in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decodeloop.commands.shared import check_at_least, interruptible, note

if TYPE_CHECKING:
    from decodeloop.course.grade.table import Row

GUESSED = 1_000_000  # a table for each seed below it would not be too large
MARKS = {
    "right": "[green]✓[/]",
    "wrong": "[red]✗[/]",
    "not attempted": "○",
    "syntax error": "[red]syntax[/]",
    "timed out": "[red]time[/]",
    "refused": "[yellow]refused[/]",
}


def grade(
    submissions: Annotated[
        list[Path], typer.Argument(help="Folders, zips of a learning platform, or notebooks.")
    ],
    lesson: Annotated[
        str | None, typer.Option(help="Its number, such as 01; else each notebook's own.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Submissions at a time.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Also try inputs drawn by this number, which is nobody's guess."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table here.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write pages for students into this folder.")
    ] = None,
    gradebook: Annotated[
        list[Path] | None,
        typer.Option(help="Fill a copy of what Canvas or Moodle has exported (.filled.csv)."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Where grades are kept; beside SUBMISSIONS if not given.")
    ] = None,
    scheduler: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Grade on the workers of this dask.distributed one."),
    ] = "",
    trust: Annotated[
        bool, typer.Option("--trust", help="Without bubblewrap: submissions run as you do.")
    ] = False,
) -> None:
    """Grade notebooks: right, wrong with the named mistake, not attempted, for each exercise.

    Answers run under bubblewrap, without network or your files. What was graded is kept, and not
    graded again.
    """
    check_at_least(1, jobs=jobs)
    check_at_least(0, seed=seed)
    with interruptible():
        from decodeloop.course.grade.session import Asked, session
    from decodeloop.bar import progress_bar

    with progress_bar() as show:
        asked = Asked(
            paths=submissions,
            lesson=lesson,
            jobs=jobs or os.cpu_count() or 1,
            seed=seed,
            record=record,
            trust=trust,
            scheduler=scheduler,
        )
        made = session(asked, show)
    write(made, csv, html, gradebook or [], trust)
    show_table(made)
    if seed is not None and seed < GUESSED:
        note(f"--seed {seed} can be guessed, and its inputs drawn by others: take nine digits.")
    if trust:
        note("--trust: nothing was contained; submissions could read and write your files.")


def write(
    made: list[Row], csv: Path | None, html: Path | None, gradebooks: list[Path], trust: bool
) -> None:
    """The files that were asked for."""
    from decodeloop.course.grade.gradebooks import write_filled
    from decodeloop.course.grade.report import write_report
    from decodeloop.course.grade.table import write_csv

    if csv is not None:
        write_csv(csv, made)
    if html is not None:
        write_report(html, made, trust)
    for path in gradebooks:
        target, filled = write_filled(path, made)
        note(f"{target} has the points of {filled.found} students.")
        if filled.missing:
            note(f"in no row of it: {', '.join(filled.missing)}.")


def show_table(made: list[Row]) -> None:
    """A line a student, a column an exercise; lesson by lesson."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from decodeloop.course.grade.table import best_of

    console = Console()
    for number in dict.fromkeys(row.lesson for row in made):
        of_it = [row for row in made if row.lesson == number]
        names = list(dict.fromkeys(row.grade.exercise for row in of_it))
        table = Table(title=f"lesson {number or '?'}", box=None)
        for name in ("student", *names, "points"):
            table.add_column(name, overflow="fold")
        for student in dict.fromkeys(row.student for row in of_it):
            mine = best_of(row for row in of_it if row.student == student)
            marks = [MARKS[mine[n].grade.verdict] if n in mine else "" for n in names]
            points = sum(row.grade.points for row in mine.values())
            table.add_row(escape(student), *marks, str(points))
        console.print(table)
