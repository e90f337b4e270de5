"""Where texts lie in a cache: against what can be counted by hand, and what must hold anywhere."""

from __future__ import annotations

import random

import pytest

from decodeloop.course.fragmentation import first_gap, in_blocks, in_one_piece, share_held

draw = random.Random(3)
ASKED = [(draw.randint(1, 30), draw.randint(1, 20)) for _ in range(25)]
WAYS = {
    "for the longest": in_one_piece(ASKED, [n + 60 for n, _ in ASKED], 128),
    "to the token": in_one_piece(ASKED, [n + m for n, m in ASKED], 128),
    "blocks": in_blocks(ASKED, 60, 128, 4),
}


def test_by_hand():
    steps = in_one_piece([(2, 2), (3, 1), (2, 1)], [4, 4, 3], 8)
    assert steps == [[(0, 2, 4), (4, 3, 4)], [(0, 3, 4), (4, 2, 3)]]
    assert share_held(steps, 8) == (5 + 5) / 16


@pytest.mark.parametrize("size, at", [(1, 0), (2, 0), (3, 4), (5, None)])
def test_the_first_gap_that_is_large_enough(size, at):
    assert first_gap([(7, 1, 3), (2, 1, 2)], size, 14) == at


@pytest.mark.parametrize("name", WAYS)
def test_nothing_lies_over_another(name):
    for step in WAYS[name]:
        spans = sorted(step)
        assert all(0 < held <= taken for _, held, taken in spans)
        ends = [0, *(start + taken for start, _, taken in spans)]
        assert all(end <= start for end, (start, _, _) in zip(ends, spans, strict=False))
        assert ends[-1] <= 128


def test_every_token_is_made_once():
    for name in ("for the longest", "to the token"):
        assert sum(len(step) for step in WAYS[name]) == sum(answer for _, answer in ASKED)


def test_what_is_given_out_by_the_block_holds_most():
    shares = [share_held(steps[:20], 128) for steps in WAYS.values()]
    assert shares == sorted(shares)
