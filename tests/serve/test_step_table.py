from __future__ import annotations

import math
import random

import pytest

from decodeloop.errors import UserError
from decodeloop.serve import (
    BlockManager,
    Job,
    Scheduler,
    StepTable,
    StepTime,
    fit_step_cost,
    fit_step_table,
    simulate,
)

KINDS = [(b, b, 60 * b) for b in (1, 2, 4, 8)] + [(n, 1, n) for n in (16, 48, 100, 200)]
KINDS += [(k + n, k + 1, 60 * k + n) for k in (3, 7) for n in (16, 48, 100)]


def bent(tokens, texts, positions):
    """A token costs less in a long prompt, and from 8 tokens on other kernels run."""
    return 8e-3 + 2e-3 * tokens**0.8 + 8e-3 * (tokens > 4) + 1e-3 * texts + 1e-6 * positions


def measured(cost, noise=0.0, seed=0):
    draw = random.Random(seed)
    return [StepTime(*kind, cost(*kind) * (1 + draw.uniform(-noise, noise))) for kind in KINDS]


def errors(cost, truth):
    kinds = [*KINDS, (3, 3, 200), (44, 5, 300), (150, 1, 150), (90, 2, 100)]
    return [abs(cost(*kind) / truth(*kind) - 1) for kind in kinds]


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_table_is_right_where_a_straight_line_is_not(noise):
    steps = measured(bent, noise)
    table, line = fit_step_table(steps), fit_step_cost(steps)
    assert max(errors(table, bent)) < 0.1 < max(errors(line, bent))
    assert table.text == pytest.approx(1e-3, rel=0.5)


def test_at_its_knots_a_table_costs_what_it_says_and_beyond_them_a_straight_line():
    table = StepTable((1, 2, 6), (1.0, 3.0, 5.0), text=0.25, position=0.5)
    assert [table(n, 0, 0) for n in (1, 2, 4, 6, 8)] == [1, 3, 4, 5, 6]
    assert table(4, 2, 3) == 4 + 0.5 + 1.5


def test_neither_a_text_nor_a_position_costs_less_than_nothing():
    falling = [StepTime(t, n, p, 2 - n / 10 - p / 1000) for t, n, p in KINDS if n < 9 and p < 500]
    found = fit_step_table(falling)
    assert found.text == found.position == 0


def test_steps_of_one_count_leave_it_open():
    with pytest.raises(UserError, match="of nearly as many tokens"):
        fit_step_table([StepTime(8, 8, 90, 1.0), StepTime(9, 9, 100, 1.1)])
    with pytest.raises(UserError, match="seconds"):
        fit_step_table([StepTime(8, 8, 90, math.nan)])


def test_the_clock_goes_by_a_table():
    table = StepTable((1, 4), (1.0, 2.0), text=0.0, position=0.0)
    run = simulate([Job(0.0, [1, 2, 3, 4], 3)], Scheduler(BlockManager(4)), table)
    assert run.requests[0].token_times == (2.0, 3.0, 4.0)
