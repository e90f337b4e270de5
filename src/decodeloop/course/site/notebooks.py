"""A worked notebook as a page: badges, solutions hidden until asked, the lab edition at hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from decodeloop.errors import UserError

Cell = dict[str, Any]  # of nbformat, as JSON
EXERCISE = re.compile(  # what `lessons.exercise_line` makes
    r"^\*\*Exercise `(\w+)`\*\* · (core|stretch) · difficulty ([●○]{3}) · about (\d+) minutes · "
    r'stuck\? `hint\("\w+"\)`$',
    re.MULTILINE,
)
LEVELS = {"●○○": "easy", "●●○": "medium", "●●●": "hard"}
SUMMARY = '<details class="solution"><summary>Show the solution</summary>'
SOLUTION = re.compile(re.escape(SUMMARY) + ".*?</details>", re.DOTALL)
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
    tags = worked["metadata"].get("tags", [])
    if "exercise" not in tags:
        return [{**worked, "source": source}]
    text = {
        "cell_type": "markdown",
        "id": f"{worked['id']}-text",
        "metadata": {},
        "source": f"{fenced(source_of(lab))}\n\n{SUMMARY}\n\n{fenced(source)}\n\n</details>",
    }
    if not worked["outputs"]:
        return [text]
    metadata = {**worked["metadata"], "tags": [*tags, "remove-input"]}
    return [text, {**worked, "source": source, "metadata": metadata}]


def fenced(code: str) -> str:
    """Python in Markdown, whatever the code itself quotes.

    >>> fenced("x = 1")
    '```python\\nx = 1\\n```'
    """
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", code))])
    return f"{fence}python\n{code}\n{fence}"


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


def shown_to_all(cells: Sequence[Cell]) -> str:
    """The code and text of a page that one sees who has not asked for solutions."""
    seen = []
    for cell in cells:
        if "remove-input" not in cell["metadata"].get("tags", []):
            seen.append(SOLUTION.sub("", source_of(cell)))
    return "\n".join(seen)


__all__ = ["EXERCISE", "lesson_badges", "page", "prose", "shown_to_all", "source_of"]
