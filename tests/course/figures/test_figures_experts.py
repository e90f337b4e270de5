"""The pictures of lesson 26: what stands in them."""

import matplotlib
import pytest

matplotlib.use("Agg")

from decodeloop.course import figures_experts as figures


def test_a_curve_goes_from_none_to_all_in_percent():
    axis = figures.few_channels({"steep": [0.0, 0.9, 1.0], "even": [0.0, 0.25, 0.5, 0.75, 1.0]})
    steep, even = axis.lines[:2]
    assert steep.get_xydata().tolist() == [[0, 0], [50, 90], [100, 100]]
    assert even.get_xdata().tolist() == [0, 25, 50, 75, 100]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["steep", "even"]


def test_batches_have_the_experts_on_the_left_and_times_on_the_right():
    left, right = figures.batches([1, 4], {"formula": [2, 6.5], "all": [2, 2]}, {"all": [0.5, 0.6]})
    assert [line.get_ydata().tolist() for line in left.lines] == [[2, 6.5], [2, 2]]
    assert right.lines[0].get_xydata().tolist() == [[1, 0.5], [4, 0.6]]
    assert left.get_xscale() == right.get_yscale() == "log"
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "4"]


def test_bars_stand_beside_each_other_in_each_layer():
    axis = figures.knowing({"shuffled": [0.001, 0.1], "trained": [0.3, 0.4]})
    assert [[bar.get_height() for bar in some] for some in axis.containers] == [
        [0.001, 0.1],
        [0.3, 0.4],
    ]
    assert axis.get_yscale() == "log"
    centres = [bar.get_x() + bar.get_width() / 2 for some in axis.containers for bar in some]
    assert centres == pytest.approx([-0.2, 0.8, 0.2, 1.2])
    assert len({bar.get_hatch() for some in axis.containers for bar in some}) == 2
