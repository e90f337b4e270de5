"""What a lesson weighs, on lessons small enough to count by eye."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decodeloop.course.lessons import read_lesson
from decodeloop.course.weighing import Weight, excess, weigh
from decodeloop.exercises.finding import find

LIGHT = Weight(
    lesson="07_small",
    words=3000,
    code_lines=9000,
    drawing_lines=9000,
    longest_cell=25,
    ignored_outputs=90,
    minutes=60,
    reckoned=60,
)
FRONT = """\
---
lesson:
  title: Small
  part: build
  minutes: 5
  needs: nothing
  builds: a thing
---

# 07 · Small
"""


def code(source, tags=""):
    header = f":tags: [{tags}]\n\n" if tags else ""
    return f"\n```{{code-cell}} ipython3\n{header}{source}\n```\n"


@pytest.fixture
def weighed(tmp_path):
    def read(*parts):
        path = tmp_path / "07_small.md"
        path.write_text(FRONT + "\n".join(parts), "utf-8")
        return weigh(read_lesson(path))

    return read


def test_words_are_those_of_the_prose(weighed):
    empty = weighed()
    assert (empty.lesson, empty.words, empty.minutes) == ("07_small", 2, 5)
    assert weighed("One, *two*; it's `x_1`.", code("three = 4  # five")).words == 2 + 5


def test_lines_that_are_blank_count_nowhere_and_solutions_do(weighed):
    solved = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION"
    found = weighed(code("a = 1\n\n\nb = 2"), code(solved, "exercise"))
    assert (found.code_lines, found.longest_cell) == (4, 2)


def test_an_exercise_may_be_long(weighed):
    assert weighed(code("\n".join(["x = 1"] * 40), "exercise")).longest_cell == 0


@pytest.mark.parametrize(
    ("source", "drawn"),
    [
        ("plt.bar([1], [2])\nplt.show()", 2),
        ("figure, axis = plt.subplots()\naxis.plot([1])\nassert True", 3),
        ("for n in range(3):\n    plt.plot([n])", 2),
        ("a_picture(data)\nplt.show()", 0),
        ("print('plt.bar')", 0),
    ],
)
def test_a_cell_draws_that_calls_pyplot_itself(weighed, source, drawn):
    assert weighed(code(source)).drawing_lines == drawn
    assert weighed(code(source, "exercise")).drawing_lines == 0


def test_outputs_that_nobody_compares_are_counted(weighed):
    found = weighed(code("print(1)", "nbval-ignore-output"), code("print(1)"))
    assert found.ignored_outputs == 1


def test_minutes_are_reading_and_solving_without_what_stretches(weighed):
    prose = " ".join(["word"] * 1800)
    assert weighed(prose).reckoned == 10
    asked = weighed(prose, "\n{{exercise softmax}}\n").reckoned
    assert asked == 10 + find("softmax").minutes
    stretched = weighed(prose, "## Stretch", "\n{{exercise softmax}}\n", prose, "## Recap", prose)
    assert stretched.reckoned == 20


def test_what_is_within_the_measure_has_no_excess():
    assert excess(LIGHT) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"minutes": 61}, "says 61 minutes: expected at most 60"),
        ({"reckoned": 61}, "says 60 minutes, and its prose and exercises alone take 61"),
        ({"words": 3001}, "has 3,001 words: expected at most 3,000"),
        ({"longest_cell": 26}, "has a cell of 26 lines: expected at most 25"),
    ],
)
def test_each_excess_is_one_sentence_with_its_lesson(change, says):
    (sentence,) = excess(replace(LIGHT, **change))
    assert sentence.startswith("07_small ") and says in sentence and sentence.endswith(".")
