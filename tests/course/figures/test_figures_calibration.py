"""The picture of a learner's guesses: what stands in it."""

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from decodeloop.course.calibration import Guess
from decodeloop.course.figures import BLUE, RED
from decodeloop.course.figures_calibration import WIDEST, calibration, save_calibration

MADE = [
    Guess("01_a", "x", 10, 10, "s"),
    Guess("01_a", "y", 50, 10, "s"),
    Guess("06_b", "z", 1, 10, "s"),
    Guess("06_b", "nothing", 0, 10, "s"),
    Guess("10_c", "far", 1e9, 10, "s"),
]


@pytest.fixture
def ax():
    yield plt.figure().subplots()
    plt.close("all")


def points(ax):
    return [line for line in ax.get_lines() if line.get_marker() in ("o", "^", "v")]


def test_each_guess_with_a_factor_is_a_point_that_points_to_where_it_is_off(ax):
    calibration(MADE, ax)
    drawn = [(p.get_ydata()[0], p.get_marker(), p.get_color()) for p in points(ax)]
    assert drawn == [(1, "o", BLUE), (5, "^", RED), (0.1, "v", RED), (WIDEST, "^", RED)]
    assert [p.get_xdata()[0] for p in points(ax)] == [0, 1, 2, 3]


def test_lessons_stand_below_their_guesses(ax):
    calibration(MADE, ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["01", "06", "10"]
    assert list(ax.get_xticks()) == [0.5, 2, 3]


@pytest.mark.parametrize("made", [MADE[:1], MADE[3:4]])
def test_one_guess_or_none_that_can_be_drawn(ax, made):
    calibration(made, ax)
    bottom, top = ax.get_ylim()
    assert bottom < 0.5 < 2 < top


def test_it_is_written_as_its_ending_says(tmp_path):
    save_calibration(MADE, "five guesses", tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text("utf-8")
    with pytest.raises(ValueError):
        save_calibration(MADE, "five guesses", tmp_path / "a.odd")
