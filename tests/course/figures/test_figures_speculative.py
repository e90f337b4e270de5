"""The pictures of lesson 22: what stands in them."""

import matplotlib
import pytest

matplotlib.use("Agg")

from decodeloop.course import figures_speculative as figures


def test_each_token_has_a_box_that_says_who_made_it():
    axis = figures.who_said(["def", " f", "\n"], [False, True, True])
    assert [text.get_text() for text in axis.texts] == ["def", "␣f", "⏎"]
    filled = [box.get_facecolor()[3] > 0 for box in axis.patches]
    assert filled == [False, True, True]


def test_a_long_text_is_broken_into_lines_of_whole_tokens():
    axis = figures.who_said(["a" * 20] * 7, [True] * 7)
    lines = [int(box.get_y()) for box in axis.patches]
    assert lines == [0, 0, 1, 1, 2, 2, 3]
    assert max(box.get_x() + box.get_width() for box in axis.patches) <= figures.PER_LINE


def test_costs_stand_between_none_and_one_after_the_other():
    axis = figures.step_costs([1, 1.2, 1.5], [1, 1, 1])
    lines = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert lines == {
        "one after the other": [1, 2, 3],
        "in one step, measured": [1, 1.2, 1.5],
        "in one step, by its bytes": [1, 1, 1],
    }


def test_the_best_k_of_each_line_is_filled():
    panels = {"free": lambda alpha, k: 1 + alpha * k, "dear": lambda alpha, k: 1 - alpha * k}
    left, right = figures.speed_ups([0.9, 0.5], range(3), panels)
    for axis, best in ((left, 2), (right, 0)):
        dots = [line for line in axis.lines if len(line.get_xdata()) == 1]
        assert [dot.get_xdata()[0] for dot in dots] == [best, best]
    assert left.lines[1].get_ydata().tolist() == pytest.approx([1, 1.9, 2.8])


def test_what_comes_is_as_high_as_the_model_has_it():
    p, q = [0.5, 0.2, 0.3], [0.3, 0.6, 0.1]
    left, right = figures.what_stays(["a", "b", "c"], p, q)
    heights = [bar.get_height() for bar in left.patches]
    assert heights == pytest.approx([*p, *q])
    tops = [bar.get_y() + bar.get_height() for bar in right.patches]
    assert tops[:3] == pytest.approx([0.3, 0.2, 0.1])
    assert tops[3:] == pytest.approx(p)
