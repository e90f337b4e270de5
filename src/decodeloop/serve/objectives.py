"""What users are promised, and how many of them a server can keep it for. Built in lesson 24."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from decodeloop.cost import Latencies
from decodeloop.cost.checks import check_positive
from decodeloop.errors import UserError

Served = Latencies | tuple[float, Sequence[float], float] | None  # None: was never answered


def kept(served: Served, ttft: float = math.inf, itl: float = math.inf) -> bool:
    """Whether one user got what was promised: the first token in time, and the others, on average,
    not too far apart. Who was refused, or never answered, did not.

    >>> kept((0.2, [0.1, 0.3], 0.6), ttft=0.5, itl=0.2), kept(None)
    (True, False)
    """
    if served is None:
        return False
    first, gaps, _ = served
    return first <= ttft and (not gaps or sum(gaps) / len(gaps) <= itl)


def slo_capacity(
    measured: Mapping[float, Iterable[Served]],
    *,
    ttft: float = math.inf,
    itl: float = math.inf,
    share: float = 0.9,
) -> float:
    """The highest rate that was measured at which the promise still holds: at it, and at every
    lower one, at least `share` of all who asked got what was promised. 0 if it never does.

    A higher rate that holds beyond one that does not was luck.

    Args:
        measured: rates in requests per second, in any order, and what came of each request there:
            (TTFT, ITLs, end-to-end) as `latencies` gives them, None for one without an answer.
        ttft, itl: targets in seconds; the one for ITL is held against a request's mean.

    >>> good, bad = (0.2, [0.1], 0.3), (9.0, [0.1], 9.1)
    >>> slo_capacity({1.0: [good] * 10, 2.0: [good] * 9 + [bad], 4.0: [good, bad]}, ttft=1.0)
    2.0

    Raises:
        UserError: a rate has no requests, or a number is out of its range.
    """
    check_positive("slo_capacity", ttft=ttft, itl=itl, share=share)
    if share > 1:
        raise UserError(f"slo_capacity: share is {share}: expected at most 1.")
    capacity = 0.0
    for rate in sorted(measured):
        held = [kept(served, ttft, itl) for served in measured[rate]]
        if not held:
            raise UserError(f"slo_capacity: nobody asked at rate {rate}: expected requests.")
        if sum(held) / len(held) < share:  # not a product: 0.55 * 100 is more than 55
            break
        capacity = rate
    return capacity
