"""Exercises are found by name, and only their lesson's file is imported."""

import subprocess
import sys

from decodeloop.exercises import finding


def test_what_the_sources_tell_is_what_the_modules_hold():
    told = {}
    for name, number in finding.numbers().items():
        told.setdefault(number, set()).add(name)
    assert told == {number: set(finding.of_lesson(number)) for number in told}
    assert list(told) == sorted(told)
    assert set(finding.all_exercises()) == set(finding.numbers())


def test_every_exercise_says_the_lesson_that_it_stands_in():
    for name, number in finding.numbers().items():
        assert finding.find(name).lesson.split("_")[0] == number


def test_a_broken_lesson_breaks_no_other():
    code = """
import sys
sys.modules["decodeloop.exercises.lesson_08"] = None  # its import now raises
from decodeloop.course import check, hint
from decodeloop.model import softmax
hint("softmax")
check(softmax)
imported = {m for m in sys.modules if m.startswith("decodeloop.exercises.lesson_")}
assert imported == {"decodeloop.exercises.lesson_01", "decodeloop.exercises.lesson_08"}, imported
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
