"""The pictures of lessons 23 and 23b: what stands in them."""

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from decodeloop.course import figures_kernels as figures


def test_the_parts_of_a_step_lie_one_behind_the_other():
    figures.parts_of_a_step({"read": 0.002, "products": 0.001, "rest": 0.004})
    bars = plt.gca().patches
    assert [bar.get_width() for bar in bars] == pytest.approx([2, 1, 4])
    assert [bar.get_x() for bar in bars] == pytest.approx([0, 2, 3])


def test_each_row_has_its_error_in_percent():
    figures.errors_of_rows([1.0, 2.0], {"one": [0.04, 0.02], "own": [0.01, 0.01]})
    lines = [list(line.get_ydata()) for line in plt.gca().lines]
    assert lines == [pytest.approx([4, 2]), pytest.approx([1, 1])]


def test_a_share_of_the_read_stands_at_the_end_of_its_bar():
    figures.speeds_of_steps({"a": 10.0, "b": 20.0, "c": 30.0}, {"a": 0.1, "b": 0.5, "c": 0.9}, S=7)
    axis = plt.gca()
    assert [bar.get_width() for bar in axis.patches] == [30, 20, 10]
    assert axis.texts[0].get_text() == " 90% of a plain read"
    assert "at 7 positions" in axis.get_xlabel()
