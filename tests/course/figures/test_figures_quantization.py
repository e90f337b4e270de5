"""The pictures of lesson 19: what stands in them."""

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

from decodeloop.course import figures_quantization as figures
from decodeloop.quality import Interval


def test_every_number_has_a_cross_on_a_grid_line():
    numbers = torch.tensor([0.9, -0.4, 0.1])
    for axis, step in zip(figures.grids(numbers, {"a": 1.0, "b": 0.25}), (1.0, 0.25), strict=True):
        dots, crosses = (line.get_ydata() for line in axis.lines[-2:])
        assert dots.tolist() == pytest.approx([0.9, -0.4, 0.1])
        assert crosses.tolist() == [round(x / step) * step for x in (0.9, -0.4, 0.1)]
        levels = {float(line.get_ydata()[0]) for line in axis.lines[:-2]}
        assert set(crosses.tolist()) <= levels


def test_each_result_has_its_interval_and_its_name():
    results = {"4 bits": (4.5, Interval(1.3, 1.2, 1.5)), "8 bits": (8.0, Interval(1.01, 1.0, 1.02))}
    axis = figures.bits_and_quality(results)
    assert [text.get_text() for text in axis.texts] == list(results)
    assert [c.lines[0].get_ydata()[0] for c in axis.containers] == [1.3, 1.01]
    axis = figures.ratios({name: ratio for name, (_, ratio) in results.items()})
    assert [label.get_text() for label in axis.get_yticklabels()] == list(results)
    assert [text.get_text() for text in axis.texts] == ["1.3", "1.01"]


def test_channels_fall_from_the_largest():
    axis = figures.channels({"before": torch.tensor([1.0, 9.0, 3.0])})
    assert axis.lines[0].get_ydata().tolist() == [9, 3, 1]


def test_keys_and_values_are_magnitudes():
    left, right = figures.keys_and_values(-torch.ones(3, 4), 2 * torch.ones(3, 4))
    assert left.images[0].get_array().max() == 1 and right.images[0].get_array().max() == 2


def test_errors_stand_in_percent_beside_that_of_rounding():
    axis = figures.calibrated([100, 200], {"seen": [0.1, 0.2], "unseen": [0.4, 0.3]}, 0.25)
    assert axis.lines[1].get_ydata() == pytest.approx([40, 30])
    assert axis.lines[2].get_ydata()[0] == pytest.approx(25)
