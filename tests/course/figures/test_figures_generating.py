"""The pictures of lessons 04, 05, 07 and 07b: what stands in them."""

import matplotlib
import pytest
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from decodeloop.course import figures_generating as figures


def axes():
    return plt.gcf().axes


def lines(axis):
    return [list(line.get_ydata()) for line in axis.lines]


def test_the_parts_of_a_model_fill_its_bar():
    figures.where_parameters_are({"a": [20.0, 30.0, 50.0], "b": [10.0, 10.0, 80.0]})
    (axis,) = axes()
    assert [bar.get_width() for bar in axis.patches] == [20, 10, 30, 10, 50, 80]
    assert [bar.get_x() for bar in axis.patches] == [0, 0, 20, 10, 50, 20]


def test_between_two_layers_it_is_fetched_and_not_readable():
    figures.fetched_before_readable([0.0, 0.7, 0.7], [0.0, 0.0, 0.6], first=1, readable=2)
    (axis,) = axes()
    assert lines(axis) == [[0.0, 0.7, 0.7], [0.0, 0.0, 0.6]]
    assert axis.patches[0].get_x() == 1 and axis.patches[0].get_width() == 1


def test_bars_are_milliseconds():
    figures.seconds_of_tokens({"simple": [0.5, 0.5], "library": [0.5, 0.125]})
    (axis,) = axes()
    assert [bar.get_height() for bar in axis.patches] == [500, 500, 500, 125]


def test_a_total_is_a_price_for_each_pass_and_each_position():
    figures.pass_and_total([10, 20], [0.3, 0.4], 0.2, 0.01, [5, 11, 18], [0.3, 0.6, 0.9])
    left, right = axes()
    assert lines(left)[0] == pytest.approx([300, 400])
    assert lines(right)[0] == pytest.approx([0.25, 0.51, 0.78])
    assert lines(right)[1] == pytest.approx([0.25, 0.55, 0.9])


def test_no_change_lies_at_the_bottom():
    changes = {"open": torch.tensor([0.0, 0.3]), "causal": torch.tensor([0.0, 0.0])}
    figures.change_of_the_old(changes)
    assert lines(axes()[0]) == [pytest.approx([1e-8, 0.3]), pytest.approx([1e-8, 1e-8])]


def test_texts_are_lines_of_probabilities():
    figures.probability_along(torch.tensor([0.5, 0.25]), torch.tensor([1.0]), skipped=8)
    assert lines(axes()[0]) == [[0.5, 0.25], [1.0]]
    assert "first 8" in axes()[0].get_xlabel()


def test_a_share_stands_at_its_bar():
    figures.repetition_and_entropy(
        {"greedy": 0.75, "drawn": 0.0}, {"greedy": torch.tensor([1.0]), "drawn": torch.tensor([2])}
    )
    left, right = axes()
    assert [bar.get_width() for bar in left.patches] == [0.75, 0.0]
    assert [text.get_text() for text in left.texts] == ["75%", "0%"]
    assert lines(right) == [[1.0], [2.0]]


def test_each_sentence_is_a_line_from_the_first_time_on():
    means = {name: torch.tensor([0.25, 0.5]) for name in ("one", "two", "three")}
    figures.repetition_feeds_itself(means)
    assert lines(axes()[0]) == [[0.25, 0.5]] * 3
    assert list(axes()[0].lines[0].get_xdata()) == [1, 2]
