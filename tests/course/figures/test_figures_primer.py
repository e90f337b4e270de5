"""The pictures of appendix A1: what stands in them."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from decodeloop.course import figures_primer as figures


def lines():
    return [list(line.get_ydata()) for line in plt.gca().lines]


def test_with_the_factor_attention_lies_higher_by_the_heads():
    figures.prefill_with_and_without_h(
        [256, 1024], [10, 40], [1, 16], 4, [(10, 1), (40, 16)], context=512
    )
    assert lines()[:5] == [[10, 40], [1, 16], [4, 64], [10, 40], [1, 16]]
    words = [text.get_text() for text in plt.gca().get_legend().get_texts()]
    assert words[-1] == "counted by PyTorch"


def test_exponents_are_drawn_by_name():
    figures.exponents_of_an_answer([64, 128, 256], {"a": [1.0, 1.5, 2.0], "b": [1.0, 1.0, 1.0]})
    assert lines() == [[1, 1.5, 2], [1, 1, 1]]


def test_weights_are_there_once():
    figures.memory_of_users([1, 2], [15.5, 31.0], [15, 16], [1, 2], 13.5)
    assert lines() == [[15.5, 31], [15, 16], [1, 2], [13.5, 13.5]]
    assert plt.gca().get_legend().get_texts()[0].get_text() == "m times 15.5 GB"


def test_each_way_has_a_bar_for_each_kind():
    figures.parts_that_are_needed({"equal": [20, 16], "varying": [29, 21]}, ["random", "queue"])
    axis = plt.gca()
    assert [bar.get_width() for bar in axis.patches] == [20, 16, 29, 21]
    assert [text.get_text() for text in axis.texts] == ["20", "16", "29", "21"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["random", "queue"]
