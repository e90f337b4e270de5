"""A load that is a share of what a server can do."""

from __future__ import annotations

import time

import pytest

from decodeloop.errors import UserError
from decodeloop.measure.at_load import mean_service, run_at_load

TOKENS = [1, 1, 3]  # of each answer, in turn


def fresh():
    """A server whose tokens take 4 ms each."""

    def serve(number):
        for token in range(TOKENS[number % len(TOKENS)]):
            time.sleep(0.004)
            yield token

    return serve


def test_the_load_that_was_asked_for_is_about_the_one_that_came():
    arrivals = [float(n) for n in range(1, 31)]  # one a second, evenly
    found = run_at_load(fresh, 0.5, arrivals)
    assert found.share == 0.5
    assert (len(found.alone.requests), len(found.busy.requests)) == (10, 30)
    assert found.had == pytest.approx(
        sum(found.busy.service_times) / (60 * mean_service(found.alone)), rel=1e-3
    )
    assert 0.2 < found.had < 1.5  # a busy machine may be slower than it was


def test_a_forecast_is_the_mean_of_answers_of_as_many_tokens():
    found = run_at_load(fresh, 0.9, [1.0, 2.0, 3.0], calibration=6)
    short, long = (
        [r.service for r in found.alone.requests if len(r.token_times) == n] for n in (1, 3)
    )
    expected = [sum(short) / 4, sum(short) / 4, sum(long) / 2]
    assert found.forecast == pytest.approx(expected)


def test_an_answer_that_was_never_calibrated_gets_the_usual_service():
    found = run_at_load(fresh, 0.9, [1.0, 2.0, 3.0], calibration=1)
    assert found.forecast == pytest.approx([mean_service(found.alone)] * 3)


def test_a_slow_server_gets_fewer_requests():
    def slow():
        def serve(number):
            time.sleep(0.15)
            yield number

        return serve

    found = run_at_load(slow, 30.0, [0.1 * n for n in range(1, 40)], calibration=1)
    assert 10 <= len(found.busy.requests) <= 35


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UserError, match=r"share is .* more than 0"):
        run_at_load(fresh, share, [1.0])
