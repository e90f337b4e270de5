"""Time, measured so that it means something."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from decodeloop.devices import synchronize

OnProgress = Callable[[float], None]  # how far a long measurement is: a fraction


def silent(fraction: float) -> None:
    """The progress report of those who do not want one."""


def median_seconds(
    functions: Sequence[Callable[[], object]],
    repeats: int = 5,
    device: torch.device | None = None,
    progress: OnProgress = silent,
) -> list[float]:
    """The median time of each function, in seconds.

    They run in turn, round after round, after one round that is not counted: when the machine is
    busy for a while, all of them are slow together, and their ratios stand.
    """
    where = device or torch.device("cpu")
    rounds: list[list[float]] = [[] for _ in functions]
    for number in range(repeats + 1):
        for times, function in zip(rounds, functions, strict=True):
            synchronize(where)
            clock = time.perf_counter()
            function()
            synchronize(where)
            if number:
                times.append(time.perf_counter() - clock)
        progress((number + 1) / (repeats + 1))
    return [statistics.median(times) for times in rounds]


def fresh_mib(function: Callable[[], object]) -> float:
    """MiB of memory that the operating system handed out, page by page, for one call.

    Counted by page faults; NaN on systems that don't count them (Windows). A call whose memory
    is recycled from earlier ones takes nearly none.
    """
    try:
        import resource
    except ImportError:
        return float("nan")
    function()  # what only the first call needs is not counted
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    function()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return faults * resource.getpagesize() / 2**20


def fitted_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The p of the law value = c · size^p that fits best: the slope on log-log paper.

    >>> round(fitted_exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    x = torch.tensor(sizes, dtype=torch.float64).log()
    y = torch.tensor(values, dtype=torch.float64).log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())
