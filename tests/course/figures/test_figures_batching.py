"""The pictures of lesson 13: what stands in them."""

import math

import matplotlib
import pytest

matplotlib.use("Agg")

from decodeloop.cost import Request
from decodeloop.course import figures_batching as figures
from decodeloop.serve import StepCost, StepTime, pad_waste, static_batch_time


def widths(axis, hatch):
    return sum(patch.get_width() for patch in axis.patches if patch.get_hatch() == hatch)


def test_a_static_batch_has_a_cell_for_each_token_computed_and_hatches_what_nobody_wants():
    prompts, answers = [7, 2, 3, 5], [2, 6, 1, 3]
    axis = figures.static_batch(prompts, answers)
    assert len(axis.patches) == 4 * (7 + 6 - 1)
    padding = sum(patch.get_hatch() == "///" for patch in axis.patches)
    assert padding / (4 * 7) == pytest.approx(pad_waste(prompts))
    ended = sum(patch.get_hatch() == "xxx" for patch in axis.patches)
    assert ended == sum(max(answers) - n for n in answers)
    words = [text.get_text() for text in axis.get_legend().get_texts()]
    assert words == ["prompt", "gives the first token", "padding", "answer", "ended"]
    dots = next(line for line in axis.get_lines() if line.get_marker() == "o")
    assert {math.floor(x) + 1 for x in dots.get_xdata()} == {7}  # the last column of the prompts


def test_a_batch_without_waste_names_none():
    words = figures.static_batch([3, 3], [2, 2]).get_legend().get_texts()
    assert [text.get_text() for text in words] == ["prompt", "gives the first token", "answer"]


def test_a_place_is_unused_from_the_end_of_its_text_to_that_of_its_batch():
    batch = [Request(0.0, 1.0, (2.0, 3.0), 3.0), Request(0.5, 1.0, (2.0, 7.0), 7.0)]
    later = [Request(0.6, 7.0, (8.0,), 8.0)]
    (axis,) = figures.who_waits({"two": batch + later})
    assert widths(axis, "////") == pytest.approx(4.0)
    assert axis.get_title() == "two"


def test_the_parts_of_the_seconds_are_all_of_them_and_padding_costs_what_lengths_alike_would_save():
    cost = StepCost(8.0, 1.0, 0.5, 0.25)
    batches = [([7, 2, 3, 5], [2, 6, 1, 3]), ([4, 4], [3, 3])]
    uses = figures.seconds_by_use(batches, cost)
    assert sum(uses.values()) == pytest.approx(sum(static_batch_time(*b, cost) for b in batches))
    assert uses["once a step"] == 8.0 * (6 + 3)
    assert uses["padding"] == 1.25 * 11
    alike = figures.seconds_by_use(batches[1:], cost)
    assert alike["padding"] == alike["ended rows"] == 0
    # of the steps after the first: 1 row goes on in five, another in one, a third in two
    rows = [1.5 + 0.25 * (7 + k) for k in range(1, 6)]
    assert uses["ended rows"] == pytest.approx(4 * sum(rows) - sum(rows) - rows[0] - sum(rows[:2]))


def test_a_bar_says_how_many_seconds_where_there_is_room():
    parts = dict(zip("abcde", (10.0, 20.0, 0.1, 0.0, 30.0), strict=True))
    axis = figures.where_the_seconds_go({"one": parts})
    assert [text.get_text() for text in axis.texts] == ["10", "20", "30"]


def test_a_bar_is_as_long_as_its_parts():
    parts = dict(zip("abcde", (1.0, 2.0, 0.5, 3.0, 0.25), strict=True))
    axis = figures.where_the_seconds_go({"one": parts, "other": dict.fromkeys("abcde", 1.0)})
    assert max(patch.get_x() + patch.get_width() for patch in axis.patches) == pytest.approx(6.75)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list("abcde")


def test_a_step_that_costs_what_was_fitted_lies_on_the_line():
    cost = StepCost(0.5, 0.25, 0.125, 0.001)
    kinds = [(1, 1, 64), (8, 8, 8 * 512), (100, 1, 100)]
    axis = figures.fit_over_steps([StepTime(*k, cost(*k)) for k in kinds], cost)
    *groups, line = axis.get_lines()
    assert [len(group.get_xdata()) for group in groups] == [1, 1, 1]
    for group in groups:
        assert list(group.get_xdata()) == pytest.approx(list(group.get_ydata()))
    assert list(line.get_xdata()) == list(line.get_ydata())


def test_one_after_another_takes_as_many_times_as_long_and_brings_no_more():
    left, right = figures.step_and_rate([1, 2, 4], [0.1, 0.12, 0.2], [0.05, 0.05, 0.06])
    assert list(left.get_lines()[2].get_ydata()) == pytest.approx([100, 200, 400])
    assert list(right.get_lines()[2].get_ydata()) == pytest.approx([10, 10, 10])


def test_gains_are_drawn_by_name():
    axis = figures.gain_by_batch([1, 2, 4], {"a": [1, 1.5, 2], "b": [1, 0.9, 0.7]})
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b"]
