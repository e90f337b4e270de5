"""The pictures of lesson 09: what stands in them."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from decodeloop.course import figures_memory as figures


def axes():
    return plt.gcf().axes


def test_weights_are_the_same_below_all_caches():
    figures.weights_and_caches([1, 2], 5e6, [1e6, 2e6])
    bars = axes()[0].patches
    assert [bar.get_height() for bar in bars] == [5, 5, 1, 2, 6, 12]
    assert [bar.get_y() for bar in bars[2:4]] == [5, 5]


def test_one_layer_stands_apart_with_its_humps():
    layer = [1.0, 6, 2, 20, 30, 9, 4, 15, 3]
    figures.held_during_a_prefill(layer * 4, layers=4, tables=28.0)
    first, one, end = axes()
    assert first.get_title() == "the first 4 of 4 layers"
    assert list(one.lines[0].get_ydata()) == layer
    words = {text.get_text(): text.get_position() for text in one.texts}
    assert words["attention: exp, then /"][0] == 4
    assert words["feed-forward"] == (7, 16)
    assert len(end.lines[0].get_ydata()) == 22
    assert figures.second_hump(layer * 4, layers=4) == 15


def test_stages_are_lines_and_measured_are_dots():
    stages = {name: [1, 2] for name in "abcd"}
    figures.activations_by_length([8, 16], stages, {8: 1.5}, [8, 16])
    (axis,) = axes()
    assert [list(line.get_ydata()) for line in axis.lines] == [[1, 2]] * 4 + [[1.5]]


def test_a_length_at_which_nothing_fits_is_left_out():
    frontiers = {"a": [4, 2, 1], "b": [4, 0, 0], "c": [8, 4, 2], "d": [1, 1, 0]}
    figures.texts_that_fit([512, 1024, 2048], frontiers)
    assert [len(line.get_xdata()) for line in axes()[0].lines] == [3, 1, 3, 2]
