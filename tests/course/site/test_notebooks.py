"""A worked notebook becomes a page: what is hidden, what is added, what stays."""

from __future__ import annotations

import json

import pytest

from decodeloop.course.building import lesson_paths, notebook_path, project_root
from decodeloop.course.lessons import STUB, exercise_line
from decodeloop.course.site.notebooks import (
    EXERCISE,
    lesson_badges,
    page,
    prose,
    solutions_shown,
    source_of,
)
from decodeloop.errors import UserError
from decodeloop.exercises import all_exercises

SOLUTION = "def f(x):\n    return x + 1"
OPEN = f"def f(x):\n    {STUB}"


def markdown(source):
    return {"cell_type": "markdown", "id": "m", "metadata": {}, "source": source}


def code(source, *tags, outputs=()):
    metadata = {"tags": list(tags)} if tags else {}
    cell = {"cell_type": "code", "id": "c", "metadata": metadata, "source": source}
    return {**cell, "outputs": list(outputs), "execution_count": 1}


def notebook(*cells):
    return {"cells": [code("begin()"), *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


TITLE = markdown(["# 01 · Attention\n", "\n", "You will build."])
WORKED = notebook(TITLE, code(SOLUTION, "exercise"), code("f(1)", outputs=["2"]))
LAB = notebook(TITLE, code(OPEN, "exercise"), code("f(1)"))


def test_the_cell_that_begins_is_left_out_and_the_title_comes_first():
    cells = page(WORKED, LAB, "<p>badges</p>", "links")["cells"]
    assert cells[0]["source"] == ("# 01 · Attention\n\n<p>badges</p>\n\nlinks\n\nYou will build.")
    assert "begin()" not in json.dumps(cells)


def test_a_solution_is_hidden_behind_what_is_to_be_written():
    _, stub, solution, _ = page(WORKED, LAB, "", "")["cells"]
    assert stub["cell_type"] == "markdown"
    assert stub["source"] == f"```python\n{OPEN}\n```"
    assert source_of(solution) == SOLUTION
    assert solution["metadata"]["tags"] == ["exercise", "hide-input"]


def test_outputs_stay_and_the_notebook_that_was_given_is_not_changed():
    before = json.dumps(WORKED)
    assert page(WORKED, LAB, "", "")["cells"][-1]["outputs"] == ["2"]
    assert json.dumps(WORKED) == before


def test_editions_that_are_not_alike_are_refused():
    with pytest.raises(UserError, match=r"4 cells and the lab edition 3: build the lesson again"):
        page(WORKED, notebook(TITLE, code(OPEN)), "", "")


def test_a_lesson_without_a_title_is_refused():
    untitled = notebook(markdown("no title"))
    with pytest.raises(UserError, match="has no title"):
        page(untitled, untitled, "", "")


def test_every_exercise_of_the_course_gets_its_badges():
    for exercise in all_exercises().values():
        line = exercise_line(exercise)
        assert EXERCISE.fullmatch(line), line
        made = prose(f"Before.\n\n{line}\n\nAfter.")
        assert f'id="exercise-{exercise.name}"' in made
        assert f">{exercise.kind}</span>" in made
        assert f">{exercise.minutes} min</span>" in made
        assert f"(difficulty {exercise.difficulty} of 3)" in made


def test_the_end_of_what_is_hidden_stands_apart_from_its_text():
    assert prose("<details>\n\nyes\n</details>") == "<details>\n\nyes\n\n</details>"
    assert prose("<details>\n\nyes\n\n</details>") == "<details>\n\nyes\n\n</details>"


def test_the_badges_of_a_lesson_count_its_exercises():
    line = '**Exercise `{}`** · {} · difficulty ●○○ · about 4 minutes · stuck? `hint("{}")`'
    some = notebook(
        markdown(line.format("a", "core", "a")),
        markdown(line.format("b", "core", "b")),
        markdown(line.format("c", "stretch", "c")),
    )
    made = lesson_badges(60, "build", "lesson 00", some)
    for text in ("60 min", "build", "2 core + 1 stretch exercises", "needs lesson 00"):
        assert f">{text}</span>" in made
    assert "exercise" not in lesson_badges(60, "build", "lesson 00", notebook())


def test_no_lesson_shows_a_solution_to_one_who_has_not_asked():
    root = project_root()
    hidden = 0
    for path in lesson_paths(root):
        worked, lab = (
            json.loads(notebook_path(root, path.stem, kind).read_text("utf-8"))
            for kind in ("worked", "lab")
        )
        cells = page(worked, lab, "", "")["cells"]
        assert not solutions_shown(cells), path.stem
        hidden += sum("hide-input" in c["metadata"].get("tags", []) for c in cells)
        assert solutions_shown(worked["cells"]) or not any(
            "exercise" in c["metadata"].get("tags", []) for c in worked["cells"]
        )
    assert hidden >= len(all_exercises())
