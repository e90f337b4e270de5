"""The pictures of lessons 10 and 10b: what stands in them."""

import matplotlib
import pytest

matplotlib.use("Agg")

from pictures import drawn

from decodeloop.cost import forward_bytes, preset
from decodeloop.course import figures_complexity as figures
from decodeloop.model import SMOLLM2_135M


def test_shares_fill_the_whole_and_both_lengths_are_named():
    left, right = drawn(figures.shares_of_terms(SMOLLM2_135M, overtakes=3072))
    for axis in (left, right):
        tops = [area.get_paths()[0].vertices[:, 1].max() for area in axis.collections]
        assert len(tops) == 5 and tops[-1] == pytest.approx(1)
    words = [text.get_text() for text in left.figure.legends[0].get_texts()]
    assert any("3,072" in word for word in words) and any("8,192" in word for word in words)


def test_shares_of_a_prompt_are_percent_of_the_whole():
    shares = figures.shares_of_prefill(SMOLLM2_135M, 128)
    assert sum(shares.values()) == pytest.approx(100)
    assert 3.9 < shares["scores"] + shares["weighted_sum"] < 4.1


@pytest.mark.parametrize(
    ("one", "expected"), [([1, 16], 2.0), ([3, 9], 1.0), ([1, 2], 4.0), ([2, 9], 1.0)]
)
def test_where_two_lines_cross_in_log_log_or_at_which_end_they_do_not(one, expected):
    assert figures.crossing([1, 4], one, [2, 8]) == pytest.approx(expected)


def test_the_line_of_the_flops_meets_the_linear_layers_where_it_should():
    ways = {"plain": [0.1, 0.4], "products": [0.05, 0.2], "softmax": [0.04, 0.1], "fused": [1, 2]}
    seconds = {**ways, "linear layers": [0.2, 0.256]}  # at last 1 ms for each position
    axis = drawn(figures.attention_and_linear_layers([128, 256], seconds, overtakes=1000))
    linear, further, *measured, by_flops = axis.lines
    assert list(linear.get_ydata()) == pytest.approx([200, 256])
    assert [list(line.get_ydata()) for line in measured] == [
        pytest.approx([1e3 * s for s in row]) for row in ways.values()
    ]
    for line in (further, by_flops):
        x, y = line.get_xdata(), line.get_ydata()
        slope = 1 if line is further else 2
        assert y[0] * (1000 / x[0]) ** slope == pytest.approx(1e3 * 1e-3 * 1000)


def test_two_ways_to_read_differ_in_bytes():
    flops, moved = drawn(figures.two_ways_to_read(SMOLLM2_135M, 8))
    at_once, singly = (bar.get_width() for bar in moved.patches)
    assert at_once == pytest.approx(sum(forward_bytes(SMOLLM2_135M, 1, 8, 8).values()) / 1e9)
    assert 7 < singly / at_once < 9
    at_once, singly = (bar.get_width() for bar in flops.patches)
    assert 1 < singly / at_once < 2


def test_lines_are_what_was_given():
    axis = drawn(figures.flops_per_byte([1, 2, 4], [0.5, 1, 2], [0.6, 1, 1.5]))
    assert [list(line.get_ydata()) for line in axis.lines] == [[0.5, 1, 2], [0.6, 1, 1.5]]


def test_laws_begin_where_the_text_is_long():
    news = [2**e for e in range(8)]
    axis = drawn(figures.flops_of_an_answer(news, [3 * n for n in news], [5 * n * n for n in news]))
    for line, law in zip((axis.lines[1], axis.lines[0]), axis.lines[2:], strict=True):
        assert list(law.get_ydata()) == pytest.approx(list(line.get_ydata())[5:])


def test_a_model_has_its_context_and_where_attention_overtakes():
    axis = drawn(figures.contexts_and_overtaking({"gpt2": 1000.0, "llama-7b": 2000.0}))
    *_, contexts, lengths = axis.lines
    assert list(contexts.get_xdata()) == [preset("gpt2").context, preset("llama-7b").context]
    assert list(lengths.get_xdata()) == [1000, 2000]
