"""When tokens came, and what runs a contender."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol


class Clock:
    """Notes when it is told of a token, in seconds since it was made."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.start = time.perf_counter()

    def tick(self) -> None:
        self.times.append(time.perf_counter() - self.start)


class Run(Protocol):
    """Reads a prompt, and goes on from it greedily in as many texts as `batch` says."""

    def __call__(self, ids: Sequence[int], new_tokens: int, batch: int = 1) -> list[float]:
        """Seconds until the prompt's first token was there, then until each of the texts had its
        next one: `new_tokens` times in all. What was read of the prompt is copied for the other
        texts in the first step after it."""
