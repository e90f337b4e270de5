"""A worked notebook as a page: badges, solutions hidden until asked, the lab edition at hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from decodeloop.course.lessons import STUB
from decodeloop.errors import UserError

Cell = dict[str, Any]  # of nbformat, as JSON
EXERCISE = re.compile(  # what `lessons.exercise_line` makes
    r"^\*\*Exercise `(\w+)`\*\* · (core|stretch) · difficulty ([●○]{3}) · about (\d+) minutes · "
    r'stuck\? `hint\("\w+"\)`$',
    re.MULTILINE,
)
LEVELS = {"●○○": "easy", "●●○": "medium", "●●●": "hard"}
CLOSING = re.compile(r"\n+</details>")


def source_of(cell: Cell) -> str:
    """The text of a cell, which notebooks keep whole or in lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def page(worked: dict[str, Any], lab: dict[str, Any], badges: str, links: str) -> dict[str, Any]:
    """The notebook that Sphinx shows, out of the two editions of a lesson.

    Args:
        badges: HTML below the title; see `lesson_badges`.
        links: Markdown below that: what can be downloaded or opened.

    Raises:
        UserError: the editions have not the same cells, or no title comes first.
    """
    if len(worked["cells"]) != len(lab["cells"]):
        raise UserError(
            f"the worked edition has {len(worked['cells'])} cells and the lab edition "
            f"{len(lab['cells'])}: build the lesson again."
        )
    pairs = list(zip(worked["cells"], lab["cells"], strict=True))[1:]  # the first one calls `begin`
    if not pairs or not source_of(pairs[0][0]).startswith("# "):
        raise UserError("the first text of a lesson has no title: expected a line '# NN · Title'.")
    cells = [made for done, open_ in pairs for made in cells_of(done, open_)]
    title, _, rest = source_of(cells[0]).partition("\n")
    cells[0]["source"] = f"{title}\n\n{badges}\n\n{links}\n{rest}"
    return {**worked, "cells": cells}


def cells_of(worked: Cell, lab: Cell) -> list[Cell]:
    """What becomes of one cell: of an exercise, what is to be written, then the hidden solution."""
    source = source_of(worked)
    if worked["cell_type"] == "markdown":
        return [{**worked, "source": prose(source)}]
    if "exercise" not in worked["metadata"].get("tags", []):
        return [{**worked, "source": source}]
    tags = [*worked["metadata"]["tags"], "hide-input"]
    stub = {
        "cell_type": "markdown",
        "id": f"{worked['id']}-stub",
        "metadata": {},
        "source": f"```python\n{source_of(lab)}\n```",
    }
    hidden = {**worked, "source": source, "metadata": {**worked["metadata"], "tags": tags}}
    return [stub, hidden]


def prose(markdown: str) -> str:
    """A text of a lesson for the site: exercises with badges, and ends of `<details>` that are no
    part of the paragraph before them."""
    return CLOSING.sub("\n\n</details>", EXERCISE.sub(exercise_badges, markdown))


def exercise_badges(match: re.Match[str]) -> str:
    """The heading of an exercise in HTML; `#exercise-NAME` leads to it."""
    name, kind, dots, minutes = match.groups()
    level, full = LEVELS[dots], dots.count("●")
    return (
        f'<p class="exercise" id="exercise-{name}"><strong>Exercise <code>{name}</code></strong> '
        f'{badge(kind)} <span class="course-badge"><span aria-hidden="true">{dots}</span> {level}'
        f'<span class="visually-hidden"> (difficulty {full} of 3)</span></span> '
        f'{badge(f"{minutes} min")} <span>stuck? <code>hint("{name}")</code></span></p>'
    )


def badge(text: str) -> str:
    return f'<span class="course-badge">{escape(text)}</span>'


def lesson_badges(minutes: int, part: str, needs: str, worked: dict[str, Any]) -> str:
    """What stands under a lesson's title, in HTML: minutes, part, exercises, and what is needed."""
    text = "\n".join(source_of(c) for c in worked["cells"] if c["cell_type"] == "markdown")
    kinds = [match[2] for match in EXERCISE.finditer(text)]
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("core", "stretch") if kind in kinds]
    some = [f"{minutes} min", part]
    if counts:
        noun = "exercise" if kinds == ["core"] or kinds == ["stretch"] else "exercises"
        some.append(f"{' + '.join(counts)} {noun}")
    some.append(f"needs {needs[:1].lower() + needs[1:] if needs.startswith('Less') else needs}")
    return f'<p class="badges">{" ".join(badge(text) for text in some)}</p>'


def solutions_shown(cells: Sequence[Cell]) -> list[str]:
    """The ids of cells that would show a solution to one who has not asked."""
    return [
        cell["id"]
        for cell in cells
        if cell["cell_type"] == "code"
        and "exercise" in cell["metadata"].get("tags", [])
        and not {"hide-input", "remove-input"} & set(cell["metadata"]["tags"])
        and STUB not in source_of(cell)
    ]


__all__ = ["EXERCISE", "lesson_badges", "page", "prose", "solutions_shown", "source_of"]
