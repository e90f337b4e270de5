"""The question of lesson 14, at the real engine: some read their answers, and a long text comes."""

from __future__ import annotations

import time
from collections.abc import Sequence as Many
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from decodeloop.decode import Sequence
from decodeloop.decode.loop import Model
from decodeloop.serve import Engine


@dataclass(frozen=True)
class Served:
    """What came of it: when the newcomer came, and when each token did, in seconds from the start.
    The newcomer is the last of the texts."""

    came: float
    times: list[list[float]]
    texts: list[Sequence]

    @property
    def worst_gap(self) -> float:
        """The worst inter-token latency of those who were there before."""
        return max(b - a for times in self.times[:-1] for a, b in pairwise(times))

    @property
    def ttft(self) -> float:
        """The newcomer's time to first token."""
        return self.times[-1][0] - self.came

    @property
    def meanwhile(self) -> int:
        """How many tokens the others got from when the newcomer came to its first token."""
        first = self.times[-1][0]
        return sum(self.came < t <= first for times in self.times[:-1] for t in times)


def serve_readers(
    model: Model, readers: Many[Tensor], newcomer: Tensor, budget: int, **limits: Any
) -> Served:
    """Let an engine answer the `readers`, 11 tokens each, and after two steps the newcomer, 3.

    Args:
        readers, newcomer: token ids [1, T].
        budget, limits: as for `Engine`; 64 blocks, if nothing else is said.
    """
    engine = Engine(model, budget=budget, **{"blocks": 64, **limits})
    texts = [Sequence(ids, 11) for ids in readers] + [Sequence(newcomer, 3)]
    numbers = [engine.add(text) for text in texts[:-1]]
    times: dict[int, list[float]] = {}
    steps, came, begun = 0, 0.0, time.perf_counter()
    while engine.busy:
        if steps == 2:
            numbers.append(engine.add(texts[-1]))
            came = time.perf_counter() - begun
        events, steps, now = engine.step(), steps + 1, time.perf_counter() - begun
        for event in events:
            times.setdefault(event.number, []).append(now)
    return Served(came, [times[number] for number in numbers], texts)
