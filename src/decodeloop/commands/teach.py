"""`decodeloop teach`: plans, quizzes, slides and a term, made from the lessons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decodeloop.errors import UserError


def teach(
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("teaching"),
    slides: Annotated[bool, typer.Option("--slides", help="Slides, too.")] = False,
    assets: Annotated[
        str,
        typer.Option(help="Where slides find reveal.js/ and mathjax/; else in the network."),
    ] = "",
) -> None:
    """Write what a lecturer needs: plans for 90 minutes, quizzes for Moodle and Canvas, a term.

    With --slides also figures, formulas, questions and exercises of each lesson for the wall, by
    reveal.js: arrows turn, S shows the notes.
    """
    from decodeloop.course.building import lesson_paths, project_root
    from decodeloop.course.lessons import read_lesson
    from decodeloop.course.slides import write_slides
    from decodeloop.course.teaching import write_all

    root = project_root()
    lessons = [read_lesson(path) for path in lesson_paths(root)]
    try:
        written = write_all(lessons, out)
        if slides:
            written += write_slides(lessons, root, out, assets)
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror}): give another --out.") from None
    print(f"{out}: {len(written)} files; begin with term.md")
