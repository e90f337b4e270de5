"""Many users at once, each in a thread of its own: the load of a server that answers many.

An *open* load asks at given times, whether or not the server keeps up; a *closed* one has so many
users, each of whom asks again when it has its answer. Built in lesson 24.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from decodeloop.cost import Request
from decodeloop.cost.checks import check_whole
from decodeloop.measure.load import Load, check_bounds

Ask = Callable[[int], Generator[object, None, None]]  # number of a request → its tokens


@dataclass(frozen=True)
class UserLoad(Load):
    """A load of many users; `failures` are what went wrong with those that were not served."""

    failures: tuple[Exception, ...] = ()


def ask_at(ask: Ask, arrivals: Sequence[float], *, max_seconds: float = 60.0) -> UserLoad:
    """Ask at the given times, each request in a thread of its own, and time every token.

    Latencies count from when a request was *due*. Who is not answered when `max_seconds` are over
    hangs up.

    Args:
        ask: called with the number of each request; yields something for each token.
        arrivals: seconds from the start, in order.

    Raises:
        UserError: as `run_load`.
    """
    check_bounds("ask_at", arrivals, max_seconds)
    users = Users(ask, max_seconds)
    threads = []
    for number, arrival in enumerate(arrivals):
        while (left := arrival - users.now()) > 0:
            time.sleep(left)
        threads.append(users.start(partial(users.one, number, arrival)))
    return users.load(threads, len(arrivals))


def ask_in_turns(ask: Ask, users: int, count: int, *, max_seconds: float = 60.0) -> UserLoad:
    """So many users, each of whom asks again when it is answered, until `count` requests are done.

    Raises:
        UserError: there are no users or no requests, or it may take too long.
    """
    check_whole("ask_in_turns", users=users, count=count)
    check_bounds("ask_in_turns", range(count), max_seconds)
    crowd = Users(ask, max_seconds)
    numbers, lock = iter(range(count)), threading.Lock()

    def user() -> None:
        while crowd.now() < max_seconds:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            crowd.one(number, crowd.now())

    return crowd.load([crowd.start(user) for _ in range(users)], count)


class Users:
    """Who asks, and what came of it."""

    def __init__(self, ask: Ask, max_seconds: float) -> None:
        self.ask, self.max_seconds = ask, max_seconds
        self.requests: list[Request] = []
        self.failures: list[Exception] = []
        self._began = time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() - self._began

    def start(self, work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work, name="user", daemon=True)
        thread.start()
        return thread

    def one(self, number: int, due: float) -> None:
        """One request, from when it was due."""
        sent, times = self.now(), list[float]()
        try:
            with closing(self.ask(number)) as tokens:
                for _ in tokens:
                    times.append(self.now())
                    if times[-1] > self.max_seconds:
                        return
        except Exception as error:  # a server that refuses, or that has gone
            self.failures.append(error)
            return
        if times:
            self.requests.append(Request(due, sent, tuple(times), self.now(), sent))

    def load(self, threads: Sequence[threading.Thread], asked: int) -> UserLoad:
        """Wait for all of them, and sum up."""
        for thread in threads:
            thread.join()
        done = sorted(self.requests, key=lambda request: request.arrival)
        seconds = max((request.end for request in done), default=self.now())
        return UserLoad(tuple(done), asked - len(done), seconds, tuple(self.failures))


def tokens_per_second(load: Load) -> float:
    """All tokens that users got, for each second of the load."""
    made = sum(len(request.token_times) for request in load.requests)
    return made / load.seconds if load.requests else 0.0


def tokens_from(events: Iterator[Mapping[str, Any]]) -> Generator[str, None, None]:
    """The text that came with each token of a streamed answer.

    A server that counts as it goes is believed (`usage` in its events, which
    ``continuous_usage_stats`` asks for): several tokens may come at once, whose text stands with
    the first, and half a character has none. From others, each piece of text counts as a token.
    """
    with closing(events) as coming:  # type: ignore[type-var]
        told = 0
        for event in coming:
            said = [
                choice.get("text") or (choice.get("delta") or {}).get("content") or ""
                for choice in event.get("choices", ())
            ]
            pieces = [piece for piece in said if piece]
            made = (event.get("usage") or {}).get("completion_tokens")
            new = len(pieces) if made is None else made - told
            told += new
            yield from ([*pieces, *[""] * new])[:new]
