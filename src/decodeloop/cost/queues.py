"""Queues: who waits, and how long, before a server is free. Built in lesson 11.

Times are seconds, rates are 1/s. A queue is FIFO: first come, first served.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import torch

from decodeloop.cost.checks import check_in_order, check_positive
from decodeloop.errors import UserError


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
    check_positive("poisson_arrivals", rate=rate)
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
    check_trace("simulate_queue", arrivals, service_times, servers)
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
    check_trace("simulate_split", arrivals, service_times, servers)
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
    check_positive("mean_wait", rate=rate, mean_service=mean_service)
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
    check_positive("little", rate=rate)
    if not mean_time >= 0:
        raise UserError(f"little: mean_time is {mean_time}: expected 0 or more seconds.")
    return rate * mean_time


def check_trace(
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
    check_in_order(f"{function}: arrivals", arrivals)
    if not all(service >= 0 for service in service_times):
        raise UserError(f"{function}: a service time is negative or NaN: expected seconds.")
