"""Many users at once: when each is asked, what is counted, and that every load ends."""

from __future__ import annotations

import threading
import time

import pytest

from decodeloop.errors import UserError
from decodeloop.measure import ask_at, ask_in_turns, tokens_from, tokens_per_second


def answering(tokens=3, seconds=0.01):
    """A server that answers everybody at once, and what it was asked."""
    asked, at_once, most = [], [0], [0]
    lock = threading.Lock()

    def ask(number):
        with lock:
            asked.append(number)
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        try:
            for token in range(tokens):
                time.sleep(seconds)
                yield token
        finally:
            with lock:
                at_once[0] -= 1

    return ask, asked, most


def test_an_open_load_asks_when_it_is_due_and_waits_for_nobody():
    ask, asked, most = answering(seconds=0.05)
    arrivals = [0.0, 0.01, 0.02, 0.1]
    load = ask_at(ask, arrivals)
    assert sorted(asked) == [0, 1, 2, 3]
    assert most[0] >= 3
    assert load.arrivals == arrivals
    assert load.unserved == 0
    for request in load.requests:
        assert request.sent >= request.arrival
        assert len(request.token_times) == 3
        assert request.latencies.ttft >= 0.05
    assert tokens_per_second(load) == pytest.approx(12 / load.seconds)


@pytest.mark.parametrize("users", [1, 3, 7])
def test_a_closed_load_has_so_many_users_at_a_time(users):
    ask, asked, most = answering()
    load = ask_in_turns(ask, users, 9)
    assert sorted(asked) == list(range(9))
    assert most[0] == min(users, 9)
    assert len(load.requests) == 9


def test_what_fails_is_counted_and_the_others_go_on():
    def ask(number):
        if number % 2:
            raise ConnectionError(f"request {number}")
        yield "token"

    load = ask_in_turns(ask, 2, 6)
    assert (len(load.requests), load.unserved) == (3, 3)
    assert all(isinstance(failure, ConnectionError) for failure in load.failures)


def test_who_has_no_answer_when_the_time_is_up_hangs_up():
    closed = []

    def ask(number):
        try:
            while True:
                time.sleep(0.01)
                yield "token"
        finally:
            closed.append(number)

    load = ask_at(ask, [0.0, 0.05], max_seconds=0.2)
    assert (load.requests, load.unserved) == ((), 2)
    assert sorted(closed) == [0, 1]
    assert tokens_per_second(load) == 0


@pytest.mark.parametrize("arrivals", [[1.0, 0.5], [70.0], [-1.0]])
def test_arrivals_are_those_of_run_load(arrivals):
    with pytest.raises(UserError, match="ask_at: an arrival at"):
        ask_at(answering()[0], arrivals)


def test_nobody_is_no_load():
    with pytest.raises(UserError, match="users is 0"):
        ask_in_turns(answering()[0], 0, 5)


def test_tokens_are_the_pieces_of_text_of_both_kinds_of_answer():
    events = [
        {"choices": [{"text": "a"}]},
        {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"delta": {"content": "b"}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {}},
    ]
    assert list(tokens_from(event for event in events)) == ["a", "b"]


def test_a_server_that_counts_its_tokens_is_believed():
    events = [
        {"choices": [{"text": "a"}], "usage": {"completion_tokens": 1}},
        {"choices": [{"text": "bcd"}], "usage": {"completion_tokens": 4}},  # a draft was right
        {"choices": [{"text": "é"}], "usage": {"completion_tokens": 6}},  # in two halves
        {"choices": [{"text": "", "finish_reason": "length"}], "usage": {"completion_tokens": 7}},
        {"choices": [], "usage": {"completion_tokens": 7}},
    ]
    assert list(tokens_from(event for event in events)) == ["a", "bcd", "", "", "é", "", ""]


def test_a_server_that_counts_at_the_end_alone_is_believed_there():
    events = [
        {"choices": [{"text": "a"}], "usage": None},
        {"choices": [{"text": "bcd"}]},
        {"choices": [], "usage": {"completion_tokens": 4}},
    ]
    assert list(tokens_from(event for event in events)) == ["a", "bcd", "", ""]
