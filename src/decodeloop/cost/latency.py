"""What users feel: the waits of one request, and percentiles of many. Built in lesson 11.

Times are seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from decodeloop.cost.checks import check_in_order
from decodeloop.errors import UserError


class Latencies(NamedTuple):
    """What one user waited for, in seconds."""

    ttft: float  # time to first token, from the arrival
    itl: list[float]  # inter-token latencies: one fewer than tokens
    end_to_end: float  # from the arrival to the end

    @property
    def tpot(self) -> float:
        """Time per output token, s: the mean gap between tokens, 0 where there is none. Some tools
        (GuideLLM is one) call this the inter-token latency of a request."""
        return sum(self.itl) / len(self.itl) if self.itl else 0.0


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
    check_in_order("latencies: arrival and token times", [float(arrival), *times])
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


def percentile(samples: Iterable[float], p: float) -> float:
    """The least sample that at least p % of the samples do not exceed: the *nearest rank*.

    It is one of the samples, the ⌈p·n/100⌉-th smallest; nothing is interpolated.

    >>> percentile([3, 1, 2, 4], 50), percentile([3, 1, 2, 4], 51)
    (2.0, 3.0)

    Raises:
        UserError: no samples, one that is not a number, or p outside 0 < p ≤ 100.
    """
    ordered = sorted_samples(samples, "percentile")
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
    ordered = sorted_samples(samples, "percentile_band")
    if not 0 < p < 100:
        raise UserError(f"percentile_band: p is {p}: expected 0 < p < 100, 90 for P90.")
    if not 0 < confidence < 1:
        raise UserError(
            f"percentile_band: confidence is {confidence}: expected 0 < confidence < 1, 0.95 for "
            f"95 %."
        )
    n, q, tail = len(ordered), p / 100, (1 - confidence) / 2
    at_most = list(accumulate(binomial(n, q)))  # P(at most k below the percentile), k = 0 … n
    low = bisect_right(at_most, tail)  # the most ranks r with P(fewer than r below) <= tail
    high = next((k + 1 for k in range(n) if at_most[k] >= 1 - tail), n + 1)
    return (
        ordered[low - 1] if low >= 1 else -math.inf,
        ordered[high - 1] if high <= n else math.inf,
    )


def binomial(n: int, q: float) -> list[float]:
    """P(k of n), k = 0 … n; by logarithms, since the factorials overflow."""
    yes, no, all_n = math.log(q), math.log1p(-q), math.lgamma(n + 1)
    return [
        math.exp(all_n - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * yes + (n - k) * no)
        for k in range(n + 1)
    ]


def sorted_samples(samples: Iterable[float], function: str) -> list[float]:
    ordered = sorted(float(x) for x in samples)
    if not ordered:
        raise UserError(f"{function} was given no samples: expected at least one.")
    if any(math.isnan(x) for x in ordered):
        raise UserError(
            f"{function}: a sample is NaN, not a number: take it out, or let a request that was "
            f"never answered count as infinite."
        )
    return ordered
