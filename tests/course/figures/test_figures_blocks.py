"""The pictures of lessons 03 and 03b: what stands in them."""

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from decodeloop.course import figures_blocks as figures


def axes():
    return plt.gcf().axes


def lines(axis):
    return [list(line.get_ydata()) for line in axis.lines]


def test_a_learned_table_ends():
    figures.three_kinds_of_positions(rows=40)
    _, learned, rotary = axes()
    table = torch.tensor(learned.images[0].get_array().filled(float("nan")))
    assert not table[:40].isnan().any() and table[40:].isnan().all()
    assert len(rotary.patches) == 3 * 9


def test_each_channel_has_its_pair():
    figures.pairs_of_channels()
    words = [text.get_text() for text in axes()[0].texts]
    assert words[:8] == [f"pair {n}" for n in (0, 1, 2, 3, 0, 1, 2, 3)]
    assert words[8:] == [f"pair {n}" for n in (0, 0, 1, 1, 2, 2, 3, 3)]


def test_lines_are_what_was_given():
    figures.scores_by_distance({"pair 0": torch.tensor([1.0, 0.5])}, {"b": torch.tensor([1.0])})
    left, right = axes()
    assert (lines(left), lines(right)) == ([[1.0, 0.5]], [[1.0]])


def test_a_bar_says_its_loss():
    figures.losses_by_choice({"right": 3.0, "wrong": 4.5}, "positions given")
    (axis,) = axes()
    assert [bar.get_height() for bar in axis.patches] == [3.0, 4.5]
    assert [text.get_text() for text in axis.texts] == ["3.00", "4.50"]


def test_a_gate_is_shut_on_the_left():
    figures.bends_and_a_gate()
    left, right = axes()
    assert lines(left)[0][0] == 0 and lines(left)[0][-1] == 4
    assert all(abs(line[0]) < 0.2 < abs(line[-1]) for line in lines(right))


def test_one_block_has_two_sublayers_each_behind_a_norm():
    figures.one_block()
    words = [text.get_text() for text in axes()[0].texts]
    assert [words.count(word) for word in ("norm", "attention", "feed-forward", "+")] == [
        2,
        1,
        1,
        2,
    ]


def test_both_orders_stand_side_by_side():
    figures.both_orders()
    assert [axis.get_title() for axis in axes()] == ["pre-norm", "post-norm"]


def test_the_law_meets_the_last_gradient():
    sizes = {name: [1.0, 2.0] for name in ("no residual", "no norm", "post-norm", "pre-norm")}
    figures.stacks_of_layers(sizes, [1, 4], {"post-norm": [9, 9], "pre-norm": [9, 4]})
    left, right = axes()
    assert len(left.lines) == 4
    assert lines(right) == [[9, 9], [9, 4], [8, 4]]


def test_what_is_added_is_a_share():
    shares = {"attention": torch.tensor([0.5]), "feed-forward": torch.tensor([2.0])}
    figures.growth_of_the_stream(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 9.0]), shares)
    left, right = axes()
    assert lines(left) == [[1, 3], [1, 9]]
    assert lines(right)[:2] == [[0.5], [2.0]]
    assert "1: after the last" in left.get_xlabel()
