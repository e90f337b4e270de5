"""The pictures of lesson 21: what stands in them."""

import matplotlib
import pytest

matplotlib.use("Agg")

from decodeloop.course import figures_distillation as figures
from decodeloop.quality import Interval


def test_targets_have_a_bar_for_each_token_and_one_for_the_rest():
    left, right = figures.targets([" a", "b"], {"hard": [1.0, 0.0], "soft": [0.5, 0.2]})
    assert [bar.get_width() for bar in left.patches] == [1.0, 0.0, 0.0]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([0.5, 0.2, 0.3])
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels == ["␣a", "b", "all others"]


def test_a_gradient_is_a_line_for_each_way():
    axis = figures.gradient_sizes([1, 2, 4], {"without": [1, 0.25, 0.06], "with": [1, 1, 1]})
    assert [line.get_label() for line in axis.lines] == ["without", "with"]
    assert axis.lines[0].get_ydata().tolist() == [1, 0.25, 0.06]


def test_losses_stand_beside_each_other_with_the_teachers():
    losses = {"hard": ([5, 4], [5, 6]), "soft": ([5, 4.5], [5, 4])}
    left, right = figures.learning([40, 80], losses, 2.9)
    assert [line.get_ydata()[-1] for line in left.lines] == [4, 4.5]
    assert [line.get_ydata()[-1] for line in right.lines] == [6, 4, 2.9]


def test_each_model_has_its_size_its_perplexity_and_its_interval():
    models = {"large": (2.0, Interval(17, 16, 18)), "small": (0.4, Interval(50, 45, 60))}
    axis = figures.size_and_quality(models)
    assert [text.get_text() for text in axis.texts] == ["large", "small"]
    bars = [c[2][0].get_segments()[0][:, 1].tolist() for c in axis.containers]
    assert bars == [[16, 18], [45, 60]]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.4", "2"]
