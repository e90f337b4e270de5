"""Slides, held against the notebooks that they are made from."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from decodeloop.course.building import lesson_paths
from decodeloop.course.lessons import read_lesson
from decodeloop.course.slides import is_sentence, page, slides, write_slides
from decodeloop.course.teaching import exercises_of, questions

ROOT = Path(__file__).parents[2]
WITH_NOTEBOOK = [
    path for path in lesson_paths(ROOT) if (ROOT / "notebooks" / f"{path.stem}.ipynb").is_file()
]


@pytest.fixture(params=WITH_NOTEBOOK, ids=lambda path: path.stem)
def deck(request):
    lesson = read_lesson(request.param)
    notebook = nbformat.read(ROOT / "notebooks" / f"{lesson.name}.ipynb", as_version=4)
    return lesson, notebook, slides(lesson, notebook)


def test_every_figure_exercise_and_question_has_its_slide(deck):
    lesson, notebook, made = deck
    figures = [
        "".join(output["data"]["image/png"].split())
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert [slide.picture for slide in made if slide.picture] == figures
    text = "\n".join(slide.text for slide in made)
    assert all(f"# `{x.name}`" in text for x in exercises_of(lesson))
    assert [s.text for s in made if s.title.startswith("Question ")] == [
        question.text for question in questions(lesson)
    ]


def test_no_slide_is_a_wall_of_text_or_shows_a_solution(deck):
    _, _, made = deck
    assert len(made) <= 60
    for slide in made:
        assert len(slide.text.split()) <= 75, slide.title
        assert "SOLUTION" not in slide.text
        assert "    " not in slide.text, "code"
        assert slide.text or slide.picture
        assert slide.title


def test_a_page_has_each_slide_once_and_asks_the_network_for_nothing_with_assets():
    lesson = read_lesson(WITH_NOTEBOOK[0])
    made = slides(lesson, nbformat.read(ROOT / "notebooks" / f"{lesson.name}.ipynb", as_version=4))
    html = page(made, "A & B", assets="../wall")
    body = html.partition("<body")[2]
    assert len(re.findall(r"<section>\s*<section>", body)) == len(made)
    assert "../wall/reveal.js/dist/reveal.js" in html
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=\"http", html)
    assert page(made, "A & B", assets="../wall") == html


def test_a_lesson_without_a_notebook_has_no_slides(tmp_path):
    assert write_slides([read_lesson(WITH_NOTEBOOK[0])], tmp_path, tmp_path / "out") == []


@pytest.mark.parametrize(
    ("bold", "whole"),
    [
        ("By what factor does the time of attention grow?", True),
        ("A fused operator never writes the table down.", True),
        ("change the last token, and nothing before it may change.", False),
        ("grouped-query attention", False),
    ],
)
def test_a_bold_sentence_is_told_from_a_term(bold, whole):
    assert is_sentence(bold) is whole
