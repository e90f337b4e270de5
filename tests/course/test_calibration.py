import math

import pytest

from decodeloop.course.calibration import Guess, guesses, summary
from decodeloop.course.predictions import predict, reveal
from decodeloop.course.progress import Progress
from decodeloop.course.session import KEY, Session


def guess(value, measured, lesson="06_x", name="a"):
    return Guess(lesson, name, value, measured, "s")


@pytest.mark.parametrize(
    ("value", "measured", "ratio", "factor"),
    [
        (30, 10, 3, 3),
        (2.5, 10, 0.25, 4),
        (-2, -1, 2, 2),
        (10, 10, 1, 1),
        (0, 10, None, None),
        (10, 0, None, None),
        (-1, 1, None, None),
        (math.nan, 1, None, None),
        (1, math.inf, None, None),
        (1e300, 1e-300, None, None),
    ],
)
def test_a_guess_is_a_factor_off_or_has_none(value, measured, ratio, factor):
    assert guess(value, measured).ratio == (None if ratio is None else pytest.approx(ratio))
    assert guess(value, measured).factor == (None if factor is None else pytest.approx(factor))


def test_the_summary_counts_each_guess_once():
    made = [guess(10, 10), guess(20, 10), guess(50, 10), guess(1, 10), guess(0, 10)]
    assert summary(made) == (
        "5 guesses: 2 within a factor 2, half of them within 3.5; 1 too low, 2 too high; "
        "1 without a factor."
    )
    assert summary([guess(0, 10)]).startswith("1 guess, and none that can be set beside")


def test_guesses_are_in_the_order_of_the_lessons():
    noted = {
        f"{lesson}: {name}": {"lesson": lesson, "guess": 1, "measured": 2, "unit": "s"}
        for lesson, name in [("10_c", "x"), ("06_b", "z: y"), ("06_b", "w")]
    }
    assert [(g.lesson, g.name) for g in guesses(noted)] == [
        ("06_b", "w"),
        ("06_b", "z: y"),
        ("10_c", "x"),
    ]


@pytest.fixture
def at_work(notebook, tmp_path):
    """A notebook of lesson 06 in a work folder."""
    Progress(tmp_path).start()
    notebook[KEY] = Session("06_x", "lab", tmp_path)
    return Progress(tmp_path)


def test_a_guess_is_kept_when_it_meets_its_measurement(at_work):
    predict("time", 3, "ms")
    predict("bytes", ..., "bytes")
    assert at_work.read() == {}
    reveal("time", measured=4.5, formula=4.0, unit="ms")
    reveal("bytes", measured=4, unit="bytes")  # nobody guessed
    [made] = guesses(at_work.read()["predictions"])
    assert made == Guess("06_x", "time", 3, 4.5, "ms")


def test_a_guess_that_was_made_again_after_the_measurement_does_not_count(at_work):
    for value in (1, 2, 4.5):
        predict("time", value, "ms")
        reveal("time", measured=4.5)
    [made] = guesses(at_work.read()["predictions"])
    assert made.guess == 1
