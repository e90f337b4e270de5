import itertools
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from decodeloop.cost import simulate_queue
from decodeloop.errors import UserError
from decodeloop.measure import run_alone, run_load, single_stream
from decodeloop.model import TINY, Decoder


def tokens_every(seconds, count=2):
    """A server whose tokens come at equal distances."""

    def serve(number):
        for _ in range(count):
            time.sleep(seconds)
            yield number

    return serve


def test_requests_are_answered_in_order_and_never_two_at_a_time():
    load = run_load(tokens_every(0.005), [0.0, 0.001, 0.002, 0.05])
    assert load.unserved == 0 and len(load.requests) == 4
    assert load.arrivals == [0.0, 0.001, 0.002, 0.05]
    for earlier, later in itertools.pairwise(load.requests):
        assert later.start >= earlier.end
    for request in load.requests:
        assert request.arrival <= request.sent <= request.start
        assert request.start < request.token_times[0] < request.token_times[1] <= request.end
    assert 0 < load.utilisation < 1
    assert load.throughput == 4 / load.seconds


def test_latencies_count_from_when_a_request_was_due():
    load = run_load(tokens_every(0.03, 1), [0.0, 0.0, 0.0])
    assert load.end_to_end[2] >= 0.09
    assert load.latencies[2].ttft >= 0.09
    assert load.requests[2].service < load.waits[2]


def test_the_simulation_with_the_same_service_times_gives_the_same_waits():
    load = run_load(tokens_every(0.01, 1), [0.0, 0.002, 0.004, 0.06, 0.061])
    simulated = simulate_queue(load.arrivals, load.service_times)
    for measured, computed in zip(load.waits, simulated, strict=True):
        assert measured >= computed - 1e-9  # a live one also hands over, never the reverse
        assert measured - computed < 0.5  # seconds: a busy machine wakes the client late


def test_a_load_above_saturation_ends_and_says_who_was_not_served():
    clock = time.perf_counter()
    load = run_load(tokens_every(0.02, 1), [0.001 * i for i in range(50)], max_seconds=0.4)
    assert time.perf_counter() - clock < 5.0
    assert 0 < len(load.requests) <= 20
    assert load.unserved == 50 - len(load.requests)


def test_an_answer_that_never_ends_is_cut():
    def endless(number):
        while True:
            time.sleep(0.001)
            yield number

    for load in (
        run_load(endless, [0.0, 0.01], max_seconds=0.1),
        run_alone(endless, 2, max_seconds=0.1),
    ):
        assert load.requests == () and load.unserved == 2
        assert load.throughput == load.utilisation == 0.0


@pytest.mark.parametrize(
    ("arrivals", "max_seconds"),
    [
        (itertools.count(), 1.0),
        (iter([0.0]), 1.0),
        ([0.0] * 10_001, 1.0),
        ([0.0, 2.0], 1.0),
        ([1.0, 0.5], 2.0),
        ([-1.0], 1.0),
        ([float("nan")], 1.0),
        ([float("inf")], 1.0),
        ([0.0], float("inf")),
        ([0.0], float("nan")),
        ([0.0], 601.0),
        ([0.0], 0.0),
    ],
)
def test_a_load_that_need_not_end_is_refused(arrivals, max_seconds):
    threads = threading.active_count()
    with pytest.raises(UserError, match="expected"):
        run_load(tokens_every(0.0), arrivals, max_seconds=max_seconds)
    assert threading.active_count() == threads


def test_run_alone_is_bounded_too():
    with pytest.raises(UserError, match="at most 10,000"):
        run_alone(tokens_every(0.0), 10_001)
    with pytest.raises(UserError, match="max_seconds"):
        run_alone(tokens_every(0.0), 1, max_seconds=float("inf"))


def test_alone_nobody_waits():
    load = run_alone(tokens_every(0.002), 5)
    assert len(load.requests) == 5
    assert max(load.waits) < 0.05
    assert load.utilisation > 0.5


def test_an_error_of_the_server_ends_the_client_too():
    def broken(number):
        yield number
        raise RuntimeError("out of memory")

    threads = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        run_load(broken, [0.0, 50.0], max_seconds=60.0)
    assert threading.active_count() == threads


def test_an_answer_without_tokens_is_told():
    with pytest.raises(UserError, match="no token"):
        run_load(lambda number: [], [0.0])


def test_no_requests_are_no_load():
    load = run_load(tokens_every(0.0), [])
    assert load.requests == () and load.unserved == 0


def test_the_single_stream_server_makes_the_tokens_asked_for():
    torch.manual_seed(0)
    decoded = []
    llm = SimpleNamespace(
        model=Decoder(TINY).eval(),
        prompt_ids=lambda text, raw: [ord(c) % TINY.vocabulary for c in text],
        tokenizer=SimpleNamespace(decode=decoded.append),
    )
    serve = single_stream(llm, ["abc", "de"], [1, 2, 3])
    load = run_alone(serve, 4)
    assert [len(r.token_times) for r in load.requests] == [1, 2, 3, 1]
    assert [len(d) for d in decoded] == [1, 2, 3, 1]
    with pytest.raises(UserError, match="prompts"):
        single_stream(llm, [], [1])
