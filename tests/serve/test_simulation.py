from __future__ import annotations

import random
from itertools import pairwise

import pytest

from decodeloop.cost import percentile, simulate_queue
from decodeloop.errors import UserError
from decodeloop.serve import (
    BlockManager,
    Job,
    Scheduler,
    StepCost,
    poisson_jobs,
    simulate,
    simulate_static,
    static_batch_time,
)

COST = StepCost(step=7.5e-3, token=1e-3, text=1e-4, position=1.2e-6)


def jobs(rate=2.0, count=150, seed=0):
    return poisson_jobs(rate, count, random.Random(seed), longest=200)


def continuous(load, blocks=4096, **limits):
    return simulate(load, Scheduler(BlockManager(blocks), **limits), COST)


def test_one_at_a_time_is_the_queue_of_lesson_11():
    load = jobs()
    result = simulate_static(load, COST, 1)
    services = [static_batch_time([len(job.prompt)], [job.answer], COST) for job in load]
    waits = simulate_queue([job.arrival for job in load], services)
    assert [r.waited for r in result.requests] == pytest.approx(waits)
    assert [r.service for r in result.requests] == pytest.approx(services)


def test_everybody_gets_the_answer_that_was_asked_for():
    load = jobs()
    for result in (simulate_static(load, COST, 8), continuous(load), continuous(load, 60)):
        assert [len(r.token_times) for r in result.requests] == [job.answer for job in load]
        assert [r.arrival for r in result.requests] == [job.arrival for job in load]
        for request in result.requests:
            assert request.arrival <= request.start < request.token_times[0]


def test_a_single_text_takes_the_same_by_all_policies():
    load = [Job(1.5, [1] * 30, 7)]
    [expected] = simulate_static(load, COST, 1).requests
    for result in (continuous(load), simulate_static(load, COST, 8)):
        [request] = result.requests
        assert request.token_times == pytest.approx(expected.token_times)
        assert request.start == expected.start == 1.5


def test_static_batches_wait_for_the_longest_and_continuous_ones_for_nobody():
    load = jobs()
    alone, static, together = (
        percentile(result.ttft, 50)
        for result in (
            simulate_static(load, COST, 1),
            simulate_static(load, COST, 8),
            continuous(load),
        )
    )
    assert together < alone / 5
    assert together < static / 5
    result = continuous(load)
    assert result.tokens_per_second > simulate_static(load, COST, 8).tokens_per_second


def test_small_chunks_leave_the_throughput_and_take_the_worst_gap():
    load = jobs()
    whole = continuous(load, budget=4096)
    chunks = continuous(load, budget=4096, chunk=32)
    assert chunks.tokens_per_second > 0.95 * whole.tokens_per_second
    assert max(chunks.itl) < max(whole.itl) / 2


def test_a_small_pool_sends_texts_back_and_they_still_end():
    load = jobs()
    result = continuous(load, blocks=30, most=16)
    assert result.preemptions > 5
    assert max(result.itl) > max(continuous(load, most=16).itl)


def test_moments_follow_each_other():
    result = continuous(jobs())
    for early, late in pairwise(result.moments):
        assert early.start < early.end <= late.start
    assert result.seconds == result.moments[-1].end


def test_goodput_counts_those_who_kept_every_target():
    result = continuous(jobs())
    kept = sum(wait <= 0.2 for wait in result.ttft)
    assert 0 < kept < len(result.requests)
    assert result.goodput(ttft=0.2) == pytest.approx(kept / result.seconds)


def test_the_same_seed_is_the_same_day_anywhere():
    load = jobs(count=3)
    assert load == jobs(count=3) != jobs(count=3, seed=1)
    assert [round(job.arrival, 3) for job in load] == [0.930, 1.134, 1.600]
    assert all(1 <= len(job.prompt) <= 200 and 1 <= job.answer <= 200 for job in jobs())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_static([], COST, 8), r"no jobs: expected at least one"),
        (lambda: continuous([]), r"no jobs: expected at least one"),
        (lambda: simulate_static(jobs(count=1), COST, 0), r"batch is 0"),
        (lambda: continuous([Job(0.0, [1] * 99, 9)], blocks=2), r"needs 7 blocks of 16.*are 2"),
        (lambda: poisson_jobs(0.0, 3, random.Random(0)), r"rate is 0.0: expected more than 0"),
        (lambda: poisson_jobs(1.0, 0, random.Random(0)), r"count is 0: expected a whole number"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
