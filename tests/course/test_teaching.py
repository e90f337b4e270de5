"""What a lecturer is given, held against the lessons and against what the platforms read."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from decodeloop.course.building import lesson_paths
from decodeloop.course.lessons import read_lesson
from decodeloop.course.teaching import (
    chosen,
    exercises_of,
    gift,
    overview,
    plan,
    questions,
    text2qti,
    write_all,
)
from decodeloop.exercises.finding import of_lesson

ROOT = Path(__file__).parents[2]
LESSONS = [read_lesson(path) for path in lesson_paths(ROOT)]
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda x: x.name)


@each_lesson
def test_the_quiz_is_found_whole(lesson):
    text = lesson.path.read_text("utf-8")
    quiz = text.partition("### Quiz\n")[2].partition("\n### ")[0]
    assert len(questions(lesson)) == quiz.count("<summary>") >= 1
    for question in questions(lesson):
        assert question.text and question.answer
        assert "<" not in re.sub(r"\$[^$]*\$|`[^`]*`", "", question.text), question.text


def gift_questions(text):
    """A strict reader of GIFT: title, question and general feedback of each essay."""
    found = []
    for entry in re.split(r"\n\n+", text.strip()):
        if entry.startswith("$CATEGORY: "):
            continue
        match = re.fullmatch(
            r"::((?:[^:\\]|\\.)+)::\[markdown\]((?:[^\\{}~=#]|\\.)+) "
            r"\{####((?:[^\\{}~=#]|\\.)+)\}",
            entry.strip(),
            re.DOTALL,
        )
        assert match, entry
        found.append([re.sub(r"\\([~=#{}:\\])", r"\1", part) for part in match.groups()])
    return found


@each_lesson
def test_moodle_reads_every_question(lesson):
    read = gift_questions(gift(lesson))
    assert len(read) == len(questions(lesson))
    for (title, text, answer), question in zip(read, questions(lesson), strict=True):
        assert title.startswith(f"Lesson {lesson.number}, question ")
        if "$" not in question.text + question.answer:
            assert (text, answer) == (question.text, question.answer)
        assert "$" not in re.sub(r"\\\$", "", text)


@each_lesson
def test_text2qti_reads_every_question(lesson):
    head, *entries = re.split(r"\n\n+", text2qti(lesson).strip())
    assert head == f"Quiz title: Lesson {lesson.number}: {lesson.title}"
    for number, entry in enumerate(entries, start=1):
        question, feedback, essay = entry.split("\n")
        assert question.startswith(f"{number}. ")
        assert feedback.startswith("... ")
        assert essay == "____"
    assert len(entries) == len(questions(lesson))


@each_lesson
def test_a_plan_fills_90_minutes_and_names_every_exercise(lesson):
    text = plan(lesson)
    times = [tuple(map(int, x)) for x in re.findall(r"^\| (\d+)–(\d+) \|", text, re.MULTILINE)]
    assert times[0][0] == 0
    assert times[-1][1] == 90
    assert all(one[1] == other[0] for one, other in pairwise(times))
    assert all(start <= end for start, end in times)
    for exercise in exercises_of(lesson):
        assert f"`{exercise.name}`" in text


def test_exercises_for_the_room_fit_into_it():
    core = [x for x in of_lesson("03").values() if x.kind == "core"]
    there, home = chosen(core)
    assert there and there + home == core
    assert sum(round(1.5 * x.minutes) for x in there) <= 50


@each_lesson
def test_the_minutes_of_a_plan_follow_each_other(lesson):
    spans = re.findall(r"^\| (\d+)–(\d+) \|", plan(lesson), re.MULTILINE)
    assert (spans[0][0], spans[-1][1]) == ("0", "90")
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert all(int(end) >= int(begin) for begin, end in spans)
    assert int(spans[1][1]) - int(spans[1][0]) <= 40, "nobody watches for so long"


def test_a_term_has_every_lesson_once_in_its_order():
    text = overview(LESSONS)
    for weeks in (6, 12):
        table = text.partition(f"## {weeks} weeks")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| (\d+) \| (.+?) \|", table, re.MULTILINE)
        assert [int(week) for week, _ in rows] == list(range(1, weeks + 1))
        said = " ".join(names for _, names in rows)
        wanted = [f"{x.number} {x.title}" for x in LESSONS if x.number[0].isdigit()]
        places = [said.index(name) for name in wanted]
        assert places == sorted(places)


def test_everything_is_written(tmp_path):
    written = write_all(LESSONS[:2], tmp_path / "teaching")
    assert sorted(path.name for path in written) == sorted(
        path.name for path in (tmp_path / "teaching").iterdir()
    )
    assert len(written) == 1 + 2 * 3
