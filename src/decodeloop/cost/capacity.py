"""Capacity: how many requests a machine serves within a target, and how many machines it takes.

Built in lesson 11. Times are seconds, rates are 1/s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from decodeloop.cost.checks import check_positive
from decodeloop.cost.latency import Latencies, percentile
from decodeloop.cost.queues import check_trace, simulate_queue
from decodeloop.errors import UserError


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
    check_positive("goodput", seconds=seconds, ttft=ttft, itl=itl, end_to_end=end_to_end)
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
    check_positive("machines_needed", target=target)
    check_trace("machines_needed", arrivals, service_times, 1)
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
    check_positive("max_rate", target=target)
    check_trace("max_rate", arrivals, service_times, servers)
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
