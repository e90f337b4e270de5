import random

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from decodeloop.cost.traffic import (
    FastMemory,
    attend_by_table,
    attend_by_tiles,
    table_traffic,
    traffic,
)
from decodeloop.errors import UserError
from decodeloop.model import causal_mask


def trial(seed):
    draw = random.Random(seed)
    T, D = draw.randint(1, 40), draw.randint(1, 9)
    S = T + draw.randint(0, 30)
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(n, D, generator=generator) for n in (T, S, S))
    return q, k, v, draw.randint(1, 45), draw.randint(1, 45)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_counted_is_what_the_formula_says_and_the_result_is_right(seed):
    q, k, v, rows, columns = trial(seed)
    (T, D), S = q.shape, len(k)
    tiled, tabled = FastMemory(10**6), FastMemory(10**6)
    found = [attend_by_tiles(tiled, q, k, v, rows, columns)]
    found += [attend_by_table(tabled, q, k, v, rows, columns)]
    expected = scaled_dot_product_attention(q, k, v, attn_mask=causal_mask(T, S))
    for one in found:
        assert_close(one, expected, atol=1e-5, rtol=1e-5)
    assert (tiled.numbers_read, tiled.numbers_written) == traffic(T, S, D, rows, columns)
    assert (tabled.numbers_read, tabled.numbers_written) == table_traffic(T, S, D, rows)
    assert tiled.held == tabled.held == 0


def test_the_fast_memory_never_holds_more_than_the_tiles_take():
    D, rows, columns = 4, 6, 5
    room = 2 * rows * D + 2 * columns * D + rows * columns + 2 * rows
    q, k, v = (torch.randn(30, D) for _ in range(3))
    fast = FastMemory(room)
    attend_by_tiles(fast, q, k, v, rows, columns)
    assert max(move.held for move in fast.moves) == room
    with pytest.raises(UserError, match="make the tiles smaller"):
        attend_by_tiles(FastMemory(room - 1), q, k, v, rows, columns)


def test_what_does_not_fit_is_refused_and_nothing_is_lost():
    fast = FastMemory(10)
    fast.read("x", torch.zeros(6))
    with pytest.raises(UserError, match="y has 5 numbers, and 6 of 10 are taken"):
        fast.hold("y", torch.zeros(5))
    assert (fast.held, len(fast.moves)) == (6, 1)
    fast.read("x", torch.zeros(10))  # in the place of the other
    assert (fast.held, fast.numbers_read) == (10, 16)
    with pytest.raises(UserError, match=r"there is no 'y'; it holds \['x'\]"):
        fast.free("y")
    fast.free("x")
    assert [move.kind for move in fast.moves] == ["read", "read", "free"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: traffic(4, 3, 8, 2, 2), "T is 4 and S is 3: the T queries are the last"),
        (lambda: traffic(4, 4, 8, 0, 2), "traffic: rows is 0: expected a whole number from 1 up"),
        (lambda: table_traffic(4, 4, 0, 2), "table_traffic: D is 0"),
        (lambda: FastMemory(0), "FastMemory: room is 0"),
    ],
)
def test_sizes_that_are_none_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
