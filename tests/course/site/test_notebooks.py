"""A worked notebook becomes a page: what is hidden, what is added, what stays."""

from __future__ import annotations

import json

import pytest

from decodeloop.course.building import lesson_paths, notebook_path, project_root
from decodeloop.course.lessons import STUB, exercise_line
from decodeloop.course.site.notebooks import (
    EXERCISE,
    fenced,
    lesson_badges,
    page,
    prose,
    shown_to_all,
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
    _, text, after = page(WORKED, LAB, "", "")["cells"]
    assert text["source"] == (
        f"```python\n{OPEN}\n```\n\n"
        '<details class="solution"><summary>Show the solution</summary>\n\n'
        f"```python\n{SOLUTION}\n```\n\n</details>"
    )
    assert source_of(after) == "f(1)"
    assert "x + 1" not in shown_to_all([text])


def test_what_an_exercise_prints_stays():
    worked = notebook(TITLE, code(SOLUTION, "exercise", outputs=["printed"]))
    _, text, printed = page(worked, notebook(TITLE, code(OPEN, "exercise")), "", "")["cells"]
    assert printed["outputs"] == ["printed"]
    assert printed["metadata"]["tags"] == ["exercise", "remove-input"]
    assert "x + 1" not in shown_to_all([text, printed])


def test_code_that_quotes_code_ends_no_block():
    assert fenced("a = '```'") == "````python\na = '```'\n````"


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


def solution_lines(worked, lab):
    """The lines that the worked edition has and the lab edition has not, long enough to be told."""
    for done, open_ in zip(worked["cells"], lab["cells"], strict=True):
        if "exercise" in done["metadata"].get("tags", []):
            stub = source_of(open_).splitlines()
            yield [x for x in source_of(done).splitlines() if x not in stub and len(x) > 24]


def test_no_lesson_shows_a_solution_to_one_who_has_not_asked():
    root = project_root()
    exercises = 0
    for path in lesson_paths(root):
        worked, lab = (
            json.loads(notebook_path(root, path.stem, kind).read_text("utf-8"))
            for kind in ("worked", "lab")
        )
        cells = page(worked, lab, "", "")["cells"]
        seen = shown_to_all(cells).splitlines()
        whole = "\n".join(map(source_of, cells))
        for lines in solution_lines(worked, lab):
            exercises += 1
            assert all(line in whole for line in lines), path.stem
            # a line of a solution may stand in the lesson's own code too, but never all of them
            assert not lines or any(line not in seen for line in lines), (path.stem, lines)
    assert exercises >= len(all_exercises())
