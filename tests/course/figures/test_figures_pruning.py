"""The pictures of lesson 20: what stands in them."""

import matplotlib
import torch

matplotlib.use("Agg")
from matplotlib.colors import to_hex

from decodeloop.course import figures_pruning as figures
from decodeloop.course.figures import BLUE, GREY
from decodeloop.quality import Interval

ONE, TWO = Interval(1.2, 1.1, 1.4), Interval(30.0, 20.0, 50.0)


def ends_of(axis, dimension):
    return [c[2][0].get_segments()[0][:, dimension].tolist() for c in axis.containers]


def test_the_smaller_half_is_dark_among_the_numbers_and_among_their_squares():
    weight = torch.tensor([[1.0, -1.0, 2.0, -2.0]]).repeat(50, 1)
    for axis, (dark, all_of_it) in zip(
        figures.sizes(weight, 0.5), ((100, 200), (100, 500)), strict=True
    ):
        bars = [(b.get_height(), to_hex(b.get_facecolor()) == BLUE.lower()) for b in axis.patches]
        assert sum(height for height, is_dark in bars if is_dark) == dark
        assert sum(height for height, _ in bars) == all_of_it
        assert f"{dark / all_of_it:.0%}" in axis.get_title()


def test_patterns_show_sizes_crosses_for_zeros_and_what_is_gone():
    full = torch.tensor([[1.0, -2.0, 1.0, 1.0, 5.0], [3.0, 0.0, 1.0, 1.0, 5.0]])
    axes = figures.patterns({"all": full, "half": full[:1]})
    assert axes[0].images[0].get_array().tolist() == [[1, 2, 1, 1, 5], [3, 0, 1, 1, 5]]
    assert axes[0].get_ylim() == axes[1].get_ylim() == (1.5, -0.5)
    assert [line.get_xydata().tolist() for line in axes[0].lines + axes[1].lines] == [[[1, 1]], []]
    lines = axes[0].collections[0].get_segments()
    assert [line[:, 0].tolist() for line in lines] == [[-0.5, -0.5], [3.5, 3.5]]


def test_each_cut_has_its_interval_and_random_ones_are_grey():
    axis = figures.times_as_large({"by size": ONE, "random 0": TWO}, "half")
    assert ends_of(axis, 0) == [[1.1, 1.4], [20, 50]]
    assert [to_hex(c[0].get_color()) for c in axis.containers] == [BLUE.lower(), GREY.lower()]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["by size", "random 0"]


def test_layers_stand_by_angle_and_by_what_is_lost():
    left, right = figures.layers([0.5, 0.1, 0.2], {0: TWO, 2: ONE})
    assert [bar.get_height() for bar in left.patches] == [90, 18, 36, 36, 90]
    assert [text.get_text() for text in right.texts] == ["layer 2", "layer 0"]
    errors = [c for c in right.containers if hasattr(c, "has_yerr")]
    assert [c[0].get_xydata()[0].tolist() for c in errors] == [[36, 1.2], [90, 30]]


def test_each_model_has_its_bytes_its_quality_and_its_interval():
    axis = figures.bytes_and_quality({"zeros": (540.0, TWO), "narrow": (500.0, ONE)})
    assert ends_of(axis, 1) == [[20, 50], [1.1, 1.4]]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["zeros", "narrow"]
