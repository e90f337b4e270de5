"""Ranks as threads."""

from __future__ import annotations

import time

import pytest
import torch

from decodeloop.errors import UserError
from decodeloop.parallel import on_threads


def test_nobody_overtakes_however_unequal_their_pace():
    def program(rank, all_reduce):
        got = []
        for number in range(20):
            if (rank + number) % 3 == 0:
                time.sleep(0.001)
            got.append(float(all_reduce(torch.tensor(float(10**rank * number)))))
        return got

    assert on_threads(program, 3) == [[111.0 * number for number in range(20)]] * 3


def test_a_rank_that_ends_early_or_fails_is_told_and_nobody_waits_for_ever():
    def early(rank, all_reduce):
        return None if rank == 1 else all_reduce(torch.ones(1))

    def failing(rank, all_reduce):
        if rank == 2:
            raise ZeroDivisionError("two")
        return all_reduce(torch.ones(1))

    with pytest.raises(UserError, match="rank 1 has ended"):
        on_threads(early, 3)
    with pytest.raises(ZeroDivisionError, match="two"):
        on_threads(failing, 3)
