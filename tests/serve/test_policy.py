from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.serve import admit, chunk, preempt, take_tokens

counts = st.integers(1, 300)


@given(counts, st.integers(0, 300), st.none() | counts)
def test_a_chunk_is_as_long_as_all_allow(left, budget, size):
    found = chunk(left, budget, size)
    limits = [left, budget] + [size] * (size is not None)
    assert found in limits
    assert all(found <= limit for limit in limits)


@given(st.lists(counts | st.just(1), max_size=12), counts, st.none() | counts)
def test_a_budget_is_spent_on_those_who_wait_for_one_token_and_then_in_order(left, budget, size):
    taken = take_tokens(left, budget, size)
    wanted = [n if size is None else min(n, size) for n in left]
    assert len(taken) == len(left)
    assert sum(taken) == min(budget, sum(wanted))
    assert all(0 <= t <= w for t, w in zip(taken, wanted, strict=True))
    order = [i for i, n in enumerate(left) if n == 1] + [i for i, n in enumerate(left) if n > 1]
    for early, late in pairwise(order):
        assert taken[early] == wanted[early] or taken[late] == 0


def test_take_tokens_asks_chunk():
    assert take_tokens([100, 1, 50], 64, chunk=lambda left, budget, size: min(left, 2)) == [2, 1, 2]


@pytest.mark.parametrize(
    ("price", "free", "running", "most", "enters"),
    [(3, 3, 0, 1, True), (4, 3, 0, 1, False), (0, 0, 7, 8, True), (1, 9, 8, 8, False)],
)
def test_a_text_enters_where_blocks_and_a_place_are_free(price, free, running, most, enters):
    assert admit(price, free, running, most) is enters


@given(st.lists(st.integers(0, 99), min_size=1, unique=True))
def test_who_came_last_gives_way(arrivals):
    assert arrivals[preempt(arrivals)] == max(arrivals)
