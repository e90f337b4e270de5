"""`decodeloop teach`: plans, quizzes and a term, made from the lessons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decodeloop.errors import UserError


def teach(
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("teaching"),
) -> None:
    """Write what a lecturer needs: plans for 90 minutes, quizzes for Moodle and Canvas, a term."""
    from decodeloop.course.building import lesson_paths, project_root
    from decodeloop.course.lessons import read_lesson
    from decodeloop.course.teaching import write_all

    lessons = [read_lesson(path) for path in lesson_paths(project_root())]
    try:
        written = write_all(lessons, out)
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror}): give another --out.") from None
    print(f"{out}: {len(written)} files; begin with term.md")
