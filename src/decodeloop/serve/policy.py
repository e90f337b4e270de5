"""What a scheduler decides, as functions of numbers.

First come, first served. Texts that only wait for their next token go first, so that nobody's
answer stops for another's prompt; a long prompt is read in chunks, by what a step has left. When
blocks run out, the text that came last gives its own back, and reads itself again later.

Yu et al., "Orca" (2022); Agrawal et al., "Sarathi-Serve" (2024). Built in lesson 14.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


def chunk(left: int, budget: int, size: int | None = None) -> int:
    """How many of the `left` tokens of a text are read in this step, of which the step may read
    `budget` more, and no more than `size` of one text.

    >>> chunk(100, 64), chunk(100, 64, 7), chunk(3, 64, 7)
    (64, 7, 3)
    """
    return min(left, budget) if size is None else min(left, budget, size)


def take_tokens(
    left: Sequence[int],
    budget: int,
    size: int | None = None,
    *,
    chunk: Callable[[int, int, int | None], int] = chunk,
) -> list[int]:
    """How many tokens each running text reads in this step, together at most `budget`.

    Those with one token left first, whose readers wait for the next; then the prompts; each in
    their order.

    Args:
        left: how many tokens of each text are known and not yet read.

    >>> take_tokens([100, 1, 50, 1], budget=64)
    [62, 1, 0, 1]
    """
    counts = [0] * len(left)
    for i in sorted(range(len(left)), key=lambda i: left[i] > 1):
        counts[i] = chunk(left[i], budget - sum(counts), size)
    return counts


def admit(price: int, free: int, running: int, most: int) -> bool:
    """Whether the text that has waited longest may begin.

    Args:
        price: how many free blocks it would take for all of its tokens.
        free: how many there are.
        running, most: how many texts run, and how many may.
    """
    return price <= free and running < most


def preempt(arrivals: Sequence[int]) -> int:
    """Which of the running texts gives way when blocks run out: the one that came last. The first
    is then never sent back, so that there is always one that gets on.

    >>> preempt([4, 9, 7])
    1
    """
    return max(range(len(arrivals)), key=arrivals.__getitem__)


@dataclass(frozen=True)
class SchedulerParts:
    """The functions that a scheduler decides with; pass your own in the place of any."""

    chunk: Callable[[int, int, int | None], int] = chunk
    take_tokens: Callable[..., list[int]] = take_tokens
    admit: Callable[[int, int, int, int], bool] = admit
    preempt: Callable[[Sequence[int]], int] = preempt


LIBRARY_PARTS = SchedulerParts()
