"""The pictures of lessons 01 and 02: what stands in them."""

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

from pictures import drawn

from decodeloop.course import figures_attention as figures


def heights(axis):
    return [bar.get_height() for bar in axis.patches]


def test_an_arc_is_as_wide_as_what_is_taken():
    weights = torch.tensor([0.25, 0.0, 0.5, 0.25])
    axis = drawn(figures.what_the_last_token_takes(weights, list("abcd"), {" x": 0.6, " y": 0.1}))
    first, second, third = axis.lines  # the last token takes from itself without an arc
    assert first.get_linewidth() < third.get_linewidth()
    assert second.get_linewidth() < 1
    assert [line.get_xdata()[0] for line in axis.lines] == [0, 1, 2]
    assert all(line.get_xdata()[-1] == pytest.approx(3) for line in axis.lines)
    said = [text.get_text() for text in axis.texts]
    assert {"25%", "50%", "a", "d", "x 60%", "y 10%"} <= set(said)


def test_five_masks_stand_in_the_order_of_the_text():
    axes = drawn(figures.who_may_look_where())
    assert [axis.get_title()[:1] for axis in axes] == list("12345")
    shown = [axis.images[0].get_array() for axis in axes]
    assert [mask.sum() for mask in shown] == [25, 15, 9, 12, 15]
    assert shown[2].tolist() == [[True] * 4 + [False], [True] * 5]


def test_each_head_has_a_number_of_keys():
    axis = drawn(figures.keys_looked_at(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 5))
    assert [list(line.get_ydata()) for line in axis.lines] == [[1, 3], [2, 4], [5, 5]]


def test_scores_spread_like_the_root_of_the_dimension():
    left, right = drawn(figures.why_scores_are_divided([1, 4], [1.1, 2.1], [0.2, 0.9], [0.2, 0.25]))
    assert [list(line.get_ydata()) for line in left.lines] == [[1, 2], [1.1, 2.1]]
    assert [list(line.get_ydata()) for line in right.lines[:2]] == [[0.2, 0.9], [0.2, 0.25]]


def test_without_the_sink_rows_sum_to_one_again():
    maps = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.8, 0.05, 0.15]]).expand(1, 1, 3, 3)
    sink, whole, rest = drawn(figures.the_sink(torch.tensor([0.65]), maps, ["a", "b", "c"], (0, 0)))
    assert heights(sink) == pytest.approx([0.65])
    assert whole.images[0].get_array().shape == (3, 3)
    assert rest.images[0].get_array().flatten().tolist() == pytest.approx([1, 0, 0.25, 0.75])


def test_the_law_ends_where_the_first_line_does():
    seconds = {"yours": [0.01, 0.05], "fused": [0.01, 0.02]}
    held = {"yours": [2**20, 2**22], "fused": [2**20, 2**21]}
    left, right = drawn(figures.time_and_memory([128, 256], seconds, held, [2**19, 2**21]))
    assert list(left.lines[2].get_ydata()) == pytest.approx([12.5, 50])
    assert [list(line.get_ydata()) for line in right.lines] == [[1, 4], [1, 2], [0.5, 2]]


def test_each_head_is_a_dot_and_those_with_names_have_them():
    probability = torch.full((4, 2), 0.5)
    axis = drawn(figures.one_head_off(probability, 0.6, {(1, 0): (1.0, 0.1)}, [(3, 1)]))
    assert [text.get_text() for text in axis.texts] == ["layer 1, head 0"]
    squares = [line for line in axis.lines if line.get_marker() == "s"]
    assert [list(line.get_xdata()) for line in squares] == [[3]]


def test_only_heads_that_change_something_are_shown_the_worst_first():
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    axis = drawn(figures.loss_by_head([0.1, -0.3, 0.001, 0.5], places, least=0.02))
    assert heights(axis) == [0.5, 0.1, -0.3]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1, 1", "0, 0", "0, 1"]


def test_what_was_added_up_is_dotted():
    lines = {"a": [0.6, 0.5], "b": [0.6, 0.1], "added": [0.6, 0.2]}
    axis = drawn(figures.heads_off_together([0, 2], lines))
    assert [line.get_linestyle() for line in axis.lines] == ["-", "--", ":"]
