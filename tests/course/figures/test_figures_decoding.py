"""The pictures of lessons 08 and 08b: what stands in them."""

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

from pictures import drawn

from decodeloop.course import figures_decoding as figures


def words(axis):
    return [text.get_text() for text in axis.texts]


def test_a_token_without_text_waits():
    axis = drawn(figures.tokens_and_text(["a", " b", "c"], ["a", "", " bc"]))
    assert words(axis)[:6] == ["a", "␣b", "c", "a", "waits", "␣bc"]


def test_the_first_token_is_apart_from_the_others():
    seconds = {16: [0.1, 0.01, 0.02], 64: [0.4, 0.03, 0.04]}
    left, right = drawn(figures.waits_of_the_reader(seconds))
    assert list(left.lines[0].get_ydata()) == pytest.approx([100, 400])
    assert [list(line.get_ydata()) for line in right.lines] == [
        pytest.approx([10, 20]),
        pytest.approx([30, 40]),
    ]
    assert list(right.lines[0].get_xdata()) == [2, 3]


def test_each_prompt_has_its_mask():
    masks = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    axes = drawn(figures.masks_of_prompts(masks, [3, 1]))
    assert [axis.get_title() for axis in axes] == ["3 tokens", "1 token"]


def test_a_text_has_the_product_of_its_words():
    tree = {"": {"am": 0.6, "have": 0.4}, "am": {"here": 1.0}, "have": {"fun": 0.9, "no": 0.1}}
    ways = {"greedy": ("am", "here"), "best": ("have", "fun")}
    axis = drawn(figures.tree_of_texts(tree, ways))
    assert "fun  0.9  →  0.36" in words(axis) and "am  0.6" in words(axis)
    styles = [line.get_linestyle() for line in axis.lines if line.get_linewidth() > 2]
    assert styles == ["--", "-"]


def test_bars_are_surprises():
    texts = {"one": (["a", "b"], torch.tensor([1.0, 2.0])), "two": (["c"], torch.tensor([4.0]))}
    axes = drawn(figures.surprise_of_texts(texts))
    assert [axis.get_title() for axis in axes] == [
        "one: 1.5 nats per token",
        "two: 4.0 nats per token",
    ]
    assert [[bar.get_height() for bar in axis.patches] for axis in axes] == [[1, 2], [4]]
