"""The pictures of lesson 16: what stands in them."""

import matplotlib
import pytest
import torch
from matplotlib.colors import to_hex

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from decodeloop.cost.traffic import FastMemory, attend_by_table, attend_by_tiles
from decodeloop.course import figures_flash as figures
from decodeloop.course.figures import BLUE
from decodeloop.model import causal_mask, skip_tiles


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)


@pytest.mark.parametrize(
    ("T", "S", "rows", "columns"), [(12, 16, 4, 4), (7, 7, 2, 3), (3, 9, 5, 2)]
)
def test_every_tile_is_drawn_and_looks_as_what_it_is(T, S, rows, columns):
    figures.tile_map(T, S, rows, columns, skip_tiles(T, S, rows, columns))
    (axis,) = plt.gcf().axes
    mask, area = causal_mask(T, S), 0
    for patch in axis.patches:
        i, j = int(patch.get_y()), int(patch.get_x())
        tile = mask[i : i + int(patch.get_height()), j : j + int(patch.get_width())]
        area += tile.numel()
        whole = to_hex(patch.get_facecolor()).lower() == BLUE.lower()
        assert whole == bool(tile.all())
        assert (patch.get_hatch() == "////") == bool(tile.any() and not tile.all())
    assert area == T * S


def test_all_that_was_moved_stands_in_the_bars_and_at_the_end_of_the_lines():
    q = torch.zeros(20, 4)
    runs = {"table": FastMemory(500), "tiles": FastMemory(500)}
    for attend, fast in zip((attend_by_table, attend_by_tiles), runs.values(), strict=True):
        attend(fast, q, q, q, 8, 8)
    figures.moves(runs)
    left, right = plt.gcf().axes
    moved = [fast.numbers_read + fast.numbers_written for fast in runs.values()]
    assert [line.get_ydata()[-1] for line in left.get_lines()] == moved
    assert sum(patch.get_width() for patch in right.patches) == sum(moved)
