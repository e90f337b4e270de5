from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode import pad_left
from decodeloop.errors import UserError
from decodeloop.serve import (
    StepCost,
    StepTime,
    break_even_batch,
    fit_step_cost,
    pad_waste,
    static_batch_time,
    static_token_times,
)

COST = StepCost(step=8e-3, token=9e-4, text=3e-4, position=1.2e-6)
KINDS = [(b, b, b * n) for b in (1, 2, 4, 8, 16) for n in (64, 512)]
KINDS += [(n, 1, n) for n in (32, 128, 512)]
lengths = st.lists(st.integers(1, 50), min_size=1, max_size=8)


@given(lengths)
def test_what_padding_wastes_is_what_is_not_real(lengths):
    _, real = pad_left([[7] * n for n in lengths])
    assert pad_waste(lengths) == pytest.approx(1 - real.float().mean().item(), abs=1e-6)


def measured(cost, noise=0.0, seed=0):
    draw = random.Random(seed)
    return [StepTime(*kind, cost(*kind) * (1 + draw.uniform(-noise, noise))) for kind in KINDS]


def test_a_fit_finds_the_cost_that_steps_were_made_with():
    found = fit_step_cost(measured(COST))
    for name in ("step", "token", "text", "position"):
        assert getattr(found, name) == pytest.approx(getattr(COST, name), rel=1e-6)


def test_a_fit_to_noisy_times_predicts_them_within_the_noise():
    times = measured(COST, noise=0.05)
    found = fit_step_cost(times)
    for *kind, seconds in times:
        assert found(*kind) == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize("free", ["step", "token", "text", "position"])
def test_nothing_costs_less_than_nothing(free):
    parts = {"step": 8e-3, "token": 9e-4, "text": 3e-4, "position": 1.2e-6} | {free: 0.0}
    for seed in range(5):
        found = fit_step_cost(measured(StepCost(**parts), noise=0.1, seed=seed))
        assert min(found.step, found.token, found.text, found.position) >= 0


@pytest.mark.parametrize(
    "times",
    [
        [],
        [StepTime(1, 1, 9, 0.1)] * 9,
        [StepTime(b, b, 10 * b, 0.1) for b in range(1, 9)],
        [StepTime(b, b, n, 0.1) for b in range(1, 9) for n in (64, 99)],  # tokens are texts
    ],
)
def test_steps_that_are_alike_say_too_little(times):
    with pytest.raises(UserError, match=rf"given {len(times)} steps that leave the cost open"):
        fit_step_cost(times)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_step_takes_time(seconds):
    with pytest.raises(UserError, match=r"seconds is .*: expected more than 0"):
        fit_step_cost([StepTime(1, 1, 9, seconds)])


@pytest.mark.parametrize("length", [1, 100, 4000])
def test_at_the_break_even_batch_texts_cost_what_a_step_does(length):
    B = break_even_batch(COST, length)
    each = COST(1, 1, length) - COST(0, 0, 0)
    assert B * each == pytest.approx(COST.step)
    assert break_even_batch(COST, length) >= break_even_batch(COST, length + 1)
    assert break_even_batch(StepCost(1.0, 0.0, 0.0, 0.0), length) == float("inf")


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=8))
def test_a_static_batch_is_a_prefill_and_a_step_for_each_further_token(texts):
    prompts, answers = zip(*texts, strict=True)
    B, T = len(texts), max(prompts)
    seconds = COST(B * T, B, B * T)
    for i in range(1, max(answers)):
        seconds += COST(B, B, B * (T + i))
    times = static_token_times(prompts, answers, COST)
    assert len(times) == max(answers)
    assert static_batch_time(prompts, answers, COST) == times[-1] == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pad_waste([]), r"pad_waste: the number of lengths is 0: expected"),
        (lambda: pad_waste([3, 0]), r"pad_waste: lengths is 0: expected a whole number"),
        (lambda: static_batch_time([1, 2], [3], COST), r"2 prompts and 1 answers: expected as ma"),
        (lambda: static_batch_time([], [], COST), r"the number of prompts is 0"),
        (lambda: static_batch_time([1], [0], COST), r"answers is 0"),
        (lambda: break_even_batch(COST, 0), r"length is 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
