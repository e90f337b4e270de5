"""The pictures of lesson 25: what stands in them."""

import matplotlib

matplotlib.use("Agg")

from decodeloop.course import figures_structured as figures
from decodeloop.course.figures import BLUE, ORANGE


def test_what_is_removed_is_hatched_and_the_best_stands_above():
    axis = figures.what_is_removed(["a", "\n"], [0.5, 1e-4], [False, True])
    assert [bool(bar.get_hatch()) for bar in axis.patches] == [True, False]
    assert [bar.get_width() for bar in axis.patches] == [0.5, 1e-4]
    assert axis.get_xlim()[0] == 0 and axis.yaxis_inverted(), "the length of a bar is a probability"
    assert axis.get_ylabel() == "next token"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["allowed", "removed"]


def test_a_surprise_stands_out():
    axis = figures.surprise_at_each(["a", "b"], [0.1, 9.0])
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in axis.patches]
    assert colours == [matplotlib.colors.to_hex(c) for c in (BLUE, ORANGE)]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axis.texts] == ["b  9.0"]
