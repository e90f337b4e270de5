"""Live load in one process: a server that answers one request at a time, and who asks it.

Two kinds of client, and the difference matters. An *open* one (`run_load`) asks at given times,
whether the server keeps up or not, as independent users do. A *closed* one (`run_alone`) asks again
when it has its answer: a slow server is then asked less often.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from decodeloop.cost import Latencies, Request
from decodeloop.decode import generate
from decodeloop.decode.text import LanguageModel
from decodeloop.errors import UserError

MOST_REQUESTS = 10_000
MOST_SECONDS = 600.0

Serve = Callable[[int], Iterable[object]]  # number of a request → its tokens, as they come


@dataclass(frozen=True)
class Load:
    """What came of a load: who was answered and when, and how many were not."""

    requests: tuple[Request, ...]  # those that were answered, in order of arrival
    unserved: int  # asked for, but not answered when the time was up
    seconds: float  # from the start to the last answer

    @property
    def arrivals(self) -> list[float]:
        return [r.arrival for r in self.requests]

    @property
    def service_times(self) -> list[float]:
        return [r.service for r in self.requests]

    @property
    def waits(self) -> list[float]:
        return [r.waited for r in self.requests]

    @property
    def latencies(self) -> list[Latencies]:
        return [r.latencies for r in self.requests]

    @property
    def end_to_end(self) -> list[float]:
        """End-to-end latencies."""
        return [r.end - r.arrival for r in self.requests]

    @property
    def throughput(self) -> float:
        """Answers per second."""
        return len(self.requests) / self.seconds if self.requests else 0.0

    @property
    def utilisation(self) -> float:
        """The part of the time that the server was busy."""
        return sum(self.service_times) / self.seconds if self.requests else 0.0


def run_load(serve: Serve, arrivals: Sequence[float], *, max_seconds: float = 60.0) -> Load:
    """Ask at the given times, and answer one request after another, first come, first served.

    The client has its own thread and waits for nobody; the server runs in the caller's. Latencies
    count from when a request was *due*. Every load ends: arrivals are a list of known length, and
    when `max_seconds` are over, a request that is being answered is cut after its current token.

    Args:
        serve: called with the number of each request; yields something for each token.
        arrivals: seconds from the start, in order; see `poisson_arrivals`.

    Raises:
        UserError: arrivals without an end, too many, out of order, or later than `max_seconds`.
    """
    check_bounds("run_load", arrivals, max_seconds)
    inbox: queue.SimpleQueue[int] = queue.SimpleQueue()
    sent: dict[int, float] = {}
    over = threading.Event()
    began = time.perf_counter()

    def now() -> float:
        return time.perf_counter() - began

    def client() -> None:
        for number, arrival in enumerate(arrivals):
            while (left := arrival - now()) > 0:
                if over.wait(left):
                    return
            sent[number] = now()
            inbox.put(number)

    asking = threading.Thread(target=client, name="client", daemon=True)
    asking.start()
    requests: list[Request] = []
    try:
        while len(requests) < len(arrivals):
            try:
                number = inbox.get(timeout=max(0.0, max_seconds - now()))
            except queue.Empty:
                break
            request = _serve_one(serve, number, arrivals[number], now, max_seconds)
            if request is None:
                break
            token_times, start, end = request
            requests.append(Request(arrivals[number], start, token_times, end, sent[number]))
    finally:
        over.set()
        asking.join()
    seconds = requests[-1].end if requests else now()
    return Load(tuple(requests), len(arrivals) - len(requests), seconds)


def run_alone(serve: Serve, count: int, *, max_seconds: float = 60.0) -> Load:
    """One client that asks again as soon as it has its answer: nobody ever waits.

    Good to learn how long a service takes. Not to learn what users feel: it never asks while the
    server is busy (*coordinated omission*).
    """
    check_bounds("run_alone", range(count), max_seconds)
    began = time.perf_counter()

    def now() -> float:
        return time.perf_counter() - began

    requests: list[Request] = []
    for number in range(count):
        arrival = now()
        request = _serve_one(serve, number, arrival, now, max_seconds)
        if request is None:
            break
        token_times, start, end = request
        requests.append(Request(arrival, start, token_times, end, arrival))
    return Load(tuple(requests), count - len(requests), now())


def single_stream(
    llm: LanguageModel, prompts: Sequence[str], new_tokens: Sequence[int], raw: bool = True
) -> Serve:
    """A server for `run_load`: text in, text out, one request at a time.

    Request number i gets prompt i and token budget i, counted round and round. A service is
    tokenizing, prefill, decode steps and detokenizing. It always makes its number of tokens, the
    end-of-sequence token or not, so that a load means the same twice.
    """
    if not prompts or not new_tokens:
        raise UserError("single_stream needs prompts and numbers of new tokens: expected one each.")

    def serve(number: int) -> Iterator[int]:
        ids = llm.prompt_ids(prompts[number % len(prompts)], raw=raw)
        budget = new_tokens[number % len(new_tokens)]
        made = []
        for token in generate(llm.model, torch.tensor([ids]), budget):
            made.append(token)
            yield token
        llm.tokenizer.decode(made)

    return serve


def _serve_one(
    serve: Serve, number: int, arrival: float, now: Callable[[], float], max_seconds: float
) -> tuple[tuple[float, ...], float, float] | None:
    """Token times, start and end of one service; None if the time was up before its end."""
    start = now()
    if start > max_seconds:
        return None
    token_times = []
    for _ in serve(number):
        token_times.append(now())
        if token_times[-1] > max_seconds:
            return None
    end = now()
    if not token_times:
        raise UserError(
            f"the server gave no token for request {number}: expected at least one; let `serve` "
            f"yield something for each."
        )
    return tuple(token_times), start, end


def check_bounds(function: str, arrivals: Sequence[float], max_seconds: float) -> None:
    try:
        count = len(arrivals)
    except TypeError:
        raise UserError(
            f"{function} was given arrivals without a length, {type(arrivals).__name__}: a load "
            f"must end, so expected a list of times."
        ) from None
    if count > MOST_REQUESTS:
        raise UserError(
            f"{function} was given {count:,} requests: expected at most {MOST_REQUESTS:,}; "
            f"simulate what takes longer."
        )
    if not 0 < max_seconds <= MOST_SECONDS:
        raise UserError(
            f"{function}: max_seconds is {max_seconds}: expected more than 0 and at most "
            f"{MOST_SECONDS:g}, since a load must end."
        )
    last = 0.0
    if isinstance(arrivals, range):
        return
    for arrival in arrivals:
        if not last <= arrival < max_seconds:
            raise UserError(
                f"{function}: an arrival at {arrival} s follows one at {last} s: expected times in "
                f"order, from 0 up to max_seconds = {max_seconds:g}; take fewer requests, or a "
                f"higher rate."
            )
        last = arrival
