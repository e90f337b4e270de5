"""The pictures of lesson 17: what stands in them."""

import matplotlib
import pytest

matplotlib.use("Agg")

from decodeloop.course import figures_parallel as figures


@pytest.mark.parametrize("N", [2, 3, 5])
def test_a_ring_ends_with_everybody_having_everything_and_not_a_round_earlier(N):
    tables = figures.rounds_of(N)
    everyone = "abcde"[:N]
    assert len(tables) == 1 + 2 * (N - 1)
    assert all(letters == everyone for row in tables[-1] for letters in row)
    finished = [sum(letters == everyone for row in table for letters in row) for table in tables]
    assert finished == [0] * (N - 1) + [N * k for k in range(1, N + 1)]


def test_the_picture_of_the_rounds_has_a_table_for_each():
    axes = figures.ring_rounds(3)
    assert [axis.get_title() for axis in axes] == [
        "at first",
        *(f"round {n}" for n in (1, 2, 3, 4)),
    ]
    assert [text.get_text() for text in axes[1].texts][:3] == ["a", "a", "ac"]


def test_each_way_cuts_the_same_layers():
    axes = figures.four_ways(layers=4)
    assert [axis.get_title() for axis in axes] == ["data", "pipeline", "tensor", "expert"]
    assert [len(axis.patches) for axis in axes] == [8, 4, 8, 16]


def test_each_matrix_has_a_part_for_each_rank_and_there_are_two_sums():
    axis = figures.cut_layer(3)
    words = [text.get_text() for text in axis.texts]
    assert [words.count(str(rank)) for rank in range(3)] == [4, 4, 4]
    assert words.count("Σ") == words.count("all-reduce") == 2


def test_a_bar_is_as_long_as_what_it_says():
    axis = figures.held_memory({"a": 2e6, "b": 3e6}, whole=9e6)
    assert [patch.get_width() for patch in axis.patches] == [2.0, 3.0]
    axis = figures.where_a_step_goes({"one": (0.02, 0.0), "three": (0.01, 0.03)})
    ends = [patch.get_x() + patch.get_width() for patch in axis.patches]
    assert ends == pytest.approx([20, 20, 10, 40])


def test_a_line_and_a_link_stand_at_their_latency_in_microseconds():
    axis = figures.speedup_by_latency([1e-6, 1e-3], {"it": [8, 0.5]}, {"link": 2e-5})
    line, _, link = axis.get_lines()
    assert line.get_xdata().tolist() == pytest.approx([1, 1000])
    assert link.get_xdata() == pytest.approx([20, 20])
