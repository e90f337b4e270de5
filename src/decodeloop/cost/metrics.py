"""What users feel and what machines do: latencies, percentiles, queues, capacity, utilisation.

Built in lesson 11. Times are seconds, rates are 1/s. A queue is FIFO: first come, first served.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch

from decodeloop.errors import UserError

# --- one request ----------------------------------------------------------------------------------


class Latencies(NamedTuple):
    """What one user waited for, in seconds."""

    ttft: float  # time to first token, from the arrival
    itl: list[float]  # inter-token latencies: one fewer than tokens
    end_to_end: float  # from the arrival to the end


def latencies(arrival: float, token_times: Sequence[float]) -> Latencies:
    """The waits of one request, from clock readings: TTFT, ITL and end-to-end latency.

    Args:
        arrival: when the user asked, whenever it was taken up.
        token_times: when each token was there.

    >>> latencies(10.0, [10.5, 10.75, 11.0])
    Latencies(ttft=0.5, itl=[0.25, 0.25], end_to_end=1.0)

    Raises:
        UserError: there is no token, or the clock runs backwards.
    """
    times = [float(t) for t in token_times]
    if not times:
        raise UserError(
            "latencies was given no token times: expected one for each token; a request without "
            "an answer has no latency."
        )
    _never_backwards("latencies: arrival and token times", [float(arrival), *times])
    itl = [later - earlier for earlier, later in pairwise(times)]
    return Latencies(times[0] - arrival, itl, times[-1] - arrival)


@dataclass(frozen=True)
class Request:
    """The life of one request, in seconds since the load began."""

    arrival: float  # when it was due: latencies count from here
    start: float  # when the server took it up
    token_times: tuple[float, ...]  # when each token was there
    end: float  # when the whole answer was there, as text
    sent: float | None = None  # when the client really sent it: lateness of the client itself

    @property
    def waited(self) -> float:
        """From the arrival until the server took it up."""
        return self.start - self.arrival

    @property
    def service(self) -> float:
        """How long the server was busy with it."""
        return self.end - self.start

    @property
    def latencies(self) -> Latencies:
        """TTFT, ITL, and end-to-end latency up to the end of the text."""
        ttft, itl, _ = latencies(self.arrival, self.token_times)
        return Latencies(ttft, itl, self.end - self.arrival)


# --- samples --------------------------------------------------------------------------------------


def percentile(samples: Iterable[float], p: float) -> float:
    """The least sample that at least p % of the samples do not exceed: the *nearest rank*.

    It is one of the samples, the ⌈p·n/100⌉-th smallest; nothing is interpolated.

    >>> percentile([3, 1, 2, 4], 50), percentile([3, 1, 2, 4], 51)
    (2.0, 3.0)

    Raises:
        UserError: no samples, one that is not a number, or p outside 0 < p ≤ 100.
    """
    ordered = _sorted(samples, "percentile")
    if not 0 < p <= 100:
        raise UserError(f"percentile: p is {p}: expected 0 < p <= 100, 90 for P90.")
    # p / 100 * n would give 55.00000000000001 for p = 55, n = 100, and so the 56th
    rank = math.ceil(round(p * len(ordered) / 100, 9))
    return ordered[max(rank, 1) - 1]


def percentile_band(
    samples: Iterable[float], p: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Two samples between which the true percentile lies, with at least this confidence.

    How many of n independent samples fall below the true percentile is binomial, (n, p/100),
    whatever the distribution: so the ends are order statistics. Each end is wrong at most
    (1 - confidence) / 2 of the times. An end that no sample can give is infinite: the P99 of 100
    samples has no upper end.

    Samples of one queue are not independent, neighbours wait together: their band is too narrow.

    >>> percentile_band(range(1, 101), 50)
    (40.0, 61.0)

    Raises:
        UserError: as `percentile`; p is 100, or the confidence not between 0 and 1.
    """
    ordered = _sorted(samples, "percentile_band")
    if not 0 < p < 100:
        raise UserError(f"percentile_band: p is {p}: expected 0 < p < 100, 90 for P90.")
    if not 0 < confidence < 1:
        raise UserError(
            f"percentile_band: confidence is {confidence}: expected 0 < confidence < 1, 0.95 for "
            f"95 %."
        )
    n, q, tail = len(ordered), p / 100, (1 - confidence) / 2
    at_most = list(accumulate(_binomial(n, q)))  # P(at most k below the percentile), k = 0 … n
    low = bisect_right(at_most, tail)  # the most ranks r with P(fewer than r below) <= tail
    high = next((k + 1 for k in range(n) if at_most[k] >= 1 - tail), n + 1)
    return (
        ordered[low - 1] if low >= 1 else -math.inf,
        ordered[high - 1] if high <= n else math.inf,
    )


def _binomial(n: int, q: float) -> list[float]:
    """P(k of n), k = 0 … n; by logarithms, since the factorials overflow."""
    yes, no, all_n = math.log(q), math.log1p(-q), math.lgamma(n + 1)
    return [
        math.exp(all_n - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * yes + (n - k) * no)
        for k in range(n + 1)
    ]


# --- queues ---------------------------------------------------------------------------------------


def poisson_arrivals(
    rate: float, count: int, generator: torch.Generator | None = None
) -> list[float]:
    """Arrival times of independent users: the gaps between them are exponential, 1/rate on average.

    Args:
        rate: arrivals per second.
        generator: a CPU generator, for the same arrivals again.

    >>> poisson_arrivals(2.0, 0)
    []
    """
    _positive("poisson_arrivals", rate=rate)
    if count < 0 or count != int(count):
        raise UserError(f"poisson_arrivals: count is {count}: expected a whole number, 0 or more.")
    uniform = torch.rand(int(count), dtype=torch.float64, generator=generator)
    return [float(t) for t in (-torch.log1p(-uniform) / rate).cumsum(0)]


def simulate_queue(
    arrivals: Sequence[float], service_times: Sequence[float], servers: int = 1
) -> list[float]:
    """How long each request waits before a server takes it up.

    One queue, first come, first served: a request starts when it has arrived *and* a server is
    free, and the latency is the wait plus the service time. For one server this is Lindley's
    recursion (1952).

    Args:
        arrivals: when they come, in order.
        service_times: how long a server is busy with each.

    >>> simulate_queue([0.0, 1.0, 5.0], [3.0, 1.0, 1.0])
    [0.0, 2.0, 0.0]

    Raises:
        UserError: the two differ in length, or arrivals are out of order; a service time is
            negative; there is no server.
    """
    _check_trace("simulate_queue", arrivals, service_times, servers)
    waits = []
    if servers == 1:
        free = -math.inf  # when the server is free again
        for arrival, service in zip(arrivals, service_times, strict=True):
            start = max(arrival, free)
            waits.append(start - arrival)
            free = start + service
        return waits
    all_free = [-math.inf] * servers  # a heap: the first is the server that is free first
    for arrival, service in zip(arrivals, service_times, strict=True):
        start = max(arrival, all_free[0])
        waits.append(start - arrival)
        heapq.heapreplace(all_free, start + service)
    return waits


def simulate_split(
    arrivals: Sequence[float],
    service_times: Sequence[float],
    servers: int,
    generator: torch.Generator | None = None,
) -> list[float]:
    """As `simulate_queue`, but each request is sent to a server at random, and waits for that one.

    What a load balancer does that knows nothing of its machines. Poisson arrivals at rate r, split
    over k servers, are Poisson arrivals at rate r / k at each.
    """
    _check_trace("simulate_split", arrivals, service_times, servers)
    chosen = torch.randint(servers, (len(arrivals),), generator=generator).tolist()
    free = [-math.inf] * servers
    waits = []
    for arrival, service, server in zip(arrivals, service_times, chosen, strict=True):
        start = max(arrival, free[server])
        waits.append(start - arrival)
        free[server] = start + service
    return waits


def mean_wait(rate: float, mean_service: float, variance_of_service: float) -> float:
    """The mean wait at one server with Poisson arrivals, in the long run; infinite at full load.

    λ E[S²] / (2 (1 - ρ)), with ρ = λ E[S]: Pollaczek and Khinchine's formula for M/G/1. Variance 0
    is M/D/1, variance E[S]² is M/M/1.

    >>> mean_wait(0.5, 1.0, 0.0), mean_wait(0.5, 1.0, 1.0)
    (0.5, 1.0)
    """
    _positive("mean_wait", rate=rate, mean_service=mean_service)
    if not variance_of_service >= 0:
        raise UserError(
            f"mean_wait: variance_of_service is {variance_of_service}: expected 0 or more."
        )
    load = rate * mean_service
    if load >= 1:
        return math.inf
    second_moment = variance_of_service + mean_service**2
    return rate * second_moment / (2 * (1 - load))


def little(rate: float, mean_time: float) -> float:
    """How many are inside on average, if `rate` enter per second and each stays `mean_time`.

    Little's law (1961) holds for any system that nothing gets lost in: for a queue, for a server
    (where it is the load), for both together.

    >>> little(10.0, 0.5)
    5.0
    """
    _positive("little", rate=rate)
    if not mean_time >= 0:
        raise UserError(f"little: mean_time is {mean_time}: expected 0 or more seconds.")
    return rate * mean_time


# --- capacity -------------------------------------------------------------------------------------


def goodput(
    requests: Iterable[Latencies],
    seconds: float,
    *,
    ttft: float = math.inf,
    itl: float = math.inf,
    end_to_end: float = math.inf,
) -> float:
    """Requests per second that kept *every* target; the others were served for nothing.

    Args:
        requests: (TTFT, ITLs, end-to-end) of each, as `latencies` gives them.
        seconds: how long the load ran.
        ttft, itl, end_to_end: targets in seconds. The one for ITL is held against the mean of a
            request's ITLs, its *time per output token*; one token alone has none and keeps it.

    >>> goodput([(0.2, [0.1, 0.3], 0.6), (0.9, [], 0.9)], 2.0, ttft=0.5)
    0.5
    """
    _positive("goodput", seconds=seconds, ttft=ttft, itl=itl, end_to_end=end_to_end)
    good = sum(
        first <= ttft and (not gaps or sum(gaps) / len(gaps) <= itl) and whole <= end_to_end
        for first, gaps, whole in requests
    )
    return good / seconds


def latency_percentile(
    arrivals: Sequence[float], service_times: Sequence[float], p: float, servers: int = 1
) -> float:
    """The percentile of wait plus service, in a simulation with one shared queue."""
    waits = simulate_queue(arrivals, service_times, servers)
    return percentile((w + s for w, s in zip(waits, service_times, strict=True)), p)


def machines_needed(
    arrivals: Sequence[float], service_times: Sequence[float], target: float, p: float = 90
) -> int | None:
    """The fewest machines, behind one queue, with which p % of the requests take at most `target`.

    Found by simulation of the trace; None if the services alone take too long. Let the trace be
    long: in a short one even too few machines get through.

    >>> machines_needed([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], 2.0, 100)
    2
    """
    _positive("machines_needed", target=target)
    _check_trace("machines_needed", arrivals, service_times, 1)
    if percentile(service_times, p) > target:
        return None
    too_few, enough = 0, 1
    while latency_percentile(arrivals, service_times, p, enough) > target:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:  # no request waits longer with a server more
        middle = (too_few + enough) // 2
        if latency_percentile(arrivals, service_times, p, middle) > target:
            too_few = middle
        else:
            enough = middle
    return enough


def max_rate(
    arrivals: Sequence[float],
    service_times: Sequence[float],
    target: float,
    p: float = 90,
    servers: int = 1,
) -> float:
    """The QPS at a percentile: the highest rate at which p % of the requests take at most `target`.

    The trace of arrivals is compressed or stretched in time until it just holds, to 0.1 % of the
    saturation rate `servers` / mean service, which is not exceeded. 0 if the services alone take
    too long.
    """
    _positive("max_rate", target=target)
    _check_trace("max_rate", arrivals, service_times, servers)
    if percentile(service_times, p) > target:
        return 0.0
    span = arrivals[-1]
    if span <= 0:
        raise UserError("max_rate: all arrivals are at time 0: expected a trace with gaps.")
    saturation = servers * len(service_times) / sum(service_times)
    own_rate = len(arrivals) / span

    def holds(rate: float) -> bool:
        faster = [t * own_rate / rate for t in arrivals]
        return latency_percentile(faster, service_times, p, servers) <= target

    if holds(saturation):
        return saturation
    good, bad = 0.0, saturation
    while bad - good > 1e-3 * saturation:
        middle = (good + bad) / 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


# --- utilisation ----------------------------------------------------------------------------------


def mfu(flops: float, seconds: float, peak_flops: float) -> float:
    """Model FLOPs utilisation: the FLOPs that the model needs, over those that there was time for.

    Chowdhery et al. (2022), PaLM, section 4.1. What is computed twice, or for padding, counts once
    or not at all.
    """
    _positive("mfu", flops=flops, seconds=seconds, peak_flops=peak_flops)
    return flops / (seconds * peak_flops)


def mbu(bytes_moved: float, seconds: float, bandwidth: float) -> float:
    """Model bandwidth utilisation: the bytes that must move, over those that there was time for."""
    _positive("mbu", bytes_moved=bytes_moved, seconds=seconds, bandwidth=bandwidth)
    return bytes_moved / (seconds * bandwidth)


# --- what is refused ------------------------------------------------------------------------------


def _positive(function: str, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{function}: {name} is {value}: expected more than 0.")


def _sorted(samples: Iterable[float], function: str) -> list[float]:
    ordered = sorted(float(x) for x in samples)
    if not ordered:
        raise UserError(f"{function} was given no samples: expected at least one.")
    if any(math.isnan(x) for x in ordered):
        raise UserError(
            f"{function}: a sample is NaN, not a number: take it out, or let a request that was "
            f"never answered count as infinite."
        )
    return ordered


def _never_backwards(what: str, times: Sequence[float]) -> None:
    for earlier, later in pairwise(times):
        if not later >= earlier:
            raise UserError(f"{what}: {later} comes after {earlier}: expected times in order.")


def _check_trace(
    function: str, arrivals: Sequence[float], service_times: Sequence[float], servers: int
) -> None:
    if len(arrivals) != len(service_times):
        raise UserError(
            f"{function} was given {len(arrivals)} arrivals and {len(service_times)} service "
            f"times: expected one service time for each arrival."
        )
    if servers < 1 or servers != int(servers):
        raise UserError(f"{function}: servers is {servers}: expected a whole number from 1 on.")
    if not math.isfinite(sum(arrivals)):
        raise UserError(f"{function}: an arrival is not finite: expected seconds.")
    _never_backwards(f"{function}: arrivals", arrivals)
    if not all(service >= 0 for service in service_times):
        raise UserError(f"{function}: a service time is negative or NaN: expected seconds.")
