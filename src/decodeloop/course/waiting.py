"""How long one waits for each item of a generator."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def waits(items: Iterable[T]) -> tuple[list[T], list[float]]:
    """The items, and how many seconds each took to come.

    >>> tokens, seconds = waits(iter("ab"))
    >>> tokens, len(seconds)
    (['a', 'b'], 2)
    """
    came, seconds, clock = [], [], time.perf_counter()
    for item in items:
        seconds.append(time.perf_counter() - clock)
        came.append(item)
        clock = time.perf_counter()
    return came, seconds


__all__ = ["waits"]
