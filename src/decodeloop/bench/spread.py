"""Some runs in three numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median of some runs, and their extremes."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def rate_spread(gaps: Sequence[float]) -> Spread:
    """Tokens per second, of seconds per token."""
    return spread([1 / gap if gap > 0 else math.inf for gap in gaps])
