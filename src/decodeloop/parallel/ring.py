"""Ring all-reduce: everyone ends with the sum of all, and nobody sends more than twice its vector.

The ranks stand in a ring, and each vector is cut into as many chunks as there are ranks. First a
sum of each chunk goes round, to which every rank adds its own (reduce-scatter); then the finished
sums go round (all-gather). Patarasuk and Yuan, "Bandwidth Optimal All-reduce Algorithms for
Clusters of Workstations" (2009). Built in lesson 17; here on simulated ranks, one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from decodeloop.errors import ShapeError

Send = Callable[[int, int, Tensor], Tensor]  # from, to, what → what arrives


@dataclass
class Wire:
    """What lies between simulated ranks: it hands over copies, and remembers each message."""

    messages: list[tuple[int, int, int]] = field(default_factory=list)  # from, to, bytes

    def send(self, source: int, target: int, chunk: Tensor) -> Tensor:
        """What arrives at `target`."""
        self.messages.append((source, target, chunk.numel() * chunk.element_size()))
        return chunk.clone()

    @property
    def bytes(self) -> int:
        """All that went over it."""
        return sum(count for *_, count in self.messages)


def ring_all_reduce(vectors: Sequence[Tensor], send: Send) -> list[Tensor]:
    """The sum of all vectors, for each rank; rank r has `vectors[r]` and talks to rank r + 1 alone.

    In each of 2 (N - 1) rounds every rank sends one chunk; a chunk may be empty, where a vector
    has fewer numbers than there are ranks.

    Shapes: N of (n,) → N of (n,).

    >>> wire = Wire()
    >>> ring_all_reduce([torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])], wire.send)
    [tensor([11., 22.]), tensor([11., 22.])]
    >>> wire.messages
    [(0, 1, 4), (1, 0, 4), (0, 1, 4), (1, 0, 4)]
    """
    if len({tuple(v.shape) for v in vectors}) != 1 or vectors[0].ndim != 1:
        raise ShapeError(
            f"ring_all_reduce: vectors of shapes {[tuple(v.shape) for v in vectors]}: expected one "
            f"for each rank, all (n,)."
        )
    N = len(vectors)
    chunks = [list(v.tensor_split(N)) for v in vectors]  # chunks[rank][number]
    for done in range(N - 1):
        for rank in range(N):
            right, number = (rank + 1) % N, (rank - done) % N
            arrived = send(rank, right, chunks[rank][number])
            chunks[right][number] = chunks[right][number] + arrived
    for done in range(N - 1):  # rank r has finished chunk r + 1
        for rank in range(N):
            right, number = (rank + 1) % N, (rank + 1 - done) % N
            chunks[right][number] = send(rank, right, chunks[rank][number])
    return [torch.cat(own) for own in chunks]
