"""How far a figure would move if other texts of the same kind had been taken: the bootstrap.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13. What is drawn
again are whole texts, since the tokens of one text are like each other. Two models are compared on
the same draws, so that a text that is hard for both moves neither: the interval of their difference
is far narrower than those of the two.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from decodeloop.errors import UserError

Array = np.ndarray[Any, Any]
DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure, with the ends of its 95 % interval.

    >>> print(Interval(38.137, 36.02, 40.9))
    38.1 (36.0 to 40.9)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.shown()

    def shown(self, scale: float = 1.0) -> str:
        """As text, to three digits, times `scale`: 100 makes a percentage of a share."""
        value, low, high = (three_digits(x * scale) for x in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"

    def more(self) -> Interval:
        """Of a ratio: by which part it is more than one. 1.02 becomes 0.02."""
        return Interval(self.value - 1, self.low - 1, self.high - 1)

    def as_dict(self) -> dict[str, float]:
        """Its three numbers by name."""
        return asdict(self)


def three_digits(x: float) -> str:
    """A number to three significant digits, without an exponent.

    >>> [three_digits(x) for x in (0.0012345, 36.02, 1.0, 15640.3, 0.0)]
    ['0.00123', '36.0', '1.00', '15,600', '0']
    """
    if not np.isfinite(x) or x == 0:
        return f"{x:g}"
    before = int(np.floor(np.log10(abs(float(f"{x:.2e}"))))) + 1  # digits before the point
    return f"{round(x, 3 - before):,.{max(0, 3 - before)}f}"


def bootstrap(statistic: Callable[[Array], Array], texts: int, seed: int = 0) -> Interval:
    """The figure that all texts give, and the interval of those that draws of as many give.

    Args:
        statistic: from weights (..., texts), how often each text counts, to figures (...).
        texts: how many there are.

    Raises:
        UserError: there are fewer than two texts.

    >>> lengths = np.array([4.0, 4.0, 4.0])
    >>> bootstrap(lambda weights: weights @ lengths / weights.sum(-1), 3)
    Interval(value=4.0, low=4.0, high=4.0)
    """
    if texts < 2:
        raise UserError(f"an interval needs at least two texts to draw from, and there is {texts}.")
    found = statistic(counts_of_draws(texts, seed))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(found, [tail, 100 - tail])
    return Interval(float(statistic(np.ones(texts))), float(low), float(high))


@cache
def counts_of_draws(texts: int, seed: int) -> Array:
    """How often each text comes in each draw: (DRAWS, texts). The same on every machine."""
    draw = random.Random(seed)
    rows = [draw.choices(range(texts), k=texts) for _ in range(DRAWS)]
    return np.stack([np.bincount(row, minlength=texts) for row in rows]).astype(np.float64)


def ratio_of_sums(above: Sequence[float] | Array, below: Sequence[float] | Array) -> Interval:
    """Σ above / Σ below over the texts: a mean over all predictions, each of which counts alike.

    Shapes: both (texts,).
    """
    top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return bootstrap(lambda weights: (weights @ top) / (weights @ bottom), len(top))


def exponential(interval: Interval) -> Interval:
    """e to a figure and to both of its ends: a loss becomes a perplexity."""
    return Interval(*(float(np.exp(x)) for x in (interval.value, interval.low, interval.high)))
