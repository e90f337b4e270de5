"""Batches: what a step costs, why eight texts cost less than eight times one, what padding wastes.

A decode step reads all weights, however many texts it serves; what each text adds is little, until
it is as much as that. Built in lesson 13.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from decodeloop.cost.checks import check_positive, check_whole
from decodeloop.errors import UserError


def pad_waste(lengths: Sequence[int]) -> float:
    """The part of a batch that is padding, once all its texts are as long as the longest.

    >>> pad_waste([4, 1, 1, 2])
    0.5
    """
    check_lengths("pad_waste", lengths=lengths)
    return 1 - sum(lengths) / (len(lengths) * max(lengths))


class StepTime(NamedTuple):
    """A step that was measured: what it computed, and how long it took."""

    tokens: int  # new ones, of all texts
    texts: int
    positions: int  # those that its texts attend to, together
    seconds: float


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step: some once, some for each new token, text, and position attended to.

    >>> StepCost(step=0.5, token=0.125, text=0.25, position=0.0)(tokens=2, texts=2, positions=99)
    1.25
    """

    step: float
    token: float
    text: float
    position: float

    def __call__(self, tokens: int, texts: int, positions: int) -> float:
        return self.step + self.token * tokens + self.text * texts + self.position * positions


def fit_step_cost(measured: Iterable[StepTime]) -> StepCost:
    """The cost that fits measured steps best: least squares of the *relative* errors, since a step
    of a long prompt takes a hundred times as long as one of a token, and both should be right.

    Nothing costs less than nothing: what would come out negative is left out, and the rest fitted
    again.

    Raises:
        UserError: there are too few steps, or they are too much alike, to tell the four apart.
    """
    steps = list(measured)
    for step in steps:
        check_positive("fit_step_cost", seconds=step.seconds)
    rows = np.array([(1, s.tokens, s.texts, s.positions) for s in steps], float).reshape(-1, 4)
    rows /= np.array([[s.seconds] for s in steps]).reshape(-1, 1)  # so that each should give 1
    scale = np.maximum(np.linalg.norm(rows, axis=0), np.finfo(float).tiny)
    if np.linalg.matrix_rank(rows / scale, tol=1e-6) < 4:
        raise UserError(
            f"fit_step_cost was given {len(steps)} steps that leave the cost open: expected at "
            f"least 4 that differ in tokens, texts and positions, such as decode steps of several "
            f"batches and contexts, and prompts of several lengths."
        )
    kept, costs = [0, 1, 2, 3], np.zeros(4)
    while True:  # the largest of them is positive, since what is fitted is: it ends
        found = np.linalg.lstsq(rows[:, kept] / scale[kept], np.ones(len(steps)), rcond=None)[0]
        if found.min() >= 0:
            costs[kept] = found / scale[kept]
            return StepCost(*map(float, costs))
        kept.pop(int(found.argmin()))


def break_even_batch(cost: StepCost, length: int) -> float:
    """The batch of texts of this length at which a decode step pays as much for its texts as it
    pays once. Up to there a further text is nearly free; far beyond, twice the texts take twice as
    long, and no text gets its tokens any cheaper.

    >>> break_even_batch(StepCost(step=0.5, token=0.0625, text=0.0, position=0.0), 100)
    8.0
    """
    check_whole("break_even_batch", length=length)
    each = cost.token + cost.text + cost.position * length
    return cost.step / each if each else float("inf")


def static_token_times(
    prompts: Sequence[int], answers: Sequence[int], cost: StepCost
) -> list[float]:
    """When each token of a static batch is there, in seconds from its start.

    All prompts are padded to the longest and read in one step; then each step makes one token of
    every text, until the longest answer has ended: the others are computed, too, and thrown away.

    Args:
        prompts, answers: of each text, how many tokens it has and how many are made.
    """
    check_lengths("static batch", prompts=prompts, answers=answers)
    if len(prompts) != len(answers):
        raise UserError(
            f"a static batch was given {len(prompts)} prompts and {len(answers)} answers: expected "
            f"as many lengths of each."
        )
    B, T = len(prompts), max(prompts)
    times = [cost(B * T, B, B * T)]
    for read in range(T + 1, T + max(answers)):
        times.append(times[-1] + cost(B, B, B * read))
    return times


def static_batch_time(prompts: Sequence[int], answers: Sequence[int], cost: StepCost) -> float:
    """How long a static batch takes: until its longest answer has ended.

    >>> cost = StepCost(step=1.0, token=0.0, text=0.0, position=0.0)
    >>> static_batch_time([3, 5], [10, 2], cost)
    10.0
    """
    return static_token_times(prompts, answers, cost)[-1]


def check_lengths(function: str, **lengths: Sequence[int]) -> None:
    """Raise `UserError` unless all are lists of whole numbers from 1 up, none of them empty."""
    for name, values in lengths.items():
        check_whole(function, **{f"the number of {name}": len(values)})
        for value in values:
            check_whole(function, **{name: value})
