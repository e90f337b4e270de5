"""What a step costs, looked up: where the straight line of `StepCost` is not straight enough.

A step of 8 tokens runs other kernels than one of 40, and a token of a long prompt costs less than
one of a short one. So the cost by tokens is what was measured, with straight lines in between.
Simulators of whole clusters also profile and interpolate (Vidur, Agrawal et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from decodeloop.cost.checks import check_positive
from decodeloop.errors import UserError
from decodeloop.serve.batching import StepTime

APART = 1.3  # counts of tokens that are closer than this ratio share a knot


@dataclass(frozen=True)
class StepTable:
    """Seconds of a step: some by its tokens, and some for each text and position attended to.

    Args:
        tokens: the knots, ascending.
        seconds: what a step of so many tokens costs; in between, and beyond the last, a straight
            line.

    >>> StepTable((1, 2, 6), (1.0, 3.0, 5.0), text=0.0, position=0.0)(4, texts=1, positions=4)
    4.0
    """

    tokens: tuple[float, ...]
    seconds: tuple[float, ...]
    text: float
    position: float

    def __call__(self, tokens: int, texts: int, positions: int) -> float:
        shares = knot_shares(tokens, self.tokens)
        once = float(np.dot(shares, self.seconds))
        return once + self.text * texts + self.position * positions


def fit_step_table(measured: Iterable[StepTime]) -> StepTable:
    """The table that fits measured steps best: least squares of the relative errors, as
    `fit_step_cost`. Neither a text nor a position costs less than nothing.

    Raises:
        UserError: steps of two different counts of tokens are needed, and there are none.
    """
    steps = list(measured)
    for step in steps:
        check_positive("fit_step_table", seconds=step.seconds)
    knots = apart([step.tokens for step in steps])
    if len(knots) < 2:
        raise UserError(
            f"fit_step_table was given {len(steps)} steps, all of nearly as many tokens: expected "
            f"steps of several counts, such as decode steps of several batches, and prompts."
        )
    rows = [[*knot_shares(s.tokens, knots), s.texts, s.positions] for s in steps]
    scaled = np.array(rows, float) / np.array([[s.seconds] for s in steps])  # each should give 1
    norms = np.maximum(np.linalg.norm(scaled, axis=0), np.finfo(float).tiny)
    kept, found = list(range(scaled.shape[1])), np.zeros(scaled.shape[1])
    while True:
        part = np.linalg.lstsq(scaled[:, kept] / norms[kept], np.ones(len(steps)), rcond=None)[0]
        negative = [place for place, cost in zip(kept, part, strict=True) if cost < 0]
        below = [place for place in negative if place >= len(knots)]
        if not below:
            found[kept] = part / norms[kept]
            costs = tuple(map(float, found))
            return StepTable(knots, costs[:-2], *costs[-2:])
        kept.remove(below[0])


def apart(counts: Sequence[int]) -> tuple[float, ...]:
    """The smallest count, the largest, and those in between that are far enough from others.

    >>> apart([1, 2, 40, 41, 44, 90])
    (1.0, 2.0, 40.0, 90.0)
    """
    knots: list[float] = []
    for count in sorted(set(counts)):
        if not knots or count >= APART * knots[-1]:
            knots.append(float(count))
    return tuple(knots)


def knot_shares(tokens: float, knots: Sequence[float]) -> list[float]:
    """How much of each knot's cost a step of so many tokens has; they sum to 1.

    >>> knot_shares(4, (1, 2, 6))
    [0.0, 0.5, 0.5]
    """
    right = min(max(int(np.searchsorted(knots, tokens)), 1), len(knots) - 1)
    share = (tokens - knots[right - 1]) / (knots[right] - knots[right - 1])
    shares = [0.0] * len(knots)
    shares[right - 1], shares[right] = 1 - share, share
    return shares
